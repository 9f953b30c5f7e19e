"""Where groups are: which hierarchy each controller is mounted in, and the directories of a group there.

Ours are not made in v1's "devices", where we write nothing, nor in its "freezer" and "cpuacct" where v2 freezes and counts CPU
time; others' are found there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from types import ModuleType

from ...errors import InvalidInput, NotFound
from . import files, v1, v2
from .files import LIMIT_CONTROLLERS, Mount

V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "hugetlb", "pids", "freezer", "devices")
V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "hugetlb", "pids")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:-]*)*", re.ASCII)
Paths = Mapping[str, str]


class Routes:
    def __init__(self, mounts: Iterable[Mount], proc: str = "/proc") -> None:
        self._proc, mounts = proc, tuple(mounts)
        self._routes: dict[str, Mount] = {}  # controller ("" is the v2 hierarchy itself) → where it is mounted
        for mount in mounts:
            wanted = V1_CONTROLLERS if mount.version == 1 else ("", *V2_CONTROLLERS)
            for controller in (*mount.controllers, *([""] if mount.version == 2 else [])):
                if controller in wanted:
                    self._routes.setdefault(controller, mount)
        self._hierarchies: dict[str, tuple[Mount, ModuleType, tuple[str, ...]]] = {
            mount.directory: (
                mount,
                v1 if mount.version == 1 else v2,
                tuple(
                    name for name, other in self._routes.items() if name in other.usable and other.directory == mount.directory
                ),
            )
            for mount in self._routes.values()
        }
        needless = {"devices"} | ({"freezer", "cpuacct"} if "" in self._routes else set())
        needed = {mount.directory for controller, mount in self._routes.items() if controller not in needless}
        # Where our groups are made. Each hierarchy costs a start 0.15 ms and a sandbox 12 KiB.
        self._ours = {directory: self._hierarchies[directory] for directory in self._hierarchies if directory in needed}
        versions = {mount.version for mount in self._routes.values()}
        self.version = "hybrid" if len(versions) == 2 else f"v{min(versions, default=1)}"
        self.controllers: Mapping[str, str] = {name: mount.directory for name, mount in self._routes.items() if name}
        self._controllers = {  # limit → its controller here
            limit: "blkio" if controller == "io" and "io" not in self._routes else controller
            for limit, controller in LIMIT_CONTROLLERS.items()
        }
        known = {(mount.directory, mount.version) for mount, _, _ in self._ours.values()}
        self.elsewhere = tuple(one.directory for one in mounts if (one.directory, one.version) not in known)

    def paths(self, group: str) -> dict[str, str]:
        if not _GROUP.fullmatch(group):
            raise InvalidInput(f"{group!r} is not a name of a control group.", hint="For example terrarium-ab12cd/3f0c.")
        return {name: f"{mount.base}/{group}" for name, mount in self._routes.items() if mount.directory in self._ours}

    def former_paths(self, group: str) -> dict[str, str]:
        """Where a panel that did not run in a unit of systemd's has made it: a sandbox of that time stays there."""
        return {name: f"{mount.directory}/{group}" for name, mount in self._routes.items() if mount.directory in self._ours}

    def find(self, group: str) -> dict[str, str]:
        """``paths``, or for directories that are there alone, ``former_paths``."""
        found = self.paths(group)
        for controller, former in self.former_paths(group).items():
            if former != found[controller] and not os.path.isdir(found[controller]) and os.path.isdir(former):
                found[controller] = former
        return found

    def above(self) -> str | None:
        """The group that ours are made below, "" for the root; None when that differs between the hierarchies."""
        found = {mount.base.removeprefix(mount.directory) for mount in self._routes.values()}
        return found.pop() if len(found) == 1 else None

    def paths_of(self, pid: int) -> dict[str, str]:
        """The groups that any process is in. Those in a hierarchy's root have that root as their directory."""
        data = files.read_all(f"{self._proc}/{pid}/cgroup")
        if not data:
            raise NotFound(f"There is no process {pid}.", hint="It may just have ended.")
        found: dict[str, str] = {}
        for line in data.decode(errors="surrogateescape").splitlines():
            _, names, group = line.split(":", 2)
            for controller in names.split(","):
                self._add_path(found, controller, group)
                if controller == "":  # in v2 every controller's directory is this one
                    for name in V2_CONTROLLERS:
                        if (mount := self._routes.get(name)) and mount.version == 2:
                            self._add_path(found, name, group)
        return found

    def _add_path(self, found: dict[str, str], controller: str, group: str) -> None:
        mount = self._routes.get(controller)
        if mount is not None and (directory := mount.place(group)) is not None:
            found[controller] = directory

    def _own(self, paths: Paths) -> dict[str, str]:
        """Without the hierarchies' roots: those hold the whole machine and are never killed, frozen or counted."""
        return {name: path for name, path in paths.items() if path != self._root(name)}

    def _root(self, controller: str) -> str:
        mount = self._routes.get(controller)
        return mount.directory if mount else ""

    def _backend(self, controller: str) -> ModuleType:
        return self._hierarchies[self._routes[controller].directory][1]

    def procs_files(self, paths: Paths) -> list[str]:
        """The files to write a pid into, one per hierarchy."""
        return [path + "/cgroup.procs" for path in dict.fromkeys(paths.values())]
