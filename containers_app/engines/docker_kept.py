"""What was asked for through us, for each Docker container: a file, so that it outlives the worker as Docker's record does.

Its last two versions are kept (kernel/state_file.py).

Docker's record has no words for some limits, and for "no limit" only numbers that mean as much. So a start gives a container
only what the record says; the rest is written to its cgroup again, once for each start, whoever ran meanwhile; unless the user
has asked that it ends with the run (``lasting``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

import msgspec

from ..kernel import state_file
from ..spec import LimitValue

Values = dict[str, LimitValue | None]
_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """``signature`` is Docker's record as it was then; ``started_at`` the start that has these limits already."""

    signature: tuple[Any, ...]
    values: Values
    started_at: float | None = None
    links: dict[str, int] = {}  # on the host, that have its network rates → their indexes
    lasting: bool = True


class _All(msgspec.Struct):
    """The file. ``version`` is how often it was written."""

    version: int = 0
    containers: dict[str, Kept] = {}


_decode = msgspec.json.Decoder(_All).decode


class KeptLimits:
    """All of one daemon's. A file that can't be read is begun anew; one that can't be written is tried again with the next.

    For the loop and for threads that look at containers at the same time.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._all = _All()
        try:
            self._all = state_file.read(path, _decode)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            _log.warning("%s can't be read, and is begun anew: %s", path, error)
        self._kept = self._all.containers

    def get(self, container_id: str) -> Kept | None:
        return self._kept.get(container_id)

    def put(self, container_id: str, kept: Kept) -> None:
        with self._lock:
            self._put(container_id, kept)

    def _put(self, container_id: str, kept: Kept) -> None:
        if self._kept.get(container_id) != kept:
            self._kept[container_id] = kept
            self._save()

    def amend(self, container_id: str, before: Kept, after: Kept) -> None:
        """What a look found out, unless somebody has asked for other limits since it began."""
        with self._lock:
            if self._kept.get(container_id) is before:
                self._put(container_id, after)

    def forget(self, container_id: str) -> None:
        with self._lock:
            if self._kept.pop(container_id, None) is not None:
                self._save()

    def links(self) -> list[tuple[str, int]]:
        return [pair for kept in self._kept.values() for pair in kept.links.items()]

    def only(self, container_ids: Iterable[str]) -> None:
        """Forget all others: they were removed while nobody looked."""
        known = set(container_ids)
        for container_id in [one for one in self._kept if one not in known]:
            self.forget(container_id)

    def _save(self) -> None:
        self._all.version += 1
        try:
            state_file.write(self._path, msgspec.json.encode(self._all))
        except OSError as error:
            _log.warning("%s can't be written: %s", self._path, error)
