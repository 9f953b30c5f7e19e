"""The one implementation of ``Cgroups``: sends each controller's work to the back-end of the hierarchy it is mounted in.

A group is made in every hierarchy that has one of our controllers (routes.py), and in the v2 hierarchy of a hybrid host too,
because kill, freeze and pressure work there without any controller.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from types import ModuleType
from typing import Any, TypeVar

from ...errors import Conflict, InvalidInput, TerrariumError, Unsupported
from ...spec import LIMITS, NET_LIMITS, LimitValue
from .. import delegation
from . import files, limit_events, parts, v1, v2
from .files import LIMIT_CONTROLLERS, Counters, Mount, Write
from .maximums import read_maximums
from .routes import Paths, Routes
from .writing import write_all

OURS = "terrarium-"  # how the names of our top groups begin
_REMEMBER = 5.0  # seconds
T = TypeVar("T")


class RoutedCgroups(Routes):
    def __init__(self, mounts: Iterable[Mount], proc: str = "/proc") -> None:
        super().__init__(mounts, proc)
        self._prepared: set[str] = set()
        self._facts: dict[str, tuple[float, dict[str, Any]]] = {}

    # -- making and removing -------------------------------------------------------------------------------------

    def create(self, group: str, limits: Mapping[str, LimitValue]) -> dict[str, str]:
        """Make the group everywhere with its limits, or nothing at all. An empty left-over of it is replaced.

        Conflict: it exists and has processes.
        """
        paths = self.paths(group)
        self._refuse_locked(limits)
        made: list[str] = []
        try:
            for mount, backend, controllers in self._ours.values():
                directory = f"{mount.base}/{group}"
                self._make(mount, backend, controllers, group)
                made.append(directory)
                backend.ready(directory, controllers)
            self._write(self._plan(limits, paths, fresh=True))
            if limits.get("memory_low"):
                self._hand_down_protection(paths)
        except OSError as error:
            self._remove_made(made)
            raise files.no_access(str(error.filename), error) from None
        except TerrariumError:
            self._remove_made(made)
            raise
        return paths

    def create_parent(self, group: str, limits: Mapping[str, LimitValue]) -> None:
        """Make a group that holds groups and no processes, with its limits. One that is there is used. All or nothing."""
        self._refuse_locked(limits)
        paths = self.paths(group)
        try:
            for mount, backend, controllers in self._ours.values():
                self._prepare(mount, backend, controllers, f"{group}/")
            self._write(self._plan(limits, paths, fresh=False))
            if limits.get("memory_low"):
                self._hand_down_protection(paths)
        except OSError as error:
            self.remove(paths)
            raise files.no_access(str(error.filename), error) from None
        except TerrariumError:
            self.remove(paths)
            raise

    def _remove_made(self, made: list[str]) -> None:
        for directory in made:
            files.remove(directory)

    def _make(self, mount: Mount, backend: ModuleType, controllers: tuple[str, ...], group: str) -> None:
        directory = f"{mount.base}/{group}"
        parent = os.path.dirname(directory)
        if parent not in self._prepared:
            self._prepare(mount, backend, controllers, group)
        try:
            files.make_new(directory)
        except FileNotFoundError:  # the parent was removed by someone
            self._prepare(mount, backend, controllers, group)
            files.make_new(directory)
        except FileExistsError:
            try:
                files.remove(directory)
            except Conflict:
                raise Conflict(f"The control group {group} is in use.", hint="Stop what runs in it first.") from None
            files.make_new(directory)

    def _prepare(self, mount: Mount, backend: ModuleType, controllers: tuple[str, ...], group: str) -> None:
        parent = mount.base
        for name in group.split("/")[:-1]:
            backend.prepare(parent, f"{parent}/{name}", controllers)
            parent = f"{parent}/{name}"
        self._prepared.add(parent)

    def remove(self, paths: Paths) -> None:
        """rmdir everywhere, with everything below. Waits a moment for killed processes; Conflict when they stay."""
        for directory in dict.fromkeys(self._own(paths).values()):
            files.remove(directory)
            self._prepared.discard(directory)
        with contextlib.suppress(OSError):  # the group above may have gone too
            self._hand_down_protection(paths)

    def describe(self, group: str, limits: Mapping[str, LimitValue]) -> list[str]:
        """Shell commands that do what ``create`` does."""
        paths = self.paths(group)
        commands: list[str] = []
        for mount, backend, controllers in self._ours.values():
            parent = mount.base
            for name in group.split("/")[:-1]:
                commands += backend.prepare_commands(parent, f"{parent}/{name}", controllers)
                parent = f"{parent}/{name}"
            commands.append(f"mkdir {mount.base}/{group}")
        return commands + [write.describe() for write in self._plan(limits, paths, fresh=True)]

    # -- limits --------------------------------------------------------------------------------------------------

    def resolve(self, changes: Mapping[str, LimitValue | None], data: str) -> dict[str, LimitValue | None]:
        """With each disk and page size by its own name; DATA_DISK is the one below ``data``. InvalidInput: not here."""
        return {limit: parts.resolve(limit, change, data) for limit, change in changes.items()}

    def parts(self) -> dict[str, tuple[str, ...]]:
        """What the limits that are objects can be set for."""
        return dict(self._remembered("parts", lambda: {limit: parts.list_parts(limit) for limit in parts.PARTED}))

    def locked(self) -> dict[str, str]:
        """Limits that this host can't enforce → why, in words."""
        return dict(self._remembered("locked", self._read_locked))

    def _read_locked(self) -> dict[str, str]:
        return {limit: reason for limit in LIMIT_CONTROLLERS if (reason := self._reason(limit))}

    def unshared(self) -> dict[str, str]:
        """Limits of a group that do not hold the groups inside it on this host → why, in words."""
        routed = {limit: controller for limit, controller in self._controllers.items() if controller in self._routes}
        return {limit: why for limit, controller in routed.items() if (why := self._backend(controller).unshared(limit))}

    def maximums(self) -> dict[str, float]:
        """The host's own size, as the end of each slider. Swap is missing where the host has none."""
        return dict(self._remembered("maximums", lambda: read_maximums(self._proc)))

    def _remembered(self, what: str, read: Callable[[], dict[str, T]]) -> dict[str, T]:
        """The host changes rarely (hot-plug, swapon), and a list of containers asks for each of them."""
        at, found = self._facts.get(what, (0.0, {}))
        now = time.monotonic()
        if not at or now - at > _REMEMBER:
            found = read()
            self._facts[what] = now, found
        return found

    def read(self, paths: Paths, only: Collection[str] | None = None) -> dict[str, tuple[LimitValue | None, LimitValue | None]]:
        """Every limit of control groups, or ``only`` these → (kernel's value, effective value). NotFound: the group is gone."""
        if not any(map(os.path.isdir, dict.fromkeys(paths.values()))):
            raise files.gone()
        found: dict[str, tuple[LimitValue | None, LimitValue | None]] = {}
        for limit, controller in self._controllers.items():
            if only is not None and limit not in only:
                continue
            directory = paths.get(controller)
            if directory is None or controller not in self._routes:
                found[limit] = (None, None)
                continue
            backend = self._backend(controller)
            ancestors = self._ancestors(controller, directory)
            own = backend.kernel_value(limit, directory)
            found[limit] = (own, backend.effective_value(limit, own, ancestors))
        return found

    def touched_by(self, changes: Collection[str]) -> frozenset[str]:
        """Limits that ``changes`` may touch: all of the same controllers, for swap is counted with memory."""
        controllers = {self._controllers[limit] for limit in changes if limit in self._controllers}
        return frozenset(limit for limit, controller in self._controllers.items() if controller in controllers)

    def inherited_cpus(self, paths: Paths) -> str | None:
        """The kernel's value of a group whose CPUs nobody has limited."""
        directory = paths.get("cpuset")
        return self._backend("cpuset").inherited_cpus(directory) if directory else None

    def limit_files(self, paths: Paths) -> list[str]:
        """Every file, whether it is there or not, in which the group's limits or those of the groups above it stand."""
        found: dict[str, None] = {}
        for limit, controller in self._controllers.items():
            if controller in paths and controller in self._routes:
                names = self._backend(controller).file_names(limit)
                for directory in self._ancestors(controller, paths[controller])[:-1]:
                    found.update(dict.fromkeys(f"{directory}/{name}" for name in names))
        return list(found)

    def _ancestors(self, controller: str, directory: str) -> list[str]:
        """The group first, the mount's root last."""
        root = self._root(controller)
        found = [directory]
        while len(directory) > len(root):
            directory = directory[: directory.rindex("/")]
            found.append(directory)
        return found

    def update(self, paths: Paths, changes: Mapping[str, LimitValue | None]) -> None:
        """Set (or clear, with None) all of ``changes`` or none of them. KernelRefused says in words why not."""
        self._refuse_locked(changes)
        with files.vanishing():
            plan = self._plan(changes, paths, fresh=False)
        self._write(plan)
        if "memory_low" in changes:
            with files.vanishing():
                self._hand_down_protection(paths)

    def _hand_down_protection(self, paths: Paths) -> None:
        """To what is in our own top group: other people's groups are not ours to change, and our unit's is systemd's."""
        if directory := paths.get("memory"):
            base = self._routes["memory"].base
            top = next((group for group in self._ancestors("memory", directory)[1:] if os.path.dirname(group) == base), "")
            if os.path.basename(top).startswith(OURS):
                total = self._backend("memory").hand_down_protection(top)
                if total and base != self._root("memory"):
                    delegation.protect_memory(base, total)

    def _plan(self, changes: Mapping[str, LimitValue | None], paths: Paths, *, fresh: bool) -> list[Write]:
        """Clearing a limit that is not there is left out: it is clear."""
        mine: dict[ModuleType, dict[str, LimitValue | None]] = {v1: {}, v2: {}}
        for limit, value in changes.items():
            if limit not in NET_LIMITS and self._controllers[limit] in paths and not (value is None and self._reason(limit)):
                mine[self._backend(self._controllers[limit])][limit] = value
        return [write for backend, part in mine.items() if part for write in backend.plan(part, paths, fresh)]

    def _refuse_locked(self, changes: Mapping[str, LimitValue | None]) -> None:
        """Clearing what can't be set is fine: there is no such limit."""
        for limit, value in changes.items():
            if limit not in LIMITS:
                raise InvalidInput(f"There is no limit called {limit!r}.", hint="Limits are " + ", ".join(LIMITS) + ".")
            if limit not in NET_LIMITS and value is not None and (reason := self._reason(limit)):
                raise Unsupported(f"{LIMITS[limit].label} can't be limited here. {reason}", hint="Leave this limit out.")

    def _reason(self, limit: str) -> str:
        """Why this host can't enforce the limit, "" if it can."""
        controller = self._controllers[limit]
        if controller not in self._routes:
            return f"The {controller} controller of control groups is not available on this host."
        if controller not in self._routes[controller].usable:
            return f"systemd, which manages the control groups here, does not hand the {controller} controller down to the panel."
        reason: str = self._backend(controller).locked(limit, self._root(controller))
        return reason

    def _write(self, plan: list[Write]) -> None:
        write_all(plan, lambda write, error: self._backend(self._controllers[write.limit]).explain(write, error))

    # -- processes -----------------------------------------------------------------------------------------------

    def freeze(self, paths: Paths) -> None:
        """Stop all its processes where they are. Returns when all are stopped; KernelRefused after a second."""
        controller = self._freezer(paths)
        self._backend(controller).freeze(paths[controller])

    def _freezer(self, paths: Paths) -> str:
        own = self._own(paths)
        if "" in own and os.path.exists(own[""] + "/cgroup.freeze"):
            return ""
        if "freezer" in own:
            return "freezer"
        if not any(map(os.path.isdir, own.values())):
            raise files.gone()
        raise Unsupported("This host can't pause a group.", hint="Mount the freezer controller or cgroup v2.")

    def thaw(self, paths: Paths) -> None:
        """Let it run on, whichever way it was frozen (Docker uses the v1 freezer on hybrid hosts)."""
        own = self._own(paths)
        for controller in ("", "freezer"):
            if controller in own and self._backend(controller).frozen(own[controller]):
                self._backend(controller).thaw(own[controller])

    def frozen(self, paths: Paths) -> bool:
        own = self._own(paths)
        return any(name in own and self._backend(name).frozen(own[name]) for name in ("", "freezer"))

    def kill(self, paths: Paths) -> None:
        """SIGKILL to all processes in and below the group. They are gone a moment later; see ``populated``."""
        own = self._own(paths)
        if "" in own:
            v2.kill(own[""])
        if "freezer" in own:  # what is not in the v2 group, or is held by the v1 freezer: that dies when it is thawed
            v1.kill(own["freezer"])
        if "" not in own and "freezer" not in own:
            files.signal_all(self.pids(own))

    def pids(self, paths: Paths) -> list[int]:
        """Host pids of everything in and below the group; [] when the group is gone."""
        own = self._own(paths)
        for controller in ("", "freezer", "pids", *own):
            if controller in own and (found := files.pids(own[controller])):
                return found
        return []

    def populated(self, paths: Paths) -> bool:
        own = self._own(paths)
        return any(self._backend(name).populated(own[name]) for name in dict.fromkeys(("", "freezer", *own)) if name in own)

    # -- numbers -------------------------------------------------------------------------------------------------

    def oom_kills(self, paths: Paths) -> int:
        """How many of its processes the kernel killed for memory since it was made; 0 when unknown."""
        directory = self._own(paths).get("memory")
        return int(self._backend("memory").oom_kills(directory)) if directory else 0

    def limit_events(self, paths: Paths) -> dict[str, float | None]:
        """What its limits did to the group; see limit_events.py."""
        own = {name: path for name, path in self._own(paths).items() if name in self._routes}
        return limit_events.read({name: self._routes[name].version for name in own}, own)

    def counters(self, paths: Paths) -> Counters:
        """Where its numbers are, for the sampler. A v1 file goes before the v2 one where both are there."""
        merged = Counters()
        for backend in (v2, v1):
            own = {name: path for name, path in self._own(paths).items() if name in self._routes}
            mine = {name: path for name, path in own.items() if self._backend(name) is backend}
            for found in backend.counters(mine).values():
                merged = merged.filled(found)
        return merged
