"""The audit log: one entry for each change that somebody made.

A slider that is dragged makes fifty changes of limits a second. Of these the log has one entry for what the slider was left at:
a visitor's changes to one target wait until none has come for SETTLED seconds, LONGEST at most. Another entry of anybody's is
written after them, and the web process writes what still waits as it ends. One that is killed loses the entries of its last
LONGEST seconds, not the changes: the worker's own activity log has each.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
from dataclasses import dataclass, field

from django.db import IntegrityError

from . import database
from .models import AuditEntry
from .spec import LimitChanges
from .visitors import Visitor

SETTLED, LONGEST = 0.5, 5.0  # seconds

_log = logging.getLogger(__name__)


@dataclass
class _Moves:
    visitor: Visitor
    action: str
    target: str
    begun: float  # the loop's clock
    changes: dict[str, object] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None

    def entry(self) -> AuditEntry:
        detail = ", ".join(f"{name} {'none' if value is None else value}" for name, value in self.changes.items())
        return _entry(self.visitor, self.action, self.target, detail)


_waiting: dict[tuple[int, str, str], _Moves] = {}


async def audit(visitor: Visitor, action: str, target: str, detail: str = "") -> None:
    await _write([*_taken(), _entry(visitor, action, target, detail)])


def audit_limits(visitor: Visitor, action: str, target: str, changes: LimitChanges) -> None:
    """Written when the change has settled."""
    loop = asyncio.get_running_loop()
    key = (visitor.user_id, action, target)
    moves = _waiting.get(key)
    if moves is None:
        moves = _waiting[key] = _Moves(visitor, action, target, loop.time())
    moves.changes |= changes
    if moves.timer is not None:
        moves.timer.cancel()
    moves.timer = loop.call_at(min(loop.time() + SETTLED, moves.begun + LONGEST), _begin_settling)


async def settle() -> None:
    """Write now what waits."""
    if entries := _taken():
        await _write(entries)


def _begin_settling() -> None:
    task = asyncio.ensure_future(settle())
    task.add_done_callback(_settled)


def _settled(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("entries of the audit log could not be written", exc_info=error)


def _taken() -> list[AuditEntry]:
    waiting = list(_waiting.values())
    _waiting.clear()
    for moves in waiting:
        if moves.timer is not None:
            moves.timer.cancel()
    return [moves.entry() for moves in waiting]


def _entry(visitor: Visitor, action: str, target: str, detail: str) -> AuditEntry:
    return AuditEntry(
        user_id=visitor.user_id or None, username=visitor.username, action=action, target=target[:200], detail=detail[:1000],
        address=visitor.address,
    )  # fmt: skip


async def _write(entries: list[AuditEntry]) -> None:
    await database.run(_store, entries)


def _store(entries: list[AuditEntry]) -> None:
    try:
        AuditEntry.objects.bulk_create(entries)
    except IntegrityError:  # a user was removed meanwhile; the name stays
        for entry in entries:
            entry.user_id = None
        AuditEntry.objects.bulk_create(entries)


@atexit.register
def write_rest() -> None:
    """What waits for a loop that has ended."""
    if entries := _taken():
        _store(entries)
