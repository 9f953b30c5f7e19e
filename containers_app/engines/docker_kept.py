"""What was asked for through us, for each Docker container: a file, so that it outlives the worker as Docker's record does.

Docker's record has no words for some limits, and for "no limit" only numbers that mean as much. So a start gives a container
only what the record says; the rest is written to its cgroup again, once for each start, whoever ran meanwhile; unless the user
has asked that it ends with the run (``lasting``).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

import msgspec

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


class KeptLimits:
    """All of one daemon's. A file that can't be read is begun anew; one that can't be written is tried again with the next."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._kept: dict[str, Kept] = {}
        try:
            with open(path, "rb") as file:
                self._kept = msgspec.json.decode(file.read(), type=dict[str, Kept])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("%s can't be read, and is begun anew: %s", path, error)

    def get(self, container_id: str) -> Kept | None:
        return self._kept.get(container_id)

    def put(self, container_id: str, kept: Kept) -> None:
        if self._kept.get(container_id) != kept:
            self._kept[container_id] = kept
            self._save()

    def amend(self, container_id: str, before: Kept, after: Kept) -> None:
        """What a look found out, unless somebody has asked for other limits since it began."""
        if self._kept.get(container_id) is before:
            self.put(container_id, after)

    def forget(self, container_id: str) -> None:
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
        try:
            with open(self._path + ".new", "wb") as file:
                file.write(msgspec.json.encode(self._kept))
            os.rename(self._path + ".new", self._path)
        except OSError as error:
            _log.warning("%s can't be written: %s", self._path, error)
