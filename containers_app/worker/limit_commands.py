"""Commands about limits: read, change, and settle what somebody has changed behind our back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from .. import spec as specs
from ..engines import policy_checks as policies
from ..errors import InvalidInput
from ..spec import LimitChanges, LimitReading, change_to
from . import protocol

if TYPE_CHECKING:
    from .commands import Worker


async def read_limits(worker: Worker, command: protocol.ReadLimits) -> object:
    return worker.registry.engine_of(command.id).read_limits(command.id)


async def update_limits(worker: Worker, command: protocol.UpdateLimits) -> object:
    return await _change(worker, command.id, worker.cgroups.resolve(specs.parse_limits(command.changes), worker.data))


async def put_back_limits(worker: Worker, command: protocol.PutBackLimits) -> object:
    """The kernel gets what was requested again. Limits that nobody has changed are left alone."""
    drifted = _drifted(worker, command.id, command.names)
    return await _change(worker, command.id, {name: change_to(one.requested, one.kernel) for name, one in drifted.items()})


async def accept_limits(worker: Worker, command: protocol.AcceptLimits) -> object:
    """What the kernel has counts as requested from now on, as far as the policy allows it."""
    drifted = _drifted(worker, command.id, command.names)
    return await _change(worker, command.id, {name: change_to(one.kernel, one.requested) for name, one in drifted.items()})


async def read_limit_events(worker: Worker, command: protocol.ReadLimitEvents) -> protocol.LimitEvents:
    """All unknown when it does not run."""
    container = worker.registry.engine_of(command.id).get(command.id)
    return msgspec.convert(worker.cgroups.limit_events(container.cgroups), protocol.LimitEvents)


def _drifted(worker: Worker, container_id: str, names: tuple[str, ...]) -> dict[str, LimitReading]:
    for name in names:
        if name not in specs.LIMITS:
            raise InvalidInput("There is no such limit.", hint="Limits are " + ", ".join(specs.LIMITS) + ".")
    now = worker.registry.engine_of(container_id).read_limits(container_id)
    return {name: now[name] for name in names or now if name in now and now[name].drift}


async def _change(worker: Worker, container_id: str, changes: LimitChanges) -> dict[str, LimitReading]:
    policies.check_changes(worker.policy, changes)
    engine = worker.registry.engine_of(container_id)
    limits = await engine.update_limits(container_id, changes)
    worker.registry.changed(engine.get(container_id).id)
    worker.registry.publish()
    return limits


HANDLERS: dict[type[protocol.Command], Callable[[Any, Any], Awaitable[object]]] = {
    protocol.ReadLimits: read_limits,
    protocol.UpdateLimits: update_limits,
    protocol.PutBackLimits: put_back_limits,
    protocol.AcceptLimits: accept_limits,
    protocol.ReadLimitEvents: read_limit_events,
}
