"""Each user's share of what goes on at once, so that nobody takes all that there is. Counted in this web process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import Conflict
from .visitors import Visitor


class Share:
    """``most`` for each user; ``what`` and ``hint`` are for who wants more."""

    def __init__(self, most: int, what: str, hint: str) -> None:
        self._most, self._what, self._hint = most, what, hint
        self._taken: Counter[int] = Counter()

    def take(self, visitor: Visitor) -> None:
        """Conflict when the user has them all."""
        if self._taken[visitor.user_id] >= self._most:
            raise Conflict(f"You have {self._most} {self._what} under way.", code="too_many", hint=self._hint)
        self._taken[visitor.user_id] += 1

    def give_back(self, visitor: Visitor) -> None:
        self._taken[visitor.user_id] -= 1
        self._taken += Counter()  # forgets who has none

    @contextmanager
    def taken(self, visitor: Visitor) -> Iterator[None]:
        self.take(visitor)
        try:
            yield
        finally:
            self.give_back(visitor)


# Their answer takes as long as a program likes; the worker's places for them are for all users together (worker/server.py).
waiting = Share(32, "commands that wait", "Wait for one to end, or kill the container that it waits for.")
# Each keeps a process of the worker's for as long as it is read; those too are for all together (engines/raw_copies.py).
exports = Share(3, "exports", "Wait for one to end, or break it off.")
