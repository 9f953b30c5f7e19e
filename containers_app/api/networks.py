"""/api/v1/networks: each handler is one service."""

from __future__ import annotations

from typing import Any

import msgspec

from .. import network_services
from ..spec import NetworkSpec, check_network
from . import shapes
from .border import typed
from .route import Call, Route

NAME = "/networks/{name}"


class EngineQuery(msgspec.Struct, frozen=True):
    engine: str = "raw"


async def list_networks(call: Call) -> object:
    return {"items": await network_services.list_networks(call.visitor), "next": None}


async def create_network(call: Call) -> object:
    return await network_services.create_network(call.visitor, call.body)


async def get_network(call: Call) -> object:
    return await network_services.get_network(call.visitor, call.path["name"], call.query.engine)


async def remove_network(call: Call) -> object:
    await network_services.remove_network(call.visitor, call.path["name"], call.query.engine)
    return None


def parse_network(raw: Any) -> NetworkSpec:
    spec: NetworkSpec = typed(raw, NetworkSpec)
    check_network(spec)
    return spec


ROUTES = (
    Route("GET", "/networks", list_networks, "List networks", shapes.Networks, tag="networks"),
    Route(
        "POST", "/networks", create_network, "Make a bridge network", shapes.Network, NetworkSpec, status=201,
        parse=parse_network, tag="networks",
    ),
    Route("GET", NAME, get_network, "Read a network", shapes.Network, query=EngineQuery, tag="networks"),
    Route("DELETE", NAME, remove_network, "Remove a network that nobody uses", query=EngineQuery, status=204, tag="networks"),
)  # fmt: skip
