"""The commands about images, and about work that takes its time. Joined into the table of commands.py."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .. import spec as specs
from ..engines import policy_checks as policies
from ..engines.base import Archive, Engine
from ..engines.image_process import Told
from ..engines.raw import RawEngine
from ..errors import InvalidInput, TooLarge, Unsupported
from ..spec import DockerContainerSource, DockerImageSource, ImportSpec
from . import docker_commands, protocol
from .jobs import Work
from .protocol import Job
from .server import WithDescriptor

if TYPE_CHECKING:
    from .commands import Worker


async def get_image(worker: Worker, command: protocol.GetImage) -> object:
    specs.check_image_name(command.name)
    return _raw(worker).images_of.get(command.name)


async def remove_image(worker: Worker, command: protocol.RemoveImage) -> None:
    specs.check_image_name(command.name)
    await _raw(worker).images_of.remove(command.name)


async def import_image(worker: Worker, command: protocol.ImportImage) -> Job:
    spec = command.spec
    for check in specs.IMPORT_CHECKS:
        check(spec)
    _check_owner(command.owner)
    policies.check_import(worker.policy, spec)
    if spec.engine != "raw":
        return docker_commands.import_image(worker, spec, command.owner)
    raw = _raw(worker)
    raw.images_of.check_free(spec.name)
    work = _importing(worker, raw, spec, command.owner)
    return worker.jobs.start("import", spec.name, command.owner, work, upload=specs.is_upload(spec.source))


def _importing(worker: Worker, raw: RawEngine, spec: ImportSpec, owner: str) -> Work:
    """Whatever the source is: Docker's bytes come through its engine, an upload's by ``stream``."""

    async def work(told: Told, stream: int) -> str:
        if not isinstance(spec.source, (DockerImageSource, DockerContainerSource)):
            return await raw.images_of.import_image(spec, owner, told, stream=stream)
        archive = await _export(worker.registry.engine("docker"), spec)
        try:
            return await raw.images_of.import_image(spec, owner, told, stream=archive.fd, defaults=archive.defaults)
        finally:
            os.close(archive.fd)

    return work


async def _export(docker: Engine, spec: ImportSpec) -> Archive:
    if isinstance(spec.source, DockerImageSource):
        return await docker.export_image(spec.source.reference)
    assert isinstance(spec.source, DockerContainerSource)
    return await docker.export_container(spec.source.container)


async def clone_container(worker: Worker, command: protocol.CloneContainer) -> Job:
    raw = _raw_of(worker, command.id, "cloned")
    source = raw.get(command.id)
    specs.check_name(specs.ContainerSpec(name=command.name))
    _check_owner(command.owner)
    with worker.reserved(command.name):
        pass  # free now; again when its turn has come

    async def work(told: Told, _: int) -> str:
        with worker.reserved(command.name):
            container = await raw.clone(source.id, command.name, command.owner, told)
        worker.registry.changed(container.id)
        worker.registry.publish()
        return f"It has the id {container.id}."

    return worker.jobs.start("clone", command.name, command.owner, work)


async def commit_container(worker: Worker, command: protocol.CommitContainer) -> Job:
    raw = _raw_of(worker, command.id, "committed")
    source = raw.get(command.id)
    specs.check_image_name(command.image)
    _check_owner(command.owner)
    raw.images_of.check_free(command.image)

    async def work(told: Told, _: int) -> str:
        return await raw.copies.commit(source.id, command.image, command.owner, told)

    return worker.jobs.start("commit", command.image, command.owner, work)


async def export_container(worker: Worker, command: protocol.ExportContainer) -> WithDescriptor:
    engine = worker.registry.engine_of(command.id)
    return WithDescriptor(None, (await engine.export_container(command.id)).fd)


async def export_image(worker: Worker, command: protocol.ExportImage) -> WithDescriptor:
    specs.check_image_name(command.name)
    return WithDescriptor(None, (await _raw(worker).export_image(command.name)).fd)


async def feed_job(worker: Worker, command: protocol.FeedJob) -> Job:
    if len(command.data) > protocol.MAX_PIECE:
        raise TooLarge(f"A piece is at most {protocol.MAX_PIECE >> 10} KiB.", hint="Send smaller ones.")
    return await worker.jobs.feed(command.id, command.offset, command.data, command.last)


async def list_jobs(worker: Worker, _: protocol.ListJobs) -> list[Job]:
    return worker.jobs.list()


async def get_job(worker: Worker, command: protocol.GetJob) -> Job:
    return worker.jobs.get(command.id)


async def cancel_job(worker: Worker, command: protocol.CancelJob) -> Job:
    return await worker.jobs.cancel(command.id)


def _raw(worker: Worker) -> RawEngine:
    engine = worker.registry.engine("raw")
    if not isinstance(engine, RawEngine):
        raise Unsupported("This worker has no images.", hint="Its raw engine is missing.")
    return engine


def _raw_of(worker: Worker, container_id: str, done: str) -> RawEngine:
    engine = worker.registry.engine_of(container_id)
    if not isinstance(engine, RawEngine):
        raise Unsupported(f"A Docker container can't be {done} here.", hint='Import it: {"type": "docker-container"}.')
    return engine


def _check_owner(owner: str) -> None:
    if len(owner) > 150 or not owner.isprintable():
        raise InvalidInput("That is not a user's name.")


HANDLERS: dict[type[protocol.Command], Callable[[Any, Any], Awaitable[object]]] = {
    protocol.GetImage: get_image,
    protocol.RemoveImage: remove_image,
    protocol.ImportImage: import_image,
    protocol.FeedJob: feed_job,
    protocol.ListJobs: list_jobs,
    protocol.GetJob: get_job,
    protocol.CancelJob: cancel_job,
    protocol.CloneContainer: clone_container,
    protocol.CommitContainer: commit_container,
    protocol.ExportContainer: export_container,
    protocol.ExportImage: export_image,
}
