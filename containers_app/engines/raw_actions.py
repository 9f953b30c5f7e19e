"""What a user does to a sandbox that there is: start to remove. The half of the raw engine that is about its life."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager

import msgspec

from ..errors import Conflict
from ..kernel.cgroups import Cgroups
from ..spec import Changes, changed_spec, signal_number
from . import raw_copies, raw_plan, raw_view
from .base import Changed
from .raw_checks import check_kept_limits
from .raw_restarter import Restarter
from .raw_run import Runner, Sandbox, disk_refused
from .raw_signals import send
from .raw_store import Store


class Actions:
    """The engine has the sandboxes, and says how one is found, held, launched and told of."""

    _cgroups: Cgroups
    _store: Store
    _runner: Runner
    _restarter: Restarter
    _sandboxes: dict[str, Sandbox]
    _changed: Changed

    def _held(self, container_id: str) -> AbstractAsyncContextManager[Sandbox]:
        raise NotImplementedError

    def _check_name_free(self, name: str | None, but: Sandbox | None = None) -> None:
        raise NotImplementedError

    def _touch(self, sandbox: Sandbox) -> None:
        raise NotImplementedError

    async def _launch(self, sandbox: Sandbox) -> None:
        raise NotImplementedError

    async def _launch_again(self, sandbox: Sandbox) -> None:
        raw_copies.check_free(sandbox)
        await self._launch(sandbox)

    async def start(self, container_id: str) -> None:
        async with self._held(container_id) as sandbox:
            raw_copies.check_free(sandbox)
            if sandbox.record.phase == "running":
                raise Conflict(f"{sandbox.record.spec.name} is running already.", hint="Restart it to start it anew.")
            self._want(sandbox, True)
            await self._launch(sandbox)
        self._touch(sandbox)

    def _want(self, sandbox: Sandbox, running: bool) -> None:
        """A user's word ends whatever the restart policy had in mind. What follows saves it."""
        record = sandbox.record
        record.wanted, record.restart_at, record.restart_error = running, None, ""
        if running:
            record.attempts = record.restart_count = 0
        self._restarter.look(sandbox)

    async def stop(self, container_id: str, timeout: float | None) -> None:
        async with self._held(container_id) as sandbox:
            waited = sandbox.record.restart_at is not None
            if not waited:
                self._must_run(sandbox, "stopped", paused_too=True)
            self._want(sandbox, False)
            if waited:  # for its next start
                self._runner.unwritten.save(sandbox.record)
            else:
                await self._runner.stop(sandbox, timeout)
        self._touch(sandbox)

    async def kill(self, container_id: str, signal: int) -> None:
        async with self._held(container_id) as sandbox:
            self._must_run(sandbox, "signalled", paused_too=True)
            if signal in (9, signal_number(sandbox.record.spec.stop_signal)):
                self._want(sandbox, False)
                self._runner.unwritten.save(sandbox.record)
            if signal == 9:
                await self._runner.kill(sandbox)
            else:
                send(sandbox.pidfd, signal)

    async def restart(self, container_id: str, timeout: float | None) -> None:
        async with self._held(container_id) as sandbox:
            raw_copies.check_free(sandbox)
            self._want(sandbox, False)
            if sandbox.record.phase == "running":
                await self._runner.stop(sandbox, timeout)
            self._want(sandbox, True)
            await self._launch(sandbox)
        self._touch(sandbox)

    async def pause(self, container_id: str) -> None:
        await self._freeze(container_id, True)

    async def resume(self, container_id: str) -> None:
        await self._freeze(container_id, False)

    async def _freeze(self, container_id: str, paused: bool) -> None:
        async with self._held(container_id) as sandbox:
            raw_copies.check_free(sandbox)
            self._must_run(sandbox, "paused" if paused else "resumed", paused_too=True)
            if sandbox.record.paused == paused:
                state = "paused" if paused else "running"
                raise Conflict(f"{sandbox.record.spec.name} is {state} already.")
            await asyncio.to_thread(self._cgroups.freeze if paused else self._cgroups.thaw, sandbox.paths)
            sandbox.record.paused = paused
            self._runner.unwritten.save(sandbox.record)
        self._touch(sandbox)

    async def update(self, container_id: str, changes: Changes) -> None:
        """At once. Its host name stays what it is: programs inside know it."""
        async with self._held(container_id) as sandbox:
            record = sandbox.record
            self._check_name_free(changes.name, sandbox)
            before = record.spec
            kept = msgspec.structs.replace(before, hostname=raw_plan.hostname(before)) if changes.name else before
            changed = changed_spec(kept, changes)
            check_kept_limits(changed)
            record.spec = changed
            if changes.restart is not None:
                record.attempts, record.restart_at = 0, None
            try:
                self._store.save(record)
            except OSError as error:
                record.spec = before
                raise disk_refused(error) from None
            self._restarter.look(sandbox)
        self._touch(sandbox)

    async def remove(self, container_id: str, force: bool) -> None:
        async with self._held(container_id) as sandbox:
            record = sandbox.record
            raw_copies.check_free(sandbox)
            if record.phase == "running" and not force:
                raise Conflict(f"{record.spec.name} is {raw_view.state(record)}.", hint="Stop it first, or remove it by force.")
            was_running = record.phase == "running"
            self._want(sandbox, False)
            record.phase = "removing"
            if was_running:
                with contextlib.suppress(OSError):  # a full disk must not keep anyone from making room
                    self._store.save(record)
                await self._runner.kill(sandbox)
            await asyncio.to_thread(self._store.remove, record.id)
            self._sandboxes.pop(record.id, None)
        self._changed(record.id)

    def _must_run(self, sandbox: Sandbox, action: str, *, paused_too: bool = False) -> None:
        state = raw_view.state(sandbox.record)
        if state == "running" or (paused_too and state == "paused"):
            return
        hint = "Resume it first." if state == "paused" else "Start it first."
        raise Conflict(f"{sandbox.record.spec.name} is {state} and can't be {action}.", hint=hint)
