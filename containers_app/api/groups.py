"""/api/v1/groups: several containers that share one budget."""

from __future__ import annotations

from .. import group_services
from ..spec import LimitReading, parse_limits
from ..worker.protocol import Group
from . import shapes
from .route import Call, Route


async def list_groups(call: Call) -> object:
    return {"items": await group_services.list_groups(call.visitor), "next": None}


async def create_group(call: Call) -> object:
    body: shapes.GroupBody = call.body
    return await group_services.create_group(call.visitor, body.name, parse_limits(body.limits))


async def get_group(call: Call) -> object:
    return await group_services.get_group(call.visitor, call.path["name"])


async def remove_group(call: Call) -> object:
    await group_services.remove_group(call.visitor, call.path["name"])
    return None


async def add_to_group(call: Call) -> object:
    return await group_services.add_to_group(call.visitor, call.path["name"], call.body.pid, call.body.to)


async def read_group_limits(call: Call) -> object:
    return await group_services.read_group_limits(call.visitor, call.path["name"])


async def update_group_limits(call: Call) -> object:
    return await group_services.update_group_limits(call.visitor, call.path["name"], call.body)


GROUP = "/groups/{name}"
ROUTES = (
    Route("GET", "/groups", list_groups, "List groups of containers that share a budget", shapes.Groups, tag="groups"),
    Route("POST", "/groups", create_group, "Make a group", Group, shapes.GroupBody, status=201, tag="groups"),
    Route("GET", GROUP, get_group, "Read a group, its members, use and limits", Group, tag="groups"),
    Route("DELETE", GROUP, remove_group, "Remove a group that has no members", status=204, tag="groups"),
    Route("POST", GROUP + "/processes", add_to_group, "Put a process of the host into it", Group, shapes.AddBody, tag="groups"),
    Route("GET", GROUP + "/limits", read_group_limits, "Read a group's limits", dict[str, LimitReading], tag="groups"),
    Route(
        "PATCH", GROUP + "/limits", update_group_limits, "Change a group's limits; null clears", dict[str, LimitReading],
        shapes.LimitsBody, parse=parse_limits, tag="groups",
    ),
)  # fmt: skip
