"""The audit log: one entry for each change that somebody made.

A slider that is dragged makes fifty changes of limits a second. Of these the log has one entry, for what the slider was left at:
it is written with the first change and brought along with the next ones, until none has come for SETTLED seconds, LONGEST at
most, or another entry of anybody's follows. Who waits for a change does not wait for its entry. A web process that is killed
loses what the last BREATH seconds would have written, not the changes: the worker's own activity log has the first and the last.

Nobody escapes the log by hanging up: what the worker was asked it carries out whoever waits for the answer, so an act goes on to
its entry too (``carried_out``), and what was refused has none.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from django.db import IntegrityError
from django.utils import timezone

from . import database
from .errors import TerrariumError
from .models import AuditEntry
from .spec import LimitChanges
from .visitors import Visitor

P = ParamSpec("P")
T = TypeVar("T")

SETTLED, LONGEST = 0.5, 5.0  # seconds
BREATH = 0.05  # seconds between two writes of what is being moved

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Moves:
    entry: AuditEntry  # the database's thread saves it
    begun: float  # the loop's clock
    last: float = 0.0
    changes: dict[str, object] = field(default_factory=dict)

    def detail(self) -> str:
        return ", ".join(f"{name} {'none' if value is None else value}" for name, value in self.changes.items())[:1000]


_moving: dict[tuple[int, str, str], _Moves] = {}  # user, action and target → what more changes are counted to
_unwritten: list[_Moves] = []
_writer: asyncio.Task[None] | None = None
_acts: set[asyncio.Task[Any]] = set()  # under way; the event loop itself holds tasks weakly


def carried_out(act: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """An act that goes on to its end when who asked for it leaves and is cancelled."""

    @functools.wraps(act)
    async def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(act(*args, **kwargs))
        _acts.add(task)
        task.add_done_callback(_acts.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_failure)
            raise

    return whole


def _tell_failure(act: asyncio.Task[Any]) -> None:
    """Nobody else would."""
    error = None if act.cancelled() else act.exception()
    if error is not None and not isinstance(error, TerrariumError):
        _log.error("what an absent visitor had asked for failed", exc_info=error)


async def audit(visitor: Visitor, action: str, target: str, detail: str = "") -> None:
    before = _taken()
    _moving.clear()
    await database.run(_store, before, _entry(visitor, action, target, detail))


def audit_limits(visitor: Visitor, action: str, target: str, changes: LimitChanges) -> None:
    """Returns at once; written in a moment."""
    global _writer
    now, key = asyncio.get_running_loop().time(), (visitor.user_id, action, target)
    moves = _moving.get(key)
    if moves is None or now - moves.last > SETTLED or now - moves.begun > LONGEST:
        for other in [other for other, one in _moving.items() if now - one.last > SETTLED]:
            del _moving[other]
        moves = _moving[key] = _Moves(_entry(visitor, action, target, ""), now)
    moves.last = now
    moves.changes |= changes
    if moves not in _unwritten:
        _unwritten.append(moves)
    if _writer is None or _writer.done():
        _writer = asyncio.create_task(_write_moves())


async def settle() -> None:
    """Write now what waits. What is being written at this moment has been then, too."""
    if waiting := _taken():
        await database.run(_store, waiting)
    else:
        await database.run(lambda: None)  # there is one thread, and it goes by the order of asking


async def _write_moves() -> None:
    while _unwritten:
        try:
            await settle()
        except Exception:
            _log.exception("entries of the audit log could not be written")
        await asyncio.sleep(BREATH)


def _taken() -> list[tuple[AuditEntry, str]]:
    """Entries and what they are to say. Of what is moved on, the same entry comes again."""
    waiting = [(moves.entry, moves.detail()) for moves in _unwritten]
    _unwritten.clear()
    return waiting


def _entry(visitor: Visitor, action: str, target: str, detail: str) -> AuditEntry:
    return AuditEntry(
        user_id=visitor.user_id or None, username=visitor.username, action=action, target=target[:200], detail=detail[:1000],
        address=visitor.address,
    )  # fmt: skip


def _store(moved: Iterable[tuple[AuditEntry, str]], last: AuditEntry | None = None) -> None:
    for entry, detail in moved:
        entry.detail = detail
        if entry.pk is None:
            _add(entry)
        else:
            AuditEntry.objects.filter(pk=entry.pk).update(detail=detail, time=timezone.now())
    if last is not None:
        _add(last)


def _add(entry: AuditEntry) -> None:
    try:
        entry.save(force_insert=True)
    except IntegrityError:  # the user was removed meanwhile; the name stays
        entry.user_id = None
        entry.save(force_insert=True)


@atexit.register
def write_rest() -> None:
    """What waits for a loop that has ended."""
    _moving.clear()
    _store(_taken())
