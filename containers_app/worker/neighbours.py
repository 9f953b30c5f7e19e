"""Commands about containers beside others: who leans on one, and tools beside one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from . import protocol
from .dependents import dependents
from .protocol import TerminalOpened
from .server import WithDescriptor

if TYPE_CHECKING:
    from ..engines.raw import RawEngine
    from .commands import Worker


async def read_dependents(worker: Worker, command: protocol.ReadDependents) -> list[protocol.Dependent]:
    container = worker.registry.engine_of(command.id).get(command.id)
    return dependents(container, worker.registry.all())


async def open_toolbox(worker: Worker, command: protocol.OpenToolbox) -> WithDescriptor:
    """Its fd is a pty's, so its holder sizes it."""
    beside = worker.registry.engine_of(command.id).get(command.id)
    raw = cast("RawEngine", worker.registry.engine("raw"))
    terminal = await raw.toolboxes.open(beside, command.image, command.rows, command.columns)
    return WithDescriptor(TerminalOpened(os.urandom(12).hex(), True), terminal.fd)


HANDLERS: dict[type[protocol.Command], Any] = {
    protocol.ReadDependents: read_dependents,
    protocol.OpenToolbox: open_toolbox,
}
