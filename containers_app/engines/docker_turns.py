"""Whose turn it is at a container: looks at it and changes of its limits come from several threads, and go one at a time.

So each of them has the container as the one before has left it, and the numbers, taken as a turn begins, tell which is newer
for whoever gets the results in another order.
"""

from __future__ import annotations

import itertools
import threading
from weakref import WeakValueDictionary


class Turns:
    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._numbers = itertools.count(1)

    def of(self, container_id: str) -> threading.Lock:
        """To be got on the loop, and held in a thread."""
        return self._locks.setdefault(container_id, threading.Lock())

    def number(self) -> int:
        """Greater than all before. In any thread."""
        return next(self._numbers)
