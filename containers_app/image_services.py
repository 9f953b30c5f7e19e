"""What a visitor can do with images, with sandboxes' files, and with the jobs that such work is.

Images belong to the host: everybody sees them and makes sandboxes of them; staff import and remove. Whoever may operate a
sandbox may clone and export it, and commit it to an image, which then is theirs to remove. Jobs are seen by their owner and
by staff.
"""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec

from . import mirror, shares
from .audits import audit, carried_out
from .errors import InvalidInput, NotFound, PermissionDenied
from .services import get_container, may_see_owner, target_of
from .spec import ImportSpec, check_image_name
from .visitors import Visitor
from .worker import protocol
from .worker.protocol import Job

_JOB = re.compile(r"[0-9a-f]{12}")


async def list_images(visitor: Visitor) -> list[Any]:
    items = await mirror.current().client.call(protocol.ListImages(), list[Any])
    return [_shown(visitor, item) for item in items]


async def get_image(visitor: Visitor, name: str) -> dict[str, Any]:
    check_image_name(name)
    return _shown(visitor, await mirror.current().client.call(protocol.GetImage(name), dict[str, Any]))


def _shown(visitor: Visitor, image: dict[str, Any]) -> dict[str, Any]:
    """Sandboxes of others are not named."""
    if visitor.is_staff or not image.get("in_use_by"):
        return image
    mine = {one.name for one in mirror.current().all() if may_see_owner(visitor, one.owner)}
    return image | {"in_use_by": [name for name in image["in_use_by"] if name in mine]}


@carried_out
async def import_image(visitor: Visitor, spec: ImportSpec) -> Job:
    if not visitor.is_staff:
        raise PermissionDenied("Importing images is for staff.", hint="Ask an administrator.")
    job = await mirror.current().client.call(protocol.ImportImage(spec, owner=visitor.username), Job)
    await audit(visitor, "import image", spec.name, msgspec.json.encode(spec.source).decode())
    return job


@carried_out
async def remove_image(visitor: Visitor, name: str) -> None:
    image = await get_image(visitor, name)
    if not may_see_owner(visitor, image["owner"]):
        raise PermissionDenied("Removing images of others is for staff.", hint="Ask an administrator.")
    await mirror.current().client.call(protocol.RemoveImage(name), msgspec.Raw)
    await audit(visitor, "remove image", name)


class Tar(io.FileIO):
    """A pipe that a tar comes from. Its end, also by being lost on any way, ends the export and gives the user's share back."""

    def __init__(self, descriptor: int, visitor: Visitor) -> None:
        super().__init__(descriptor)
        self._visitor = visitor

    def close(self) -> None:
        if not self.closed:
            shares.exports.give_back(self._visitor)
        super().close()

    def __del__(self) -> None:
        self.close()


@carried_out
async def _open_tar(visitor: Visitor, command: protocol.ExportImage | protocol.ExportContainer, action: str, target: str) -> Tar:
    shares.exports.take(visitor)
    try:
        _, descriptor = await mirror.current().client.call_fd(command, msgspec.Raw)
    except BaseException:
        shares.exports.give_back(visitor)
        raise
    tar = Tar(descriptor, visitor)
    try:
        await audit(visitor, action, target)
    except BaseException:
        tar.close()
        raise
    return tar


async def export_image(visitor: Visitor, name: str) -> Tar:
    await get_image(visitor, name)
    return await _open_tar(visitor, protocol.ExportImage(name), "export image", name)


@carried_out
async def clone_container(visitor: Visitor, reference: str, name: str) -> Job:
    container = await get_container(visitor, reference, to="operate")
    job = await mirror.current().client.call(protocol.CloneContainer(container.id, name, visitor.username), Job)
    await audit(visitor, "clone", target_of(container), name)
    return job


@carried_out
async def commit_container(visitor: Visitor, reference: str, image: str) -> Job:
    container = await get_container(visitor, reference, to="operate")
    check_image_name(image)
    job = await mirror.current().client.call(protocol.CommitContainer(container.id, image, visitor.username), Job)
    await audit(visitor, "commit", target_of(container), image)
    return job


async def export_container(visitor: Visitor, reference: str) -> tuple[str, Tar]:
    """(its name, its files)"""
    container = await get_container(visitor, reference, to="operate")
    return container.name, await _open_tar(visitor, protocol.ExportContainer(container.id), "export", target_of(container))


async def list_jobs(visitor: Visitor) -> list[Job]:
    """Newest first."""
    jobs = await mirror.current().client.call(protocol.ListJobs(), list[Job])
    return [job for job in jobs if may_see_owner(visitor, job.owner)]


async def get_job(visitor: Visitor, job_id: str) -> Job:
    if not _JOB.fullmatch(job_id):
        raise _no_job()
    job = await mirror.current().client.call(protocol.GetJob(job_id), Job)
    if not may_see_owner(visitor, job.owner):
        raise _no_job()
    return job


async def feed_job(visitor: Visitor, job_id: str, offset: int, data: bytes, last: bool) -> Job:
    job = await get_job(visitor, job_id)
    if not data and not last:
        raise InvalidInput("The piece is empty.", hint="Send bytes, or last=true.")
    return await mirror.current().client.call(protocol.FeedJob(job.id, offset, data, last), Job)


@carried_out
async def cancel_job(visitor: Visitor, job_id: str) -> Job:
    job = await get_job(visitor, job_id)
    cancelled = await mirror.current().client.call(protocol.CancelJob(job.id), Job)
    await audit(visitor, "cancel job", f"{job.kind} {job.target}")
    return cancelled


def _no_job() -> NotFound:
    return NotFound("There is no such job.", hint="Jobs are forgotten when the worker ends.")
