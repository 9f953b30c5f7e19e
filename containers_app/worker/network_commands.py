"""What the worker does with networks; joined into the table of ``commands``."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import msgspec

from .. import spec as specs
from ..engines.raw import RawEngine
from ..errors import NotFound, Unsupported
from . import protocol

if TYPE_CHECKING:
    from .commands import Handler, Worker


async def get_network(worker: Worker, command: protocol.GetNetwork) -> Any:
    listing = worker.registry.engine(command.engine).networks()
    for found in await listing if isinstance(listing, Awaitable) else listing:
        network = {"engine": command.engine} | msgspec.to_builtins(found)
        if network["name"] == command.name:
            return network
    raise _not_found(command.name)


async def create_network(worker: Worker, command: protocol.CreateNetwork) -> Any:
    specs.check_network(command.spec)
    return await _engine(worker, command.spec.engine).wire.create_network(command.spec)


async def remove_network(worker: Worker, command: protocol.RemoveNetwork) -> None:
    await _engine(worker, command.engine).wire.remove_network(command.name)


def _engine(worker: Worker, name: str) -> RawEngine:
    engine = worker.registry.engine(name)
    if not isinstance(engine, RawEngine):
        raise Unsupported(f"The panel makes no networks of {engine.name}.", hint="Leave engine out.")
    return engine


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no network called “{name[:64]}”.", hint="See the list of networks.")


HANDLERS: dict[type[protocol.Command], Handler] = {
    protocol.GetNetwork: get_network,
    protocol.CreateNetwork: create_network,
    protocol.RemoveNetwork: remove_network,
}
