"""The timers behind the restart policies: each sandbox whose record says so is started again when it is due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ..errors import TerrariumError
from .raw_restart import LONGEST_DELAY, again
from .raw_run import Sandbox

log = logging.getLogger(__name__)


class Restarter:
    """The timers of this worker. ``launch`` starts a sandbox whose lock is held; ``save`` writes its record."""

    def __init__(self, launch: Callable[[Sandbox], Awaitable[None]], changed: Callable[[Sandbox], None]) -> None:
        self._launch, self._changed = launch, changed
        self._timers: dict[str, asyncio.Task[None]] = {}

    def look(self, sandbox: Sandbox) -> None:
        """It may have to start again: arrange for that, or call off what was arranged."""
        self._call_off(sandbox)
        if sandbox.record.restart_at is not None:
            self._timers[sandbox.record.id] = asyncio.create_task(self._start(sandbox))

    def _call_off(self, sandbox: Sandbox) -> None:
        timer = self._timers.pop(sandbox.record.id, None)
        if timer is not None and timer is not asyncio.current_task():
            timer.cancel()

    async def close(self) -> None:
        timers, self._timers = list(self._timers.values()), {}
        for timer in timers:
            timer.cancel()
        await asyncio.gather(*timers, return_exceptions=True)

    async def _start(self, sandbox: Sandbox) -> None:
        record = sandbox.record
        while record.restart_at is not None:
            # A clock that was set back meanwhile must not make it wait longer than ever.
            await asyncio.sleep(min(max(0.0, record.restart_at - time.time()), LONGEST_DELAY))
            async with sandbox.lock:
                if record.restart_at is None or record.phase != "ready":
                    break
                record.restart_count += 1
                record.restart_at = None
                try:
                    await self._launch(sandbox)
                    record.restart_error = ""
                except TerrariumError as error:
                    log.warning("sandbox %s could not be restarted: %s", record.id, error)
                    record.restart_error = error.message
                    again(record)
            self._changed(sandbox)
        if self._timers.get(record.id) is asyncio.current_task():
            del self._timers[record.id]
