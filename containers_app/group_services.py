"""What a visitor can do with groups of containers that share one budget: staff with all, others with their own."""

from __future__ import annotations

import re

import msgspec

from . import mirror
from .audits import audit, audit_limits, carried_out
from .errors import NotFound
from .services import may_see_owner, staff_only
from .spec import LimitChanges, LimitReading
from .visitors import Visitor
from .worker import protocol
from .worker.protocol import Group

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")


async def get_group(visitor: Visitor, name: str) -> Group:
    """What one may not see does not exist."""
    try:
        group = await mirror.current().client.call(protocol.GetGroup(name), Group) if _NAME.fullmatch(name) else None
    except NotFound:
        group = None
    if group is None or not may_see_owner(visitor, group.owner):
        raise NotFound("There is no such group.", hint="The list of groups shows what there is.")
    return group


async def list_groups(visitor: Visitor) -> list[Group]:
    return [
        group
        for group in await mirror.current().client.call(protocol.ListGroups(), list[Group])
        if may_see_owner(visitor, group.owner)
    ]


@carried_out
async def create_group(visitor: Visitor, name: str, limits: LimitChanges) -> Group:
    group = await mirror.current().client.call(protocol.CreateGroup(name, visitor.username, limits), Group)
    await audit(visitor, "create group", name)
    return group


@carried_out
async def remove_group(visitor: Visitor, name: str) -> None:
    await get_group(visitor, name)
    await mirror.current().client.call(protocol.RemoveGroup(name), msgspec.Raw)
    await audit(visitor, "remove group", name)


@carried_out
async def add_to_group(visitor: Visitor, name: str, pid: int, to: tuple[str, ...]) -> Group:
    """A process of the host shares the group's budget from then on; it goes back to the host when the group goes."""
    await get_group(visitor, name)
    staff_only(visitor, "Moving processes of the host")
    group = await mirror.current().client.call(protocol.AddToGroup(name, pid, to), Group)
    await audit(visitor, "add process to group", name, f"{pid}")
    return group


async def read_group_limits(visitor: Visitor, name: str) -> dict[str, LimitReading]:
    return (await get_group(visitor, name)).limits


@carried_out
async def update_group_limits(visitor: Visitor, name: str, changes: LimitChanges) -> dict[str, LimitReading]:
    await get_group(visitor, name)
    readings = await mirror.current().client.call(protocol.UpdateGroupLimits(name, changes), dict[str, LimitReading])
    audit_limits(visitor, "update group limits", name, changes)
    return readings
