"""What the worker does with networks, of whichever engine; joined into the table of ``commands``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .. import spec as specs
from ..engines.docker import DockerEngine
from ..engines.raw import RawEngine
from ..errors import NotFound, Unsupported
from . import protocol
from .docker_commands import check_word

if TYPE_CHECKING:
    from .commands import Handler, Worker


async def get_network(worker: Worker, command: protocol.GetNetwork) -> Any:
    engine = _engine(worker, command.engine)
    if isinstance(engine, DockerEngine):
        check_word(command.name, "network")
        return _item(engine, await engine.network_store.get(command.name))
    for found in await engine.networks():
        if found["name"] == command.name:
            return _item(engine, found)
    raise NotFound(f"There is no network called “{command.name[:64]}”.", hint="See the list of networks.")


async def create_network(worker: Worker, command: protocol.CreateNetwork) -> Any:
    specs.check_network(command.spec)
    engine = _engine(worker, command.spec.engine)
    if isinstance(engine, DockerEngine):
        return _item(engine, await engine.network_store.create(command.spec, command.owner))
    return await engine.wire.create_network(command.spec)


async def remove_network(worker: Worker, command: protocol.RemoveNetwork) -> None:
    engine = _engine(worker, command.engine)
    if isinstance(engine, DockerEngine):
        check_word(command.name, "network")
        await engine.network_store.remove(command.name)
    else:
        await engine.wire.remove_network(command.name)


def _engine(worker: Worker, name: str) -> RawEngine | DockerEngine:
    engine = worker.registry.engine(name)
    if not isinstance(engine, (RawEngine, DockerEngine)):
        raise Unsupported(f"The panel makes no networks of {engine.name}.", hint="Leave engine out.")
    return engine


def _item(engine: RawEngine | DockerEngine, found: object) -> Any:
    return {"engine": engine.name} | msgspec.to_builtins(found)


HANDLERS: dict[type[protocol.Command], Handler] = {
    protocol.GetNetwork: get_network,
    protocol.CreateNetwork: create_network,
    protocol.RemoveNetwork: remove_network,
}
