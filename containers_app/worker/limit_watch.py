"""Changes of limits that came from outside: somebody wrote into a control group's files.

The kernel tells of no such write, so the files are read again and compared, each file once however many containers lie
below its group: 5 µs a file. Every 0.8 s while somebody watches, else every ten seconds; GET …/limits always reads anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from ..errors import TerrariumError
from ..kernel.cgroups import files

WATCHED, UNWATCHED = 0.8, 10.0  # seconds between two looks
_log = logging.getLogger(__name__)


class LimitFiles(Protocol):
    """What it needs of ``kernel.cgroups.Cgroups``."""

    def limit_files(self, paths: Mapping[str, str]) -> list[str]: ...


class LimitWatch:
    def __init__(self, cgroups: LimitFiles, changed: Callable[[str], None]) -> None:
        """``changed`` is called with the id of a container whose limits are not what they were."""
        self._cgroups, self._changed = cgroups, changed
        self._paths: dict[str, Mapping[str, str]] = {}
        self._files: dict[str, list[str]] = {}  # container → where its limits stand
        self._seen: dict[str, bytes | None] = {}  # file → what it held

    def track(self, container_id: str, paths: Mapping[str, str]) -> None:
        """Again for the same groups costs nothing. What it holds now counts as changed: nobody knows since when it does."""
        if self._paths.get(container_id) != paths:
            self._paths[container_id] = paths
            self._files[container_id] = self._cgroups.limit_files(paths)

    def forget(self, container_id: str) -> None:
        self._paths.pop(container_id, None)
        self._files.pop(container_id, None)

    async def look(self) -> None:
        watched = dict(self._files)
        before, self._seen = self._seen, await asyncio.to_thread(_read, watched)
        for container_id, paths in watched.items():
            if container_id in self._files and any(before.get(path) != self._seen[path] for path in paths):
                try:
                    self._changed(container_id)
                except TerrariumError:  # it has gone meanwhile
                    continue

    async def keep(self, watching: Callable[[], bool]) -> None:
        """For ever. ``watching``: does somebody look at this moment?"""
        waited = UNWATCHED
        while True:
            if watching() or waited >= UNWATCHED:
                waited = 0.0
                try:
                    await self.look()
                except Exception:
                    _log.exception("the limits can't be looked at")  # the next look is another chance
            await asyncio.sleep(WATCHED)
            waited += WATCHED


def _read(watched: Mapping[str, list[str]]) -> dict[str, bytes | None]:
    return {path: files.read_or_none(path) for path in {path for paths in watched.values() for path in paths}}
