"""What a visitor can do with networks: services.py's part for what is there beside the containers."""

from __future__ import annotations

from typing import Any

import msgspec

from . import mirror
from .audits import audit, carried_out
from .services import may_see_owner, staff_only
from .spec import NetworkSpec
from .visitors import Visitor
from .worker import protocol


async def list_networks(visitor: Visitor) -> list[Any]:
    found = await mirror.current().client.call(protocol.ListNetworks(), list[Any])
    return [_network_for(visitor, one) for one in found]


async def get_network(visitor: Visitor, name: str, engine: str) -> dict[str, Any]:
    return _network_for(visitor, await mirror.current().client.call(protocol.GetNetwork(name, engine), dict[str, Any]))


def _network_for(visitor: Visitor, network: dict[str, Any]) -> dict[str, Any]:
    """Who is in it is named only as far as the visitor may see them."""
    if "containers" not in network:
        return network
    return network | {"containers": [one for one in network["containers"] if may_see_owner(visitor, one.get("owner"))]}


@carried_out
async def create_network(visitor: Visitor, spec: NetworkSpec) -> dict[str, Any]:
    staff_only(visitor, "Making networks")
    network = await mirror.current().client.call(protocol.CreateNetwork(spec, visitor.username), dict[str, Any])
    await audit(visitor, "create network", spec.name, f"{network['subnet']} {network.get('subnet6') or ''}".strip())
    return network


@carried_out
async def remove_network(visitor: Visitor, name: str, engine: str) -> None:
    staff_only(visitor, "Removing networks")
    await mirror.current().client.call(protocol.RemoveNetwork(name, engine), msgspec.Raw)
    await audit(visitor, "remove network", name, engine)
