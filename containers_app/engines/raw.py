"""The raw engine: sandboxes made from kernel parts. It decides; the keeper forks, the records remember.

create ── record ──▶ start ── cgroups, network, plan ──▶ keeper ──▶ running ── pidfd says it ended ──▶ exited
                        ▲                                                                               │
                        └───────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import select
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import msgspec

from ..errors import Conflict, KernelRefused, NotFound, Unsupported
from ..kernel import identity, images
from ..kernel.cgroups import Cgroups
from ..spec import ContainerSpec, LimitChanges, LimitReading, merge_limits
from . import raw_exec, raw_init, raw_logs, raw_making, raw_plan, raw_recover, raw_restart, raw_view
from .base import Archive, Changed, Container, EngineStatus, ExecResult, LogQuery, LogText
from .groups import Groups
from .image_process import Told
from .keeper_client import KeeperRefused
from .limit_readings import check_changes
from .policy import Policy
from .policy_checks import check_spec
from .raw_actions import Actions
from .raw_checks import check_pids, check_possible, check_rates, ids
from .raw_copies import Copies
from .raw_images import RawImages
from .raw_joins import Joiner, Resolve
from .raw_network import Wire
from .raw_removal import dockers, group_names
from .raw_restarter import Restarter
from .raw_run import Runner, Sandbox, disk_refused, join_flags
from .raw_spares import Spares
from .raw_spoilt import Spoilt
from .raw_store import Record, Store
from .toolbox import Toolboxes

log = logging.getLogger(__name__)

SYNC_AFTER = 1.0  # seconds; a power cut takes back no more than that, a kill nothing
RELEASE_AGAIN = 2.0  # seconds between attempts


class RawEngine(Actions):
    name = "raw"

    def __init__(self, *, node: str, tag: str, data: str, run: str, policy: Policy, cgroups: Cgroups, resolve: Resolve) -> None:
        self._node, self._tag, self._data, self._policy, self._cgroups = node, tag, data, policy, cgroups
        self._images = f"{data}/images"
        self._store = Store(data)
        self._store.saved = self._saved
        self._syncing: asyncio.TimerHandle | None = None
        self._sandboxes: dict[str, Sandbox] = {}
        self._changed: Changed = lambda _: None
        self._joiner = Joiner(policy, resolve)
        self._maker = raw_making.Maker(node, policy, self._store, self._joiner)
        self.images_of = RawImages(self._images, policy, self._records, self._store.home)
        self.wire = Wire(tag, data, policy, self._records)
        self.groups = Groups(tag, data, cgroups)
        self._runner = Runner(
            tag=tag, run=run, image_directory=self._images, store=self._store, cgroups=cgroups, joiner=self._joiner,
            groups=self.groups, wire=self.wire, init=raw_init.find(data), ended=self._ended,
        )  # fmt: skip
        self.toolboxes = Toolboxes(node, policy, self._store, cgroups, self._runner, self._joiner)
        self._spares = Spares(self._runner, self._maker, self._store, cgroups, self._taken)
        self._spoilt = Spoilt(node, self._store, cgroups, self._runner.release)
        self._restarter = Restarter(self._launch_again, self._touch)
        self.copies = Copies(self._find, self._store, self._maker, self.images_of, self._runner.spawn)

    # ── opening and closing ──────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, changed: Changed) -> None:
        """Find out what became of everything, whatever was killed when, and adopt what runs."""
        self._changed = changed
        self.groups.open()
        records, half_made, spoilt = self._store.load()
        in_use = bool(spoilt) or any(record.spec.image == "busybox" for record in records)
        await asyncio.to_thread(self.images_of.open, f"{self._data}/busybox/bin/busybox", busybox_in_use=in_use)
        await self.wire.open(records)
        await self._runner.keeper.open()
        for name in half_made:
            log.warning("sandbox %s was never finished; it is removed", name)
            self._remove_left(name)  # what it had of control groups goes below: no record claims it
        # One that is ready has none: a launch makes them before the record says so.
        wanted = {self._runner.group_of(record) for record in records if record.phase != "ready"} | self.groups.places()
        there = group_names(self._cgroups, self._tag)
        wanted |= self._spoilt.open(spoilt, there)
        for group in sorted(there - wanted - dockers(there)):
            self._runner.release(self._cgroups.find(group))
        children = await self._runner.keeper.children() if self._runner.keeper.connected else []
        for record in records:
            sandbox = Sandbox(record)
            sandbox.paths = self._cgroups.find(self._runner.group_of(record))
            outcome = raw_recover.look(record, children, self._cgroups.pids(sandbox.paths))
            if outcome.action == "remove":
                self._runner.release(sandbox.paths)
                self._remove_left(record.id)
            else:
                self._sandboxes[record.id] = sandbox
                await self._runner.recover(sandbox, outcome)
                if raw_restart.due_at_boot(record):
                    record.wanted, record.restart_at = True, 0.0
                self._restarter.look(sandbox)
        await self.wire.assert_rules()
        self._runner.spawn(self._release_again())

    def _remove_left(self, sandbox: str) -> None:
        try:
            self._store.remove(sandbox)
        except OSError as error:
            log.warning("sandbox %s can't be removed: %s", sandbox, error)

    async def _release_again(self) -> None:
        """A process that is slow to die holds its control groups: they go when it has gone, unless its sandbox runs anew."""
        while True:
            await asyncio.sleep(RELEASE_AGAIN)
            waiting, self._runner.unreleased = self._runner.unreleased, []
            for paths in waiting:
                sandbox = self._sandboxes.get(os.path.basename(next(iter(paths.values()))))
                async with contextlib.nullcontext() if sandbox is None else sandbox.lock:
                    if sandbox is None or sandbox.record.phase == "ready":
                        await asyncio.to_thread(self._runner.release, paths)

    async def close(self) -> None:
        """Leave every sandbox running."""
        await self.toolboxes.close()
        await self._restarter.close()
        for sandbox in self._sandboxes.values():
            self._runner.unwatch(sandbox)
        await self._spares.close()
        if self._syncing is not None:
            self._syncing.cancel()
            await self._sync()
        await self._runner.close()

    def status(self) -> EngineStatus:
        if self._runner.keeper.connected:
            spoilt = len(self._spoilt.all())
            more = f" and {spoilt} whose record can't be read" if spoilt else ""
            return EngineStatus("raw", True, f"{len(self._sandboxes)} sandboxes{more}, cgroups {self._cgroups.version}")
        return EngineStatus("raw", False, "the keeper does not answer", "It is restarted by deploy/up; running sandboxes go on.")

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def owns(self, container_id: str) -> bool:
        if self._spoilt.get(container_id) is not None:
            return True
        with contextlib.suppress(NotFound):
            return self._find(container_id) is not None
        return False

    def all(self) -> list[Container]:
        return [self._view(sandbox) for sandbox in self._sandboxes.values()] + self._spoilt.all()

    def get(self, container_id: str) -> Container:
        return self._spoilt.get(container_id) or self._view(self._find(container_id))

    def _find(self, wanted: str) -> Sandbox:
        if sandbox := self._sandboxes.get(wanted):
            return sandbox
        for sandbox in self._sandboxes.values():
            if sandbox.record.spec.name == wanted:
                return sandbox
        self._spoilt.refuse(wanted)
        raise NotFound(f"There is no sandbox called “{wanted[:64]}”.", hint="It may have been removed.")

    def _records(self) -> list[Record]:
        """Also of those whose files are being copied, and what is known of the spoilt: their ids and addresses are taken."""
        return [sandbox.record for sandbox in self._sandboxes.values()] + self.copies.under_way + self._spoilt.records()

    def _taken(self) -> list[Record]:
        """With the spares': what they hold counts as used."""
        return self._records() + self._spares.records()

    @contextlib.asynccontextmanager
    async def _held(self, container_id: str) -> AsyncIterator[Sandbox]:
        """The sandbox with its lock. NotFound too when it was removed, or could not be made, while we waited for that."""
        sandbox = self._find(container_id)
        async with sandbox.lock:
            self._find(sandbox.record.id)
            yield sandbox

    def _view(self, sandbox: Sandbox) -> Container:
        if sandbox.cached is None:
            ahead, sandbox.ahead = sandbox.ahead, None
            sandbox.cached = raw_view.view(sandbox.record, sandbox.paths, self._cgroups, self._tag, ahead)
        return sandbox.cached

    def _touch(self, sandbox: Sandbox) -> None:
        sandbox.cached = None
        self._changed(sandbox.record.id)

    def _ended(self, sandbox: Sandbox) -> None:
        self._restarter.look(sandbox)
        self._touch(sandbox)

    # ── making ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, spec: ContainerSpec, owner: str) -> Container:
        spec = self._checked(spec)
        self._check_name_free(spec.name)
        spare = self._spares.take(spec, images.get_image(self._images, spec.image)) if spec.start else None
        sandbox = Sandbox(spare.become(spec, owner) if spare is not None else self._new_record(spec, owner))
        record = sandbox.record
        self._sandboxes[record.id] = sandbox
        async with sandbox.lock:
            try:
                if spare is not None:
                    await self._runner.launch_spare(sandbox, spare, lambda: self._maker.move_in(record))
                elif spec.start:
                    self._store.make(record)
                    used = raw_making.addresses(self._taken())
                    await self._runner.launch(sandbox, used, lambda: self._maker.make_files(record))
                else:
                    self._store.make(record)
                    self._maker.make_files(record)
                    self._store.save(record)
            except BaseException as error:
                del self._sandboxes[record.id]
                self._store.remove(record.id)
                if isinstance(error, OSError):
                    raise disk_refused(error) from None
                raise
        self._touch(sandbox)
        return self._view(sandbox)

    def _checked(self, spec: ContainerSpec) -> ContainerSpec:
        check_spec(self._policy, spec)
        spec = raw_making.with_defaults(spec, images.get_image(self._images, spec.image))
        check_possible(spec)
        if spec.group:
            self.groups.get(spec.group)
        return spec

    def _saved(self) -> None:
        """All that is saved within a second goes to the disk together: whoever writes files waits while it does."""
        if self._syncing is None:
            self._syncing = asyncio.get_running_loop().call_later(SYNC_AFTER, lambda: self._runner.spawn(self._sync()))

    async def _sync(self) -> None:
        self._syncing, waiting, self._store.unsynced = None, self._store.unsynced, {}
        await asyncio.to_thread(self._store.sync, waiting)

    async def clone(self, container_id: str, name: str, owner: str, told: Told) -> Container:
        """A new sandbox, not started, with a copy of another's files. It must not run, or be paused."""
        self._check_name_free(name)
        copy = await self.copies.clone(container_id, name, lambda spec: self._new_record(spec, owner), told)
        self._sandboxes[copy.record.id] = copy
        self._touch(copy)
        return self._view(copy)

    async def export_container(self, container_id: str) -> Archive:
        return self.copies.export(container_id)

    async def export_image(self, name: str) -> Archive:
        return self.copies.export_image(name)

    def _check_name_free(self, name: str | None, but: Sandbox | None = None) -> None:
        if any(record.spec.name == name for record in self._records() if but is None or record is not but.record):
            raise Conflict(f"There is a sandbox called “{name}” already.", hint="Choose another name.", code="name_taken")

    def _new_record(self, spec: ContainerSpec, owner: str) -> Record:
        return self._maker.new_record(spec, owner, self._taken(), self.wire.networks)

    async def _launch(self, sandbox: Sandbox) -> None:
        """Again. Whoever has joined its last network namespace keeps that, and the address in it: then it gets another."""
        record = sandbox.record
        if record.attachment is not None and record.attachment.address in raw_making.held(self._records()):
            assert self.wire.networks is not None
            record.attachment = self.wire.networks.attachment(raw_making.addresses(self._taken()), record.spec.network)
        await self._runner.launch(sandbox, raw_making.addresses(self._taken()), lambda: None)

    async def remove(self, container_id: str, force: bool) -> None:
        if self._spoilt.get(container_id) is None:
            await super().remove(container_id, force)
        else:
            await self._spoilt.remove(container_id, force)
            self._changed(container_id)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _entering(self, sandbox: Sandbox) -> Iterator[int]:
        """A pidfd of its first process. What is refused because that ends meanwhile is told so."""
        self._must_run(sandbox, "entered")
        pidfd = os.dup(sandbox.pidfd)
        try:
            yield pidfd
        except NotFound:
            name = sandbox.record.spec.name
            raise Conflict(f"{name}'s first process can't be entered.", hint="It is ending, or its first thread has.") from None
        except KernelRefused:
            if select.select([pidfd], [], [], 0)[0]:
                raise Conflict(f"{sandbox.record.spec.name} has just ended.", hint="Start it first.") from None
            raise
        finally:
            os.close(pidfd)

    async def execute(
        self, container_id: str, argv: tuple[str, ...], timeout: float, namespaces: tuple[str, ...] = ()
    ) -> ExecResult:
        sandbox = self._find(container_id)
        with self._entering(sandbox) as pidfd:
            place = self._runner.place(sandbox.record, secrets.token_hex(8))
            ended = self._runner.expect_exit(place.run)
            try:
                spec = sandbox.record.spec
                flags = raw_exec.chosen_flags(self._policy, join_flags(sandbox), namespaces)
                plan = raw_plan.exec_plan(spec, place, argv, flags, raw_exec.STREAMS)
                owner = sandbox.record.uid_base + ids(spec)[0]
                return await raw_exec.execute(self._runner.keeper, plan, pidfd, argv[0], ended, timeout, owner)
            finally:
                self._runner.forget_exit(place.run)

    async def open_terminal(self, container_id: str, argv: tuple[str, ...], rows: int, columns: int) -> raw_exec.RawTerminal:
        sandbox = self._find(container_id)
        with self._entering(sandbox) as pidfd:
            place, flags = self._runner.place(sandbox.record, secrets.token_hex(8)), join_flags(sandbox)
            spec = sandbox.record.spec
            screen = identity.OpenTerminal(rows, columns, ids(spec)[0])
            plan = raw_plan.exec_plan(spec, place, argv or raw_plan.SHELL, flags, screen)
            try:
                return await raw_exec.open_terminal(self._runner.keeper, plan, pidfd)
            except KeeperRefused as error:
                if argv or error.step != "RunProgram":
                    raise
                raise Unsupported(
                    "This sandbox has no shell.",
                    hint="Its image has no /bin/sh: run another program, or open a toolbox beside it.",
                ) from None

    def read_limits(self, container_id: str) -> dict[str, LimitReading]:
        sandbox = self._find(container_id)
        return raw_view.read_limits(
            sandbox.record, sandbox.paths if sandbox.record.phase == "running" else {}, self._cgroups, self._tag
        )

    def look_again(self, container_id: str) -> None:
        if self._spoilt.get(container_id) is not None:
            return
        sandbox = self._find(container_id)
        sandbox.cached = None
        if not sandbox.lock.locked():  # else it is we who change it, and who look afterwards
            self._changed(sandbox.record.id)

    async def update_limits(self, container_id: str, changes: LimitChanges) -> dict[str, LimitReading]:
        async with self._held(container_id) as sandbox:
            check_rates(sandbox.record.spec, changes)
            check_pids(sandbox.record.spec, changes)
            check_changes(changes, self._cgroups)
            if sandbox.record.phase == "running":
                groups = partial(self._cgroups.update, sandbox.paths, changes)
                await asyncio.to_thread(self.wire.update, sandbox.record, changes, groups)
            sandbox.record.requested = merge_limits(sandbox.record.requested, changes)
            self._runner.unwritten.save(sandbox.record)
        seen = self.get(container_id)  # before this change: what it has not touched need not be read again
        paths = sandbox.paths if sandbox.record.phase == "running" else {}
        limits = raw_view.read_changed_limits(sandbox.record, paths, self._cgroups, self._tag, seen.limits, changes)
        sandbox.cached = msgspec.structs.replace(seen, limits=limits)
        self._changed(sandbox.record.id)
        return limits

    async def logs(self, container_id: str, query: LogQuery) -> LogText:
        sandbox = self._find(container_id)
        path = f"{self._store.home(sandbox.record.id)}/log"
        return await asyncio.to_thread(raw_logs.read, path, query)

    def commands(self, container_id: str) -> list[str]:
        sandbox = self._find(container_id)
        return self._runner.describe(sandbox.record)

    def preview(self, spec: ContainerSpec) -> list[str]:
        """The commands that would make this sandbox; nothing is made. Raises what ``create`` would raise."""
        return self._runner.describe(self._new_record(self._checked(spec), ""))

    async def networks(self) -> list[dict[str, Any]]:
        return self.wire.list_networks()

    async def images(self) -> list[dict[str, Any]]:
        return await self.images_of.rows()

    def security(self, container_id: str) -> dict[str, Any]:
        return raw_view.security_facts(self._find(container_id).record)
