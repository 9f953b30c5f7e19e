"""Changes of limits as events: a slider under somebody's hand makes fifty changes a second, and the activity log one event.

The first change is told at once. Those that follow it closely are told together, by an event from the first value to the
last that replaces the one before: when none has come for SETTLED seconds, LONGEST at most, or when something else of the
container is told. So a container has two events in LONGEST seconds at most, and a worker that is killed loses one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ..engines.base import Container
from ..spec import LimitValue
from .protocol import Event

SETTLED, LONGEST = 1.0, 5.0  # seconds
_ALIVE = ("running", "paused")

Tell = Callable[[Container, str, int], Event]  # (container, detail, sequence of the event that it replaces or 0)


@dataclass(eq=False)
class _Move:
    first: Container  # as it was before
    told: Event
    shown: Container  # as ``told`` has it
    last: Container
    begun: float  # the loop's clock
    changed: float
    timer: asyncio.TimerHandle | None = None

    @property
    def due(self) -> float:
        return min(self.changed + SETTLED, self.begun + LONGEST)


class LimitMoves:
    """One event loop's thread."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._moves: dict[str, _Move] = {}  # container → what more changes of it are counted to

    def changed(self, before: Container, after: Container) -> None:
        """Two looks at a container; nothing when its limits are the same."""
        detail = changes_in_words(before, after)
        if not detail:
            return
        loop = asyncio.get_running_loop()
        move = self._moves.get(after.id)
        if move is None:
            move = self._moves[after.id] = _Move(before, self._tell(after, detail, 0), after, after, loop.time(), loop.time())
            move.timer = loop.call_at(move.due, self._look, move)
        else:
            move.last, move.changed = after, loop.time()

    def settle(self, container_id: str) -> None:
        """Tell now what waits, and begin anew."""
        move = self._moves.pop(container_id, None)
        if move is None:
            return
        if move.timer is not None:
            move.timer.cancel()
        if not changes_in_words(move.shown, move.last):
            return
        if whole := changes_in_words(move.first, move.last):
            self._tell(move.last, whole, move.told.sequence)
        else:  # it is as it was, which the first event alone would not say
            self._tell(move.last, changes_in_words(move.shown, move.last), 0)

    def close(self) -> None:
        for container_id in list(self._moves):
            self.settle(container_id)

    def _look(self, move: _Move) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < move.due:
            move.timer = loop.call_at(move.due, self._look, move)
        else:
            self.settle(move.last.id)


def changes_in_words(before: Container, after: Container) -> str:
    """ "memory 67108864 → none", or "" """
    if after.state not in _ALIVE or before.state not in _ALIVE:
        return ""  # limits of a container without a cgroup read as nothing; that is no change
    words = []
    for name in sorted(before.limits.keys() | after.limits.keys()):
        old, new = (side.limits[name].kernel if name in side.limits else None for side in (before, after))
        if old != new:
            words.append(f"{name} {_shown(old)} → {_shown(new)}")
    return ", ".join(words)


def _shown(value: LimitValue | None) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{part} {amount}" for part, amount in value.items())
    return "none" if value is None else str(value)
