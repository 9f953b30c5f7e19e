"""The import program as a child of the worker: it is told a task and tells its progress. Cancelling kills it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..errors import KernelRefused, TerrariumError
from ..kernel.images.task import Done, Failed, Progress, Report, Task

Told = Callable[[Progress], None]
MAX_LINE = 1 << 16  # bytes

_SOURCE = Path(__file__).parents[2]
_reports = msgspec.json.Decoder(Report)
_log = logging.getLogger(__name__)


async def run_task(task: Task, told: Told, *, stream: int = -1, output: int = -1) -> str:
    """Returns what it said at its end; its failure is raised. ``stream`` becomes its standard input; both stay the caller's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "containers_app.kernel.images", msgspec.json.encode(task).decode(), str(os.getpid()),
        stdin=stream if stream >= 0 else asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=MAX_LINE, cwd=_SOURCE,
        pass_fds=(output,) if output >= 0 else (),
    )  # fmt: skip
    assert process.stdout is not None
    last: Done | Failed | None = None
    try:
        async for line in process.stdout:
            report = _reports.decode(line)
            if isinstance(report, Progress):
                told(report)
            else:
                last = report
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    if isinstance(last, Failed):
        raise _failure(last)
    if last is None:
        raise KernelRefused(
            "The import was killed.", code="killed", hint="The worker's log and the kernel's (dmesg) may say why."
        )
    return last.message


def _failure(failed: Failed) -> TerrariumError:
    return TerrariumError(failed.message, hint=failed.hint, code=failed.code)
