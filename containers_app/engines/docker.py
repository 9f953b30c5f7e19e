"""The Docker engine: containers of one Docker daemon, whoever made them, beside the raw sandboxes.

``all`` and ``get`` answer from the cache, never from the daemon; see docker_list.py for how that is kept true and what it says
while the daemon is down (state "unknown", all else as last seen). What needs the daemon fails at once then (EngineUnavailable).

Limits are written to the cgroup first, all or none, and then into Docker's record, so that they survive `docker restart`;
when the daemon refuses, the cgroup is put back. What was asked for through us and the record can't say (disks, memory_high …,
"none" where it knows only a number that means as much; with Podman 4, which has no update in this API, every limit) is kept in
a file and written again when the container starts anew.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

import msgspec

from ..errors import Conflict, EngineUnavailable, NotFound, TerrariumError, Unsupported
from ..kernel.cgroups import Cgroups
from ..kernel.images.layers import defaults
from ..spec import LIMITS, NET_LIMITS, Changes, ContainerSpec, LimitChanges, LimitReading, change_to, merge_limits
from . import docker_command, docker_enter, docker_exec, docker_limits, docker_logs, docker_place, docker_spec, docker_view
from .base import Archive, Changed, Container, EngineStatus, ExecResult, LogQuery, LogText, Terminal
from .docker_client import CALL_SECONDS
from .docker_images import DockerImages
from .docker_kept import Kept, KeptLimits
from .docker_list import DockerList
from .docker_networks import DockerNetworks
from .docker_view import Seen
from .docker_volumes import DockerVolumes
from .docker_words import NetworkFacts
from .groups import Groups

log = logging.getLogger(__name__)

SLOW_SECONDS = 60.0  # for what makes or removes files, or starts a program
STOP_MARGIN = 15.0  # seconds beyond a stop's own time-out
PACK_SECONDS = 600.0  # until the first byte of an archive


class DockerEngine:
    def __init__(
        self, name: str, url: str, node: str, cgroups: Cgroups, kept: str, run: str = "", tag: str = "",
        groups: Groups | None = None,
    ) -> None:  # fmt: skip
        """``url`` "" means: no Docker was asked for; it is used when it appears at the usual place. ``kept``: docker_kept.py's
        file. ``run`` is the directory of the keeper's socket; without one all goes through the daemon. ``tag`` is
        docker_rates.py's. ``groups``: that its containers can be in."""
        self.name = name
        self._list = DockerList(name, url, node, cgroups, KeptLimits(kept), tag, groups)
        self._client = self._list.client
        self._cgroups = cgroups
        self.image_store = DockerImages(self._client, self._must_be_up)
        self.network_store = DockerNetworks(self._client, self._must_be_up)
        self.volume_store = DockerVolumes(self._client, self._must_be_up)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # one change of limits at a time
        self._hang_ups = docker_exec.HangUps()
        self._entrance = docker_enter.Entrance(run if self._client.path else "")

    async def open(self, changed: Changed) -> None:
        """Never fails. Returns at once when nobody is there; else when the first list is read, at most after some seconds."""
        await self._entrance.open()
        await self._list.open(changed)

    async def close(self) -> None:
        self._hang_ups.close()
        await self._entrance.close()
        await self._list.close()

    def status(self) -> EngineStatus:
        return self._list.status

    def owns(self, container_id: str) -> bool:
        return bool(self._list.matches(container_id))

    def all(self) -> list[Container]:
        return [seen.container for seen in self._list.seen.values()]

    def get(self, container_id: str) -> Container:
        return self._list.find(container_id).container

    def _live(self, wanted: str) -> Container:
        """For what needs the daemon: fails at once when it is known to be away."""
        container = self.get(wanted)
        self._must_be_up()
        return container

    def _must_be_up(self) -> None:
        if not self._list.up:
            raise EngineUnavailable(self._list.status.detail, hint=self._list.status.hint)

    # -- life ----------------------------------------------------------------------------------------------------

    async def create(self, spec: ContainerSpec, owner: str) -> Container:
        """As `docker run -d`. When it can't be started it is removed again: all or nothing."""
        self._must_be_up()
        with self._client.by_its_name():
            body = docker_spec.create_body(spec, owner, self._list.cpus, self._resolve)
        self._check_limits(dict(spec.limits), body["HostConfig"])
        body["HostConfig"] |= self._list.groups.parent(spec.group)
        with self._list.groups.expecting(spec.group):
            created = await self._client.call(lambda sdk: sdk.create_container_from_config(body, name=spec.name), SLOW_SECONDS)
            container_id = str(created["Id"])
            await self._list.look(container_id)
        only_here = {name: value for name, value in spec.limits.items() if name in docker_limits.KEPT_ON_CREATION}
        more_than_recorded = bool(only_here) or not spec.keep_limits
        if more_than_recorded and container_id in self._list.seen:
            signature = docker_limits.signature(self._list.seen[container_id].host)
            self._list.kept.put(container_id, Kept(signature, dict(only_here), lasting=spec.keep_limits))
        if spec.start:
            try:
                await self._client.call(lambda sdk: sdk.start(container_id), SLOW_SECONDS)
            except TerrariumError:
                await self._client.call(lambda sdk: sdk.remove_container(container_id, force=True, v=True), SLOW_SECONDS)
                self._list.forget(container_id)
                raise
        if spec.start or more_than_recorded:
            await self._list.look(container_id)
        return self.get(container_id)

    def _resolve(self, wanted: str) -> str:
        try:
            return self.get(wanted).id
        except NotFound:
            raise Unsupported(
                f"{self._client.product} joins the namespaces of its own containers only, and {wanted[:64]} is none of them.",
                hint="The other way round works: make a sandbox that joins the other container's.",
            ) from None

    async def _act(self, container_id: str, work: Callable[[Any], object], timeout: float = CALL_SECONDS) -> None:
        try:
            await self._client.call(work, timeout)
        finally:
            if self._list.up:
                await self._list.look(container_id)

    async def start(self, container_id: str) -> None:
        container = self._live(container_id)
        if container.state == "running":
            raise Conflict(f"{container.name} is running already.", hint="Restart it to start it anew.")
        self._list.groups.ensure(container.group)
        await self._act(container.id, lambda sdk: sdk.start(container.id), SLOW_SECONDS)

    async def stop(self, container_id: str, timeout: float | None) -> None:
        container = self._live(container_id)
        if not container.restarting:
            self._running(container_id, "stopped", paused_too=True)
        seconds = self._patience(container.id, timeout)
        await self._act(container.id, lambda sdk: sdk.stop(container.id, timeout=seconds), seconds + STOP_MARGIN)

    def _patience(self, container_id: str, timeout: float | None) -> int:
        """In whole seconds, as the daemon counts; without one the container's own, else 10."""
        own = self._list.find(container_id).config.get("StopTimeout")
        return round(timeout) if timeout is not None else 10 if own is None else int(own)

    async def kill(self, container_id: str, signal: int) -> None:
        container = self._running(container_id, "killed", paused_too=True)
        await self._act(container.id, lambda sdk: sdk.kill(container.id, signal=signal))

    async def restart(self, container_id: str, timeout: float | None) -> None:
        container = self._live(container_id)
        seconds = self._patience(container.id, timeout)
        self._list.groups.ensure(container.group)
        await self._act(
            container.id, lambda sdk: sdk.restart(container.id, timeout=seconds), seconds + STOP_MARGIN + SLOW_SECONDS
        )

    async def update(self, container_id: str, changes: Changes) -> None:
        container = self._live(container_id)
        if changes.labels is not None and dict(changes.labels) != container.labels:
            raise Unsupported(f"{self._client.product}'s labels are for good.", hint="Make the container anew with other labels.")
        if changes.restart is not None and not self._client.has_update:
            raise Unsupported(
                f"{self._client.product} changes no restart policy through this API.", hint="Make the container anew with it."
            )
        if changes.keep_limits is not None and changes.keep_limits != container.keep_limits:
            await self._keep_limits(container, changes.keep_limits)
        if changes.restart is not None:
            policy = {"Name": changes.restart.policy, "MaximumRetryCount": changes.restart.retries}
            await self._act(container.id, lambda sdk: sdk.update_container(container.id, restart_policy=policy))
        if changes.name is not None and changes.name != container.name:
            await self._act(container.id, lambda sdk: sdk.rename(container.id, changes.name))

    async def pause(self, container_id: str) -> None:
        container = self._running(container_id, "paused")
        await self._act(container.id, lambda sdk: sdk.pause(container.id))

    async def resume(self, container_id: str) -> None:
        container = self._live(container_id)
        if container.state != "paused":
            raise Conflict(f"{container.name} is {container.state} and can't be resumed.", hint="Only paused containers can.")
        await self._act(container.id, lambda sdk: sdk.unpause(container.id))

    async def remove(self, container_id: str, force: bool) -> None:
        """Without ``force`` a running one is a Conflict. Its anonymous volumes go with it, as with `docker run --rm`."""
        container = self._live(container_id)
        if (container.restarting or container.state in ("running", "paused")) and not force:
            state = "restarting" if container.restarting else container.state
            raise Conflict(f"{container.name} is {state}.", hint="Stop it first, or remove it by force.")
        await self._client.call(lambda sdk: sdk.remove_container(container.id, force=force, v=True), SLOW_SECONDS)
        self._list.forget(container.id)

    def _running(self, wanted: str, action: str, *, paused_too: bool = False) -> Container:
        container = self._live(wanted)
        if container.state == "running" or (paused_too and container.state == "paused"):
            return container
        hint = "Resume it first." if container.state == "paused" else "Start it first."
        raise Conflict(f"{container.name} is {container.state} and can't be {action}.", hint=hint)

    # -- inside --------------------------------------------------------------------------------------------------

    async def execute(
        self, container_id: str, argv: tuple[str, ...], timeout: float, namespaces: tuple[str, ...] = ()
    ) -> ExecResult:
        if namespaces:
            raise Unsupported(
                f"{self._client.product} starts programs in all of a container's namespaces.",
                hint="Make a sandbox that joins those that are wanted, for example of the image host.",
            )
        container = self._running(container_id, "entered")
        try:
            return await self._entrance.execute(self._list.find(container.id), argv, timeout)
        except docker_enter.NotThisWay as reason:
            log.info("%s is entered through Docker: %s", container.name, reason)
        return await docker_exec.execute(self._client, container.id, argv, timeout)

    async def open_terminal(self, container_id: str, argv: tuple[str, ...], rows: int, columns: int) -> Terminal:
        container = self._running(container_id, "entered")
        try:
            return await self._entrance.open_terminal(self._list.find(container.id), argv, rows, columns)
        except docker_enter.NotThisWay as reason:
            log.info("%s is entered through Docker: %s", container.name, reason)
        return await docker_exec.open_terminal(self._client, self._hang_ups, container.id, argv, rows, columns)

    async def logs(self, container_id: str, query: LogQuery) -> LogText:
        container = self._live(container_id)
        return await docker_logs.read(self._client, container.id, query)

    def commands(self, container_id: str) -> list[str]:
        seen = self._list.find(container_id)
        return [docker_command.run_command(seen.container.name, seen.config, seen.host)]

    def preview(self, spec: ContainerSpec) -> list[str]:
        """What `create` amounts to; nothing is made."""
        with self._client.by_its_name():
            body = docker_spec.create_body(spec, "", self._list.cpus, lambda wanted: wanted)
        body["HostConfig"] |= self._list.groups.parent(spec.group)
        return [docker_command.run_command(spec.name, body, body["HostConfig"], spec.start)]

    async def images(self) -> list[dict[str, Any]]:
        """One per tag; untagged ones are left out. [] while there is no daemon: ``status`` says so."""
        return await self.image_store.all() if self._list.up else []

    async def export_image(self, name: str) -> Archive:
        """As `docker save`: layers and configuration. Docker packs it all before it sends the first byte."""
        self._must_be_up()
        opened = await self._client.stream("GET", f"/images/{quote(name, safe='')}/get", patience=PACK_SECONDS)
        return Archive(_blocking(opened))

    async def export_container(self, container_id: str) -> Archive:
        """As `docker export`: its files as they are now, without mounts; its configuration beside."""
        container = self._live(container_id)
        config = self._list.find(container.id).config
        opened = await self._client.stream("GET", f"/containers/{container.id}/export", patience=PACK_SECONDS)
        return Archive(_blocking(opened), defaults({"config": config}))

    async def networks(self) -> list[NetworkFacts]:
        """[] while there is no daemon: ``status`` says so."""
        return await self.network_store.all() if self._list.up else []

    def security(self, container_id: str) -> dict[str, Any]:
        return docker_view.security_facts(self._list.find(container_id))

    # -- limits --------------------------------------------------------------------------------------------------

    def read_limits(self, container_id: str) -> dict[str, LimitReading]:
        """The kernel's values of this moment. As last seen while it can't be read."""
        return self._list.read_limits(self._list.find(container_id))

    def look_again(self, container_id: str) -> None:
        seen = self._list.find(container_id)
        lock = self._locks.get(seen.container.id)
        if lock is None or not lock.locked():  # else it is we who change them, and who look afterwards
            self._list.take_limits(seen.container.id)

    async def update_limits(self, container_id: str, changes: LimitChanges) -> dict[str, LimitReading]:
        """All of ``changes`` or none; what the kernel has then. A container that does not run has them from its next start."""
        container = self._live(container_id)
        self._check_limits(changes, self._list.find(container.id).host)
        lock = self._locks.setdefault(container.id, asyncio.Lock())
        async with lock:
            seen, kept = self._list.find(container.id), self._list.kept.get(container.id)
            changes = docker_limits.with_swap(changes, seen.asked, kept.values if kept else {})
            turn = self._list.turns.of(container.id)
            await self._client.call(lambda sdk: self._change_limits(sdk, seen, changes, turn), 3 * CALL_SECONDS)
            await self._list.look(container.id)
        return self.read_limits(container.id)

    async def _keep_limits(self, container: Container, lasting: bool) -> None:
        async with self._locks.setdefault(container.id, asyncio.Lock()):
            signature = docker_limits.signature(self._list.find(container.id).host)
            started = container.started_at if container.pid else None
            kept = self._list.kept.get(container.id) or Kept(signature, {}, started)
            self._list.kept.put(container.id, msgspec.structs.replace(kept, lasting=lasting))
            await self._list.look(container.id)

    def _check_limits(self, changes: LimitChanges, host: Mapping[str, Any]) -> None:
        with self._client.by_its_name():
            docker_limits.check(changes)
        locked = {**self._cgroups.locked(), **self._list.rates.locked(host)}
        for name, value in changes.items():
            if value is not None and name in locked:
                raise Unsupported(f"{LIMITS[name].label} can't be set here: {locked[name]}", code="limit_locked")

    def _change_limits(self, sdk: Any, seen: Seen, changes: LimitChanges, turn: threading.Lock) -> None:
        """In a thread. What was asked for is kept with the run that has got it: others may start it anew at any time."""
        container_id = seen.container.id
        with turn:
            inspected = sdk.inspect_container(container_id)
            paths = docker_place.find(inspected, self._cgroups).cgroups
            if not paths and docker_place.first_pid(inspected):
                docker_limits.check_elsewhere(changes)
            signature = self._write_limits(sdk, container_id, inspected.get("HostConfig") or {}, paths, changes)
            kept = self._list.kept_for(container_id, inspected)
            wanted = merge_limits({name: value for name, value in seen.asked.items() if value is not None}, changes)
            values = (kept.values if kept else {}) | {name: wanted.get(name) for name in changes}
            links = self._list.rated_links(container_id, values)
            # A run that has not got what was kept before is left to the look that follows.
            started = None if not paths else kept.started_at if kept else docker_view.started_at(inspected)
            self._list.kept.put(container_id, Kept(signature, values, started, links, kept.lasting if kept else True))

    def _write_limits(
        self, sdk: Any, container_id: str, host: dict[str, Any], paths: Mapping[str, str], changes: LimitChanges
    ) -> tuple[Any, ...]:
        """The rates of its links, then the rest, all or nothing."""
        rates = {name: value for name, value in changes.items() if name in NET_LIMITS}
        rest = {name: value for name, value in changes.items() if name not in NET_LIMITS}
        if not paths:
            return self._write_groups(sdk, container_id, host, paths, rest)
        before = self._list.rates.read(container_id)
        self._list.rates.change(container_id, rates)
        try:
            return self._write_groups(sdk, container_id, host, paths, rest)
        except Exception:
            self._list.rates.change(container_id, {name: before.get(name) for name in rates})
            raise

    def _write_groups(
        self, sdk: Any, container_id: str, host: dict[str, Any], paths: Mapping[str, str], changes: LimitChanges
    ) -> tuple[Any, ...]:
        """The cgroup first: it refuses in words, all or nothing. Then the record, and a look at what that did."""
        asked = docker_limits.requested(host, self._list.cpus)
        if not paths:
            return self._record(sdk, container_id, dict(changes), asked | changes, host)
        before = {name: kernel for name, (kernel, _) in self._cgroups.read(paths).items()}
        self._cgroups.update(paths, changes)
        after = {name: kernel for name, (kernel, _) in self._cgroups.read(paths).items()}
        # A record that says other than the kernel would be written back by Docker with the next update: bring it along.
        recorded = {name: after[name] for name in docker_limits.drifted(host, after, self._list.cpus)} | changes
        try:
            signature = self._record(sdk, container_id, recorded, after | changes, host)
        except Exception as error:
            self._cgroups.update(paths, {name: change_to(before[name], after[name]) for name in changes})
            raise error
        done = {name: kernel for name, (kernel, _) in self._cgroups.read(paths).items()}
        if wrong := {name: after[name] for name in after if done[name] != after[name]}:
            self._cgroups.update(paths, wrong)
        return signature

    def _record(
        self, sdk: Any, container_id: str, changes: LimitChanges, wanted: docker_limits.Values, host: dict[str, Any]
    ) -> tuple[Any, ...]:
        """POST /containers/ID/update; the SDK's own update_container knows neither NanoCpus nor PidsLimit."""
        body = docker_limits.record(changes, wanted, host, self._list.cpus)
        if body and self._client.has_update:
            sdk._result(sdk._post_json(sdk._url("/containers/{0}/update", container_id), data=body))
        return docker_limits.signature(sdk.inspect_container(container_id).get("HostConfig") or {})


def _blocking(opened: socket.socket) -> int:
    """Its descriptor, for the process that reads it."""
    opened.setblocking(True)
    return opened.detach()
