"""What a visitor can do with Docker's images, networks and volumes: all of it is for staff, as Docker's containers are."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from . import mirror
from .audits import audit, carried_out
from .errors import PermissionDenied
from .services import get_container, target_of
from .visitors import Visitor
from .worker import protocol
from .worker.protocol import Command, Prunable, Volume

T = TypeVar("T")


async def _ask(visitor: Visitor, command: Command, result: type[T]) -> T:
    if not visitor.is_staff:
        raise PermissionDenied("Docker's images, networks and volumes are for staff.", hint="Ask an administrator.")
    return await mirror.current().client.call(command, result)


@carried_out
async def tag_image(visitor: Visitor, engine: str, name: str, new: str) -> None:
    await _ask(visitor, protocol.TagImage(engine, name, new), msgspec.Raw)
    await audit(visitor, "tag image", name, new)


@carried_out
async def remove_image(visitor: Visitor, engine: str, name: str, force: bool) -> None:
    await _ask(visitor, protocol.RemoveDockerImage(engine, name, force), msgspec.Raw)
    await audit(visitor, "remove image", name, f"{engine}, by force" if force else engine)


@carried_out
async def prune_images(visitor: Visitor, engine: str, preview: bool) -> Prunable:
    found = await _ask(visitor, protocol.PruneImages(engine, preview), Prunable)
    if not preview:
        await audit(visitor, "prune images", engine, f"{len(found.items)}, {found.bytes} bytes")
    return found


@carried_out
async def connect_container(visitor: Visitor, reference: str, network: str) -> None:
    container = await get_container(visitor, reference, to="operate")
    await _ask(visitor, protocol.ConnectContainer(container.id, network), msgspec.Raw)
    await audit(visitor, "connect", target_of(container), network)


@carried_out
async def disconnect_container(visitor: Visitor, reference: str, network: str) -> None:
    container = await get_container(visitor, reference, to="operate")
    await _ask(visitor, protocol.DisconnectContainer(container.id, network), msgspec.Raw)
    await audit(visitor, "disconnect", target_of(container), network)


async def list_volumes(visitor: Visitor, sizes: bool = False) -> list[Any]:
    return await _ask(visitor, protocol.ListVolumes(sizes), list[Any])


@carried_out
async def create_volume(visitor: Visitor, engine: str, name: str) -> Volume:
    made = await _ask(visitor, protocol.CreateVolume(engine, name, visitor.username), Volume)
    await audit(visitor, "create volume", name, engine)
    return made


@carried_out
async def remove_volume(visitor: Visitor, engine: str, name: str) -> None:
    await _ask(visitor, protocol.RemoveVolume(engine, name), msgspec.Raw)
    await audit(visitor, "remove volume", name, engine)


@carried_out
async def prune_volumes(visitor: Visitor, engine: str, preview: bool) -> Prunable:
    found = await _ask(visitor, protocol.PruneVolumes(engine, preview), Prunable)
    if not preview:
        await audit(visitor, "prune volumes", engine, f"{len(found.items)}, {found.bytes} bytes")
    return found
