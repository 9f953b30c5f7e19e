"""Commands about groups of containers that share one budget."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .. import spec as specs
from ..engines import policy_checks as policies
from ..errors import InvalidInput, NotFound
from ..spec import LimitChanges
from . import adding, protocol
from .protocol import Group, Member

if TYPE_CHECKING:
    from .commands import Worker


async def list_groups(worker: Worker, _: protocol.ListGroups) -> object:
    return await asyncio.to_thread(_views, worker, _members(worker))


async def get_group(worker: Worker, command: protocol.GetGroup) -> object:
    return _view(worker, command.name, _members(worker))


async def create_group(worker: Worker, command: protocol.CreateGroup) -> object:
    specs.check_group_name(command.name)
    if len(command.owner) > 150 or not command.owner.isprintable():
        raise InvalidInput("That is not a user's name.")
    limits = _checked(worker, command.limits)
    policies.check_changes(worker.policy, {name: value for name, value in limits.items() if value is not None})
    worker.groups.create(command.name, command.owner, limits)
    return _view(worker, command.name, _members(worker))


async def remove_group(worker: Worker, command: protocol.RemoveGroup) -> None:
    async with worker.group_lock:
        worker.groups.remove(command.name, [member.name for member in _members(worker).get(command.name, ())])


async def update_group_limits(worker: Worker, command: protocol.UpdateGroupLimits) -> object:
    """In a thread: lowering memory may have to wait until the kernel has made room."""
    changes = _checked(worker, command.changes)
    policies.check_changes(worker.policy, {name: value for name, value in changes.items() if value is not None})
    async with worker.group_lock:
        limits = await asyncio.to_thread(worker.groups.update_limits, command.name, changes)
    for member in _members(worker).get(command.name, ()):
        worker.registry.engine_of(member.id).look_again(member.id)
    worker.registry.publish()
    return limits


async def add_to_group(worker: Worker, command: protocol.AddToGroup) -> object:
    groups, containers = worker.groups, worker.registry.all()
    groups.get(command.name)
    async with worker.group_lock:
        await asyncio.to_thread(
            adding.add_to_group, lambda: groups.prepare_processes(command.name), containers, command.pid, command.to, worker.run,
            worker.policy, worker.cgroups,
        )  # fmt: skip
    return _view(worker, command.name, _members(worker))


def _checked(worker: Worker, changes: LimitChanges) -> LimitChanges:
    return worker.cgroups.resolve(specs.parse_limits(changes), worker.data)


def _members(worker: Worker) -> dict[str, list[Member]]:
    found: dict[str, list[Member]] = {}
    for container in worker.registry.all():
        if container.group:
            found.setdefault(container.group, []).append(Member(container.id, container.name, container.state))
    return found


def _views(worker: Worker, members: dict[str, list[Member]]) -> list[Group]:
    """In a thread: one that is removed meanwhile is left out."""
    found = []
    for name in worker.groups.names():
        with contextlib.suppress(NotFound):
            found.append(_view(worker, name, members))
    return found


def _view(worker: Worker, name: str, members: dict[str, list[Member]]) -> Group:
    record = worker.groups.get(name)
    return Group(
        name, record.owner, record.created_at, tuple(members.get(name, ())), worker.groups.read_usage(name),
        worker.groups.read_limits(name), tuple(worker.groups.processes(name)),
    )  # fmt: skip


HANDLERS: dict[type[protocol.Command], Callable[[Any, Any], Awaitable[object]]] = {
    protocol.ListGroups: list_groups,
    protocol.GetGroup: get_group,
    protocol.CreateGroup: create_group,
    protocol.RemoveGroup: remove_group,
    protocol.UpdateGroupLimits: update_group_limits,
    protocol.AddToGroup: add_to_group,
}
