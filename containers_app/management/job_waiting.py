"""Waiting for a job of the worker, telling on the way what it is at, and calling it off with us."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from django.core.management.base import CommandError

from containers_app import image_services
from containers_app.errors import TerrariumError
from containers_app.management.service_command import printable
from containers_app.visitors import Visitor
from containers_app.worker.protocol import Job

PAUSE = 0.2  # seconds between looks at a job


@contextlib.asynccontextmanager
async def called_off_with_us(visitor: Visitor, job: Job) -> AsyncIterator[None]:
    """Ctrl-C within cancels the job too."""
    try:
        yield
    except asyncio.CancelledError:
        with contextlib.suppress(TerrariumError):  # it has ended meanwhile, or the worker has
            await image_services.cancel_job(visitor, job.id)
        raise


async def finish(visitor: Visitor, job: Job, say: Callable[[str], object]) -> Job:
    """The job when it is done; CommandError when it was not. ``say`` gets each phase once."""
    phase = ""
    while job.state == "running":
        await asyncio.sleep(PAUSE)
        job = await image_services.get_job(visitor, job.id)
        if job.phase != phase:
            phase = job.phase
            say(printable(phase))
    if job.state != "done":
        raise CommandError(printable(f"{job.message} {job.hint}".strip()))
    return job
