"""What a visitor can do about containers that lean on another: services.py's part for those beside each other."""

from __future__ import annotations

from . import mirror
from .audits import audit, carried_out
from .errors import TerrariumError
from .services import get_container, may_see_owner, restart_container, target_of
from .visitors import Visitor
from .worker import protocol
from .worker.protocol import Dependent


async def read_dependents(visitor: Visitor, reference: str) -> tuple[list[Dependent], int]:
    """In an order in which they can be restarted; and how many there are that the visitor may not see."""
    container = await get_container(visitor, reference)
    found = await mirror.current().client.call(protocol.ReadDependents(container.id), list[Dependent])
    seen = [one for one in found if may_see_owner(visitor, mirror.current().owner(one.id))]
    return seen, len(found) - len(seen)


@carried_out
async def rejoin_dependents(visitor: Visitor, reference: str) -> list[tuple[Dependent, str]]:
    """Restart those that are in namespaces of an earlier run, or ended with it. → each, and what was wrong ("" when nothing)."""
    container = await get_container(visitor, reference, to="operate")
    dependents, _ = await read_dependents(visitor, container.id)
    done: list[tuple[Dependent, str]] = []
    begun: set[str] = set()  # whoever had joined by way of one of these has the namespaces of its earlier run now
    for dependent in dependents:
        if dependent.state == "created" or (dependent.attached and dependent.through not in begun):
            continue
        try:
            await restart_container(visitor, dependent.id)
            begun.add(dependent.id)
            done.append((dependent, ""))
        except TerrariumError as error:
            done.append((dependent, error.message))
    await audit(visitor, "rejoin dependents", target_of(container), ", ".join(one.name for one, _ in done))
    return done
