"""Waiting for a job of the worker, and telling on the way what it is at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django.core.management.base import CommandError

from containers_app import image_services
from containers_app.visitors import Visitor
from containers_app.worker.protocol import Job

PAUSE = 0.2  # seconds between looks at a job


async def finish(visitor: Visitor, job: Job, say: Callable[[str], object]) -> Job:
    """The job when it is done; CommandError when it was not. ``say`` gets each phase once."""
    phase = ""
    while job.state == "running":
        await asyncio.sleep(PAUSE)
        job = await image_services.get_job(visitor, job.id)
        if job.phase != phase:
            phase = job.phase
            say(phase)
    if job.state != "done":
        raise CommandError(f"{job.message} {job.hint}".strip())
    return job
