"""The commands about what Docker has beside containers: images, networks, volumes. Joined into the table of commands.py."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from .. import spec as specs
from ..engines import docker_images
from ..engines.docker import DockerEngine
from ..engines.docker_words import Prunable, Volume
from ..engines.image_process import Told
from ..errors import InvalidInput, KernelRefused, TooLarge, Unsupported
from ..kernel.images.task import Progress
from ..spec import ImportSpec, OciSource, PullSource
from ..units import shown
from . import protocol

if TYPE_CHECKING:
    from .commands import Worker

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", re.ASCII)
PIECE = 1 << 20  # bytes of an upload that are written at once


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
    """Pulled, or from an archive: one that the policy allows, or an upload. Cancelling the job closes the connection, and Docker

    stops. An upload is kept in a nameless file until it is whole: Docker is told its size first.
    """
    store = _docker(worker, spec.engine).image_store

    async def work(told: Told, stream: int) -> str:
        if isinstance(spec.source, PullSource):
            return await _followed(store.pull(spec.name), told)
        path = getattr(spec.source, "path", "")
        with await _received(stream, worker, told) if stream >= 0 else await asyncio.to_thread(_opened, path) as file:
            steps = store.load_tar(file) if isinstance(spec.source, OciSource) else store.import_tar(file, spec.name)
            return await _followed(steps, told)

    kind = "pull" if isinstance(spec.source, PullSource) else "import"
    return worker.jobs.start(kind, spec.name, owner, work, upload=specs.is_upload(spec.source))


def _opened(path: str) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


async def _received(stream: int, worker: Worker, told: Told) -> BinaryIO:
    """All of an upload, in a file without a name: it goes with whoever holds it. TooLarge above the policy's image_size."""
    most, loop = worker.policy.limits.image_bytes, asyncio.get_running_loop()
    with socket.socket(fileno=os.dup(stream)) as source:
        source.setblocking(False)
        file = cast(BinaryIO, await asyncio.to_thread(tempfile.TemporaryFile, dir=worker.data))
        try:
            while piece := await loop.sock_recv(source, PIECE):
                if file.tell() + len(piece) > most:
                    hint = "Root can raise image_size in policy.toml."
                    raise TooLarge(f"The archive is larger than {most >> 20} MiB.", hint=hint)
                await asyncio.to_thread(file.write, piece)
                told(Progress("receiving", file.tell()))
            file.seek(0)
        except OSError as error:
            file.close()
            hint = "Look at the data directory's disk."
            raise KernelRefused(f"The archive could not be kept: {error.strerror}.", hint=hint) from None
        except BaseException:
            file.close()
            raise
    return file


async def _followed(steps: AsyncGenerator[docker_images.Progress, None], told: Told) -> str:
    detail = ""
    async with aclosing(steps) as found:
        async for step in found:
            told(Progress(step.phase, step.done, step.total or 0, step.layers))
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


async def list_volumes(worker: Worker, command: protocol.ListVolumes) -> list[dict[str, Any]]:
    """Of every engine that has some and answers."""
    found: list[dict[str, Any]] = []
    for status in worker.registry.statuses():
        engine = worker.registry.engines[status.name]
        if status.available and isinstance(engine, DockerEngine):
            volumes = await engine.volume_store.all(command.sizes)
            found += [{"engine": status.name} | msgspec.to_builtins(volume) for volume in volumes]
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
