"""What a visitor can see of the host as a whole: graph, numbers, events; as far as it is theirs."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from . import mirror
from .errors import NotFound, WorkerUnavailable
from .services import ask, get_container, may_see_event, may_see_owner, staff_only
from .visitors import Visitor
from .worker import protocol
from .worker.protocol import Metrics


async def read_metrics(visitor: Visitor) -> Metrics:
    staff_only(visitor, "What all containers use")
    return await ask(protocol.ReadMetrics(), Metrics)


async def read_graph(visitor: Visitor) -> dict[str, Any]:
    """Containers and namespaces; for others than staff what is theirs, and the host's own namespaces."""
    graph = await ask(protocol.ReadGraph(), dict[str, Any])
    if visitor.is_staff:
        return graph
    owner = mirror.current().owner
    hidden = {
        node["id"]
        for node in graph["nodes"]
        if node["kind"] == "container" and not may_see_owner(visitor, owner(node["container"]))
    }
    edges = [edge for edge in graph["edges"] if edge["source"] not in hidden]
    reached = {edge["target"] for edge in edges} | {edge["source"] for edge in edges}
    nodes = [
        node for node in graph["nodes"]
        if node["id"] not in hidden and (node["kind"] != "namespace" or node["id"] in reached or node["initial"])
    ]  # fmt: skip
    shown = {node["id"] for node in nodes}
    for node in nodes:
        for relation in ("owner", "parent"):
            if node.get(relation) is not None and node[relation] not in shown:
                node[relation] = None
    return {"nodes": nodes, "edges": [edge for edge in edges if edge["target"] in shown]}


async def read_host(visitor: Visitor) -> dict[str, Any]:
    return await ask(protocol.ReadHost(), dict[str, Any])


async def list_events(visitor: Visitor, after: int, limit: int, container: str = "") -> list[protocol.Event]:
    """Oldest first, the newest ``limit`` of those past ``after`` that the visitor may see; of one container, or of all ("").

    One that is gone goes by its whole id.
    """
    if container:
        with contextlib.suppress(NotFound):
            container = (await get_container(visitor, container)).id
    owner = "" if visitor.is_staff else visitor.username
    events = await ask(protocol.ListEvents(after, limit, container, owner), list[protocol.Event])
    return [event for event in events if may_see_event(visitor, event)]


async def worker_answers() -> bool:
    """For /healthz: has the worker said something, and not gone since?"""
    known = mirror.current()
    if await known.ready():
        return True
    try:
        await ask(protocol.ReadHost(), msgspec.Raw)
    except WorkerUnavailable:
        return False
    return True
