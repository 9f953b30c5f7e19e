"""Records that the disk would not take: what they say is known here and tells in the list, and is written once there is room.

A worker that is killed before that finds what was written last, and looks what has become of it (raw_recover.py): it knows
again what runs, and that a run has ended; how it ended only if the keeper could write that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from .raw_store import Record, Store

log = logging.getLogger(__name__)

AGAIN = 2.0  # seconds between attempts


class Unwritten:
    """``spawn`` runs a task that ends with the engine."""

    def __init__(self, store: Store, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._store, self._spawn = store, spawn
        self._records: dict[str, Record] = {}

    def save(self, record: Record) -> None:
        """Now, or once there is room. Never raises: what it says has happened."""
        try:
            self._store.save(record)
        except FileNotFoundError:  # its launch failed before it had a directory
            pass
        except OSError as error:
            log.warning("sandbox %s: its record can't be written yet: %s", record.id, error)
            if not self._records:
                self._spawn(self._save_again())
            self._records[record.id] = record

    async def _save_again(self) -> None:
        while self._records:
            await asyncio.sleep(AGAIN)
            self.save_now()

    def save_now(self) -> None:
        for record in list(self._records.values()):
            if record.phase == "starting":  # a launch is written when all of it is there
                continue
            try:
                self._store.save(record)
            except FileNotFoundError:  # it has been removed meanwhile
                del self._records[record.id]
            except OSError:
                return
            else:
                log.info("sandbox %s: its record is written", record.id)
                del self._records[record.id]
