"""The commands about what Docker has beside containers: images, networks, volumes. Joined into the table of commands.py."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec

from .. import spec as specs
from ..engines import docker_images
from ..engines.docker import DockerEngine
from ..engines.docker_words import Prunable, Volume
from ..engines.image_process import Told
from ..errors import InvalidInput, Unsupported
from ..kernel.images.task import Progress
from ..spec import ImportSpec, OciSource, PullSource
from ..units import shown
from . import protocol

if TYPE_CHECKING:
    from .commands import Worker

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", re.ASCII)
_LARGEST_SUBNET = 8  # bits of an IPv4 prefix


async def tag_image(worker: Worker, command: protocol.TagImage) -> None:
    check_reference(command.name)
    check_reference(command.new)
    await _docker(worker, command.engine).image_store.tag(command.name, command.new)


async def remove_docker_image(worker: Worker, command: protocol.RemoveDockerImage) -> None:
    check_reference(command.name)
    await _docker(worker, command.engine).image_store.remove(command.name, command.force)


async def prune_images(worker: Worker, command: protocol.PruneImages) -> Prunable:
    return await _docker(worker, command.engine).image_store.prune(command.preview)


def import_image(worker: Worker, spec: ImportSpec, owner: str) -> protocol.Job:
    """Pulled, or from an archive that the policy allows. Cancelling the job closes the connection, and Docker stops."""
    store = _docker(worker, spec.engine).image_store

    async def work(told: Told, _: int) -> str:
        if isinstance(spec.source, PullSource):
            return await _followed(store.pull(spec.name), told)
        path = getattr(spec.source, "path", "")
        with os.fdopen(await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            steps = store.load_tar(file) if isinstance(spec.source, OciSource) else store.import_tar(file, spec.name)
            return await _followed(steps, told)

    return worker.jobs.start("pull" if isinstance(spec.source, PullSource) else "import", spec.name, owner, work)


async def _followed(steps: AsyncGenerator[docker_images.Progress, None], told: Told) -> str:
    detail = ""
    async with aclosing(steps) as found:
        async for step in found:
            told(Progress(step.phase, step.done, step.total or 0))
            detail = step.detail
    return detail


async def connect_container(worker: Worker, command: protocol.ConnectContainer) -> None:
    check_word(command.network, "network")
    engine = _engine_of(worker, command.id)
    await engine.network_store.connect(command.network, engine.get(command.id).id)


async def disconnect_container(worker: Worker, command: protocol.DisconnectContainer) -> None:
    check_word(command.network, "network")
    engine = _engine_of(worker, command.id)
    await engine.network_store.disconnect(command.network, engine.get(command.id).id)


async def list_volumes(worker: Worker, _: protocol.ListVolumes) -> list[dict[str, Any]]:
    """Of every engine that has some and answers."""
    found: list[dict[str, Any]] = []
    for status in worker.registry.statuses():
        engine = worker.registry.engines[status.name]
        if status.available and isinstance(engine, DockerEngine):
            found += [{"engine": status.name} | msgspec.to_builtins(volume) for volume in await engine.volume_store.all()]
    return found


async def create_volume(worker: Worker, command: protocol.CreateVolume) -> Volume:
    check_volume(command.name)
    return await _docker(worker, command.engine).volume_store.create(command.name, command.owner)


async def remove_volume(worker: Worker, command: protocol.RemoveVolume) -> None:
    check_volume(command.name)
    await _docker(worker, command.engine).volume_store.remove(command.name)


async def prune_volumes(worker: Worker, command: protocol.PruneVolumes) -> Prunable:
    return await _docker(worker, command.engine).volume_store.prune(command.preview)


def check_reference(name: str) -> None:
    specs.check_image(specs.ContainerSpec(name="x", image=name))


def check_word(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{shown(name)} is not a {what}'s name.", hint="Letters, digits, '-', '_' and '.', up to 128.")


def check_volume(name: str) -> None:
    if not specs.VOLUME_NAME.fullmatch(name):
        raise InvalidInput(f"{shown(name)} is not a volume's name.", hint="Letters, digits, '-', '_' and '.', from 2 to 128.")


def _docker(worker: Worker, name: str) -> DockerEngine:
    return _has_stores(worker.registry.engine(name))


def _engine_of(worker: Worker, container_id: str) -> DockerEngine:
    return _has_stores(worker.registry.engine_of(container_id))


def _has_stores(engine: object) -> DockerEngine:
    if not isinstance(engine, DockerEngine):
        raise Unsupported("Only Docker has that.", hint='Send {"engine": "docker"}.')
    return engine


HANDLERS: dict[type[protocol.Command], Callable[[Any, Any], Awaitable[object]]] = {
    protocol.TagImage: tag_image,
    protocol.RemoveDockerImage: remove_docker_image,
    protocol.PruneImages: prune_images,
    protocol.ConnectContainer: connect_container,
    protocol.DisconnectContainer: disconnect_container,
    protocol.ListVolumes: list_volumes,
    protocol.CreateVolume: create_volume,
    protocol.RemoveVolume: remove_volume,
    protocol.PruneVolumes: prune_volumes,
}
