"""Commands that look and change nothing: numbers, processes, namespaces, logs, and what each engine lists."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ..engines.base import Engine, Listing, LogText
from ..errors import InvalidInput
from ..kernel import mountinfo
from . import inspection, metrics, protocol
from .protocol import Stats

if TYPE_CHECKING:
    from .commands import Worker

MAX_LOG_LINES = 100_000
MAX_LOG_TEXT = 8 << 20  # characters
MAX_MOUNTS = 4096  # that are told; a mount namespace may have fs.mount-max of them
RATE_WAIT = 0.2  # seconds between the two samples that a rate needs when nobody watches

UNKNOWN = Stats(*[None] * len(Stats.__struct_fields__))


async def read_processes(worker: Worker, command: protocol.ReadProcesses) -> object:
    container = worker.registry.engine_of(command.id).get(command.id)
    return await asyncio.to_thread(inspection.processes, container, worker.cgroups)


async def read_namespaces(worker: Worker, command: protocol.ReadNamespaces) -> object:
    container = worker.registry.engine_of(command.id).get(command.id)
    return await asyncio.to_thread(inspection.namespaces, container, worker.registry.all())


async def read_mounts(worker: Worker, command: protocol.ReadMounts) -> object:
    container = worker.registry.engine_of(command.id).get(command.id)
    return (await asyncio.to_thread(mountinfo.mounts, container.pid))[:MAX_MOUNTS] if container.pid else []


async def read_graph(worker: Worker, _: protocol.ReadGraph) -> object:
    return await asyncio.to_thread(inspection.graph, worker.registry.all(), worker.cgroups)


async def read_host(worker: Worker, _: protocol.ReadHost) -> object:
    return await asyncio.to_thread(inspection.host, worker.node, worker.registry.statuses(), worker.cgroups, worker.policy.uids)


async def read_stats(worker: Worker, command: protocol.ReadStats) -> Stats:
    """All unknown when it does not run."""
    container = worker.registry.engine_of(command.id).get(command.id)
    frame = worker.live.latest
    if frame is None:
        worker.registry.publish()
        worker.history.sample()
        await asyncio.sleep(RATE_WAIT)
        frame = worker.live.latest or worker.history.sample()
    return frame.rows.get(container.id, UNKNOWN)


async def read_history(worker: Worker, command: protocol.ReadHistory) -> protocol.History:
    """Empty when it has not run since this worker began."""
    if not (math.isfinite(command.seconds) and command.seconds >= 1):
        raise InvalidInput("seconds is a number from 1 on.")
    return worker.history.read(worker.registry.engine_of(command.id).get(command.id).id, command.seconds)


async def read_metrics(worker: Worker, _: protocol.ReadMetrics) -> protocol.Metrics:
    return await asyncio.to_thread(metrics.read, worker.registry.all(), worker.cgroups)


async def read_logs(worker: Worker, command: protocol.ReadLogs) -> LogText:
    query = command.query
    if not (math.isfinite(query.since) and query.since >= 0):
        raise InvalidInput("since is a time in Unix seconds.")
    query = msgspec.structs.replace(query, tail=min(max(query.tail, 0), MAX_LOG_LINES))
    read = await worker.registry.engine_of(command.id).logs(command.id, query)
    return LogText(read.text[-MAX_LOG_TEXT:], read.next)


async def read_commands(worker: Worker, command: protocol.ReadCommands) -> object:
    return worker.registry.engine_of(command.id).commands(command.id)


async def read_security(worker: Worker, command: protocol.ReadSecurity) -> object:
    return worker.registry.engine_of(command.id).security(command.id)


async def list_images(worker: Worker, _: protocol.ListImages) -> object:
    return await _of_all(worker, lambda engine: engine.images())


async def list_networks(worker: Worker, _: protocol.ListNetworks) -> object:
    return await _of_all(worker, lambda engine: engine.networks())


async def list_events(worker: Worker, command: protocol.ListEvents) -> object:
    return worker.registry.events.after(command.after, min(max(command.limit, 0), 2000), command.container, command.owner)


async def _of_all(worker: Worker, listing: Callable[[Engine], Listing]) -> list[Any]:
    """One engine after the other, each item with its engine's name; those not available have nothing to show."""
    found: list[Any] = []
    for status in worker.registry.statuses():
        if status.available:
            items = listing(worker.registry.engine(status.name))
            items = await items if isinstance(items, Awaitable) else items
            found += [{"engine": status.name} | msgspec.to_builtins(item) for item in items]
    return found


HANDLERS: dict[type[protocol.Command], Callable[[Any, Any], Awaitable[object]]] = {
    protocol.ReadProcesses: read_processes,
    protocol.ReadNamespaces: read_namespaces,
    protocol.ReadMounts: read_mounts,
    protocol.ReadGraph: read_graph,
    protocol.ReadStats: read_stats,
    protocol.ReadHistory: read_history,
    protocol.ReadMetrics: read_metrics,
    protocol.ReadLogs: read_logs,
    protocol.ReadCommands: read_commands,
    protocol.ReadSecurity: read_security,
    protocol.ReadHost: read_host,
    protocol.ListImages: list_images,
    protocol.ListNetworks: list_networks,
    protocol.ListEvents: list_events,
}
