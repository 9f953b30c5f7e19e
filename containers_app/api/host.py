"""What is there once per host: graph, images, events, the host itself; and who is asking."""

from __future__ import annotations

from .. import host_services
from ..errors import InvalidInput
from . import shapes
from .containers import within
from .route import Call, Route


async def read_graph(call: Call) -> object:
    return await host_services.read_graph(call.visitor)


async def list_events(call: Call) -> object:
    """Following pages are newer: ``next`` is the last sequence number while there may be more."""
    query: shapes.EventsQuery = call.query
    limit = min(within(query.limit, 1, "limit"), 1000)
    if query.cursor and not (query.cursor.isascii() and query.cursor.isdigit() and len(query.cursor) < 17):
        raise InvalidInput("That is not a cursor.", hint='Send the "next" of the page before.')
    after = within(int(query.cursor or query.after), 0, "after")
    events = await host_services.list_events(call.visitor, after, limit, query.container)
    return {"items": events, "next": None}


async def read_host(call: Call) -> object:
    return await host_services.read_host(call.visitor)


async def me(call: Call) -> object:
    return {"username": call.visitor.username, "staff": call.visitor.is_staff}


ROUTES = (
    Route("GET", "/namespaces", read_graph, "Read the graph of containers and namespaces", shapes.Graph, tag="host"),
    Route("GET", "/events", list_events, "List what happened, oldest first", shapes.Events, query=shapes.EventsQuery, tag="host"),
    Route("GET", "/host", read_host, "Read the host, its engines and checks", shapes.Host, tag="host"),
    Route("GET", "/me", me, "Who is asking", shapes.Me, tag="host"),
)  # fmt: skip
