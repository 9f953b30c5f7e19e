"""/api/v1/images, /volumes and connections to networks, as far as they are Docker's."""

from __future__ import annotations

import msgspec

from .. import docker_services as services
from ..worker.protocol import Prunable, Volume
from . import shapes
from .containers import ID
from .route import Call, Route


class EngineQuery(msgspec.Struct, frozen=True):
    engine: str = "docker"


class VolumesQuery(msgspec.Struct, frozen=True):
    sizes: bool = False  # count the bytes of each, which takes its time


class TagBody(shapes.Body, frozen=True):
    name: str
    new: str
    engine: str = "docker"


class PruneBody(shapes.Body, frozen=True):
    """``preview``: say what would go, and take nothing."""

    preview: bool
    engine: str = "docker"


class ConnectBody(shapes.Body, frozen=True):
    network: str


class VolumeBody(shapes.Body, frozen=True):
    name: str
    engine: str = "docker"


class ListedVolume(Volume, frozen=True, kw_only=True):
    engine: str


class Volumes(msgspec.Struct, frozen=True):
    items: list[ListedVolume]
    next: str | None = None


async def tag_image(call: Call) -> object:
    await services.tag_image(call.visitor, call.body.engine, call.body.name, call.body.new)
    return None


async def prune_images(call: Call) -> object:
    return await services.prune_images(call.visitor, call.body.engine, call.body.preview)


async def connect_container(call: Call) -> object:
    await services.connect_container(call.visitor, call.path["id"], call.body.network)
    return None


async def disconnect_container(call: Call) -> object:
    await services.disconnect_container(call.visitor, call.path["id"], call.body.network)
    return None


async def list_volumes(call: Call) -> object:
    return {"items": await services.list_volumes(call.visitor, call.query.sizes), "next": None}


async def create_volume(call: Call) -> object:
    return await services.create_volume(call.visitor, call.body.engine, call.body.name)


async def remove_volume(call: Call) -> object:
    await services.remove_volume(call.visitor, call.query.engine, call.path["name"])
    return None


async def prune_volumes(call: Call) -> object:
    return await services.prune_volumes(call.visitor, call.body.engine, call.body.preview)


ROUTES = (
    Route("POST", "/images/tag", tag_image, "Give an image another name", body=TagBody, status=204, tag="docker"),
    Route(
        "POST", "/images/prune", prune_images, "Remove images that nothing names or uses, or say which", Prunable, PruneBody,
        tag="docker",
    ),
    Route("POST", ID + "/connect", connect_container, "Connect it to a network", body=ConnectBody, status=204, tag="docker"),
    Route("POST", ID + "/disconnect", disconnect_container, "Disconnect it", body=ConnectBody, status=204, tag="docker"),
    Route("GET", "/volumes", list_volumes, "List volumes, by name", Volumes, query=VolumesQuery, tag="docker"),
    Route("POST", "/volumes", create_volume, "Make a volume", Volume, VolumeBody, status=201, tag="docker"),
    Route(
        "POST", "/volumes/prune", prune_volumes, "Remove volumes that no container has, or say which", Prunable, PruneBody,
        tag="docker",
    ),
    Route("DELETE", "/volumes/{name}", remove_volume, "Remove a volume", query=EngineQuery, status=204, tag="docker"),
)  # fmt: skip
