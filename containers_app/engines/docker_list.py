"""The containers of one Docker daemon, kept true: the cache that the engine answers from, and the task that fills it.

    _watch (a task)   wait for the socket ─▶ connect ─▶ open the event stream ─▶ list, look at each ─▶ follow events, ping
                           ▲─────────────── back-off ≤ 2 s ◀──────── stream ended, ping failed ◀──────────┘
    _touch(id)        an event ─▶ look(id): inspect in a thread, /proc, cgroup files ─▶ cache ─▶ changed(id)

While the daemon is down or hangs, all containers are listed as last seen (pid, cgroups, limits …) and marked so (``stale``).
Those that ran have state "unknown"; they may well run on. Those that did not keep their state: nothing can start without the
daemon. ``status`` says it in words, and it heals by itself.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import msgspec

from ..errors import Conflict, EngineUnavailable, NotFound, TerrariumError
from ..kernel.cgroups import Cgroups
from ..spec import NET_LIMITS, LimitReading
from . import docker_events, docker_limits, docker_place, docker_view
from .base import Changed, EngineStatus
from .docker_client import CALL_SECONDS, DEFAULT_URL, DockerClient
from .docker_groups import DockerGroups
from .docker_kept import Kept, KeptLimits
from .docker_rates import DockerRates
from .docker_turns import Turns
from .docker_view import Seen
from .groups import Groups
from .limit_readings import readings

LOOK_SECONDS = 1.0  # between two looks for a socket that is not there (one stat each)
MOST_WAIT = 2.0  # seconds, the longest back-off
HEALTH_SECONDS = 5.0  # between two pings of a silent daemon: a hung one never closes its stream
MIN_PREFIX = 4  # characters of an id
_log = logging.getLogger(__name__)
_Look = tuple[int, Seen]  # its number, what it saw


class DockerList:
    def __init__(
        self, name: str, url: str, node: str, cgroups: Cgroups, kept: KeptLimits, tag: str,
        groups: Groups | None,
    ) -> None:  # fmt: skip
        self._asked_for = bool(url)
        self.client = DockerClient(url or DEFAULT_URL)
        self._name, self._node, self._cgroups = name, node, cgroups
        self._changed: Changed = lambda _: None
        self.seen: dict[str, Seen] = {}
        self.kept = kept
        self.groups = DockerGroups(groups, local=bool(self.client.path))
        self.rates = DockerRates(tag if self.client.path else "")
        self._looking: dict[str, bool] = {}  # ids being looked at → whether to look again
        self.turns = Turns()
        self._applied: dict[str, int] = {}  # number of the look that is shown: an older one never replaces a newer one
        self._limits_taken: dict[str, int] = {}  # and of the limits, where they were read anew since
        self.cpus = 1  # of the daemon's host
        self.up = False
        self.status = self._nobody_yet()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, changed: Changed) -> None:
        """Returns at once when nobody is there; else when the first list is read, at most after a few seconds."""
        self._changed = changed
        first = asyncio.Event()
        self._spawn(self._watch(first))
        if not self.client.absent():
            try:
                await asyncio.wait_for(first.wait(), CALL_SECONDS)
            except TimeoutError:
                _log.warning("Docker at %s is slow to answer", self.client.url)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.client.close()

    def _nobody_yet(self) -> EngineStatus:
        if self._asked_for:
            detail = f"There is no {self.client.product} daemon at {self.client.url}."
            hint = "Start it; the panel connects by itself."
        else:
            detail, hint = "There is no Docker on this host.", "Install it if you like (docker.io); it shows up here then."
        return EngineStatus(self._name, False, detail, hint)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self, first: asyncio.Event) -> None:
        wait = 0.1
        while True:
            if self.client.absent():
                self._lose(self._nobody_yet())
                first.set()
                await asyncio.sleep(LOOK_SECONDS)
                continue
            try:
                await self._stay(first)
            except TerrariumError as error:
                wait = 0.1 if self.up else min(wait * 2, MOST_WAIT)
                self._lose(EngineStatus(self._name, False, error.message, error.hint))
            except Exception:  # a foreign answer that we can't read must not end the watch
                _log.exception("Docker at %s", self.client.url)
                wait = MOST_WAIT
                strange = f"{self.client.product} answered in a way that the panel does not understand."
                self._lose(EngineStatus(self._name, False, strange))
            first.set()
            await asyncio.sleep(wait)

    async def _stay(self, first: asyncio.Event) -> None:
        """Connect and follow. Ends only by an error."""
        info = await self.client.connect()
        self.cpus = int(info.get("NCPU") or 1)
        self.groups.driver = str(info.get("CgroupDriver") or "")
        stream = await docker_events.open_events(self.client)
        try:
            found = await self._list()
            self.up = True
            self.status = EngineStatus(self._name, True, f"{self.client.product} {info.get('ServerVersion', '')}".strip())
            _log.info("connected to %s at %s", self.status.detail, self.client.url)
            for container_id in self.seen.keys() - found.keys():
                self.forget(container_id)
            self.kept.only(found)
            for container_id, look in found.items():
                self._apply(container_id, look)
            first.set()
            follow = asyncio.create_task(self._follow(stream))
            try:
                while not (await asyncio.wait({follow}, timeout=HEALTH_SECONDS))[0]:
                    await self.client.ping()
                await follow
            finally:
                follow.cancel()
                await asyncio.gather(follow, return_exceptions=True)
        finally:
            stream.close()

    async def _follow(self, stream: socket.socket) -> None:
        async for container_id, gone in docker_events.changed_containers(stream, self.client.product):
            if gone:
                self.forget(container_id)
            else:
                self._touch(container_id)

    async def _list(self) -> dict[str, _Look | None]:
        """A look at every container there is; None for one that went meanwhile."""
        listed = await self.client.call(lambda sdk: sdk.containers(all=True, quiet=True))
        ids = [str(found["Id"]) for found in listed]
        return dict(zip(ids, await asyncio.gather(*map(self._looked_at, ids)), strict=True))

    async def _looked_at(self, container_id: str) -> _Look | None:
        turn = self.turns.of(container_id)
        try:
            return await self.client.call(lambda sdk: self._inspect(sdk, container_id, turn))
        except NotFound:
            return None

    def _lose(self, status: EngineStatus) -> None:
        was_up, self.up, self.status = self.up, False, status
        if was_up:
            _log.warning("lost Docker: %s", status.detail)
        for container_id, seen in self.seen.items():
            if not seen.container.stale:
                self.seen[container_id] = docker_view.as_last_seen(seen)
                self._changed(container_id)

    def _touch(self, container_id: str) -> None:
        if container_id in self._looking:
            self._looking[container_id] = True
        else:
            self._looking[container_id] = False
            self._spawn(self._look_until_quiet(container_id))

    async def _look_until_quiet(self, container_id: str) -> None:
        try:
            again = True
            while again:
                self._looking[container_id] = False
                try:
                    await self.look(container_id)
                    again = self._looking[container_id]
                except EngineUnavailable as error:
                    _log.info("could not look at container %s: %s", container_id[:12], error.message)
                    await asyncio.sleep(MOST_WAIT)
                    again = self.up  # it was slow; one that was lost is read whole by whoever finds it again
        except TerrariumError as error:
            _log.info("could not look at container %s: %s", container_id[:12], error.message)
        finally:
            del self._looking[container_id]

    async def look(self, container_id: str) -> None:
        """Bring the cache up to date with one container."""
        look = await self._looked_at(container_id)
        if self.up:  # else it was lost meanwhile, and whoever finds it again reads everything
            self._apply(container_id, look)

    def _apply(self, container_id: str, look: _Look | None) -> None:
        if look is None:  # an id never comes back
            self.forget(container_id)
            return
        number, seen = look
        if number < self._applied.get(container_id, 0):
            return
        if number < self._limits_taken.get(container_id, 0):
            seen = replace(seen, container=msgspec.structs.replace(seen.container, limits=self.read_limits(seen)))
        before = self.seen.get(container_id)
        self._applied[container_id] = number
        self.seen[container_id] = seen
        if before is None or before.container != seen.container:
            self._changed(container_id)

    def _inspect(self, sdk: Any, container_id: str, turn: threading.Lock) -> _Look:
        """In a thread. A container that has started anew gets back what the record could not keep."""
        with turn:
            number = self.turns.number()
            seen = self._with_limits(sdk, container_id, number)
        group = self.groups.named_by(seen.host)
        return number, replace(seen, container=msgspec.structs.replace(seen.container, group=group)) if group else seen

    def _with_limits(self, sdk: Any, container_id: str, number: int) -> Seen:
        inspected = sdk.inspect_container(container_id)
        host = inspected.get("HostConfig") or {}
        asked = docker_limits.requested(host, self.cpus)
        kept, locked = self.kept_for(container_id, inspected), self.rates.locked(host)
        place = docker_place.find(inspected, self._cgroups)
        rates = self.rates.look(container_id, number, place.pid, host, kept.values if kept else {})
        if kept is None:
            return docker_view.view(inspected, place, self._name, self._node, self._cgroups, asked, rates, locked)
        asked |= docker_limits.still_asked(kept.values, kept.signature == docker_limits.signature(host))
        seen = docker_view.view(inspected, place, self._name, self._node, self._cgroups, asked, rates, locked)
        anew = bool(seen.container.pid) and seen.container.started_at != kept.started_at
        if anew and (wrong := docker_limits.not_kept(seen.container.limits, kept.values, self.client.has_update)):
            try:
                self._cgroups.update(seen.container.cgroups, wrong)
            except TerrariumError as error:
                _log.warning("could not put back the limits of %s: %s", seen.container.name, error.message)
            seen = docker_view.view(inspected, place, self._name, self._node, self._cgroups, asked, rates, locked)
        if not kept.lasting:
            seen = replace(seen, container=msgspec.structs.replace(seen.container, keep_limits=False))
        started = seen.container.started_at if seen.container.pid else kept.started_at
        links = self.rated_links(container_id, kept.values)
        self.kept.amend(container_id, kept, msgspec.structs.replace(kept, started_at=started, links=links))
        return seen

    def kept_for(self, container_id: str, inspected: dict[str, Any]) -> Kept | None:
        """Where it is not to last, a new start begins with what the record says, and what was asked for since the last ended."""
        kept = self.kept.get(container_id)
        if kept is None or kept.lasting or kept.started_at is None or not docker_place.first_pid(inspected):
            return kept
        if docker_view.started_at(inspected) == kept.started_at:
            return kept
        fresh = msgspec.structs.replace(kept, values={}, links={}, started_at=docker_view.started_at(inspected))
        self.kept.amend(container_id, kept, fresh)
        return self.kept.get(container_id)

    def rated_links(self, container_id: str, values: docker_limits.Values) -> dict[str, int]:
        """Those that have to be cleaned before the panel leaves this host."""
        return self.rates.links(container_id) if any(values.get(name) is not None for name in NET_LIMITS) else {}

    def read_limits(self, seen: Seen) -> dict[str, LimitReading]:
        """The kernel's values of this moment. As last seen while it can't be read."""
        try:
            rates, locked = self.rates.read(seen.container.id), self.rates.locked(seen.host)
            found = readings(seen.asked, seen.container.cgroups, self._cgroups, rates, locked)
            return docker_limits.as_put(found, seen.host)
        except NotFound:
            return seen.container.limits

    def take_limits(self, container_id: str) -> None:
        """Somebody has changed them in the kernel. A look that is under way may have read them before that."""
        seen = self.seen[container_id]
        self._limits_taken[container_id] = self.turns.number()
        limits = self.read_limits(seen)
        if seen.container.limits != limits:
            self.seen[container_id] = replace(seen, container=msgspec.structs.replace(seen.container, limits=limits))
            self._changed(container_id)

    def forget(self, container_id: str) -> None:
        number = self._applied[container_id] = self.turns.number()  # a look that is still under way comes too late
        asyncio.get_running_loop().call_later(2 * CALL_SECONDS, self._forget_for_good, container_id)
        self._limits_taken.pop(container_id, None)
        self.kept.forget(container_id)
        self.rates.forget(container_id, number)
        if self.seen.pop(container_id, None) is not None:
            self._changed(container_id)

    def _forget_for_good(self, container_id: str) -> None:
        self._applied.pop(container_id, None)
        self.rates.forget_looks(container_id)

    def matches(self, wanted: str) -> list[Seen]:
        """By id, else by name, else by prefix of the id."""
        if wanted in self.seen:
            return [self.seen[wanted]]
        named = [seen for seen in self.seen.values() if seen.container.name == wanted]
        if named or len(wanted) < MIN_PREFIX:
            return named
        return [seen for container_id, seen in self.seen.items() if container_id.startswith(wanted)]

    def find(self, wanted: str) -> Seen:
        found = self.matches(wanted)
        if not found:
            hint = "Write its name, its id or at least four characters of it."
            raise NotFound(f"There is no {self.client.product} container “{wanted}”.", hint=hint)
        if len(found) > 1:
            raise Conflict(
                f"“{wanted}” is the beginning of {len(found)} containers' ids.", hint="Write more of it.", code="ambiguous"
            )
        return found[0]
