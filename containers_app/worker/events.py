"""The activity log: the newest events in memory, and as JSON lines in a file that survives restarts and full disks.

What is beyond the number kept goes at the expense of whoever has most events: a user's containers together, and each that
nobody owns, have a share of their own, so that nobody's traffic pushes out what happened to others.
The file grows to twice what is kept and is then rewritten beside itself and renamed, so that there is a whole one at
any moment. A line cut short by a crash is skipped. A disk that refuses loses lines in the file, not events on screen.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections import OrderedDict
from pathlib import Path

import msgspec

from .protocol import Event

KEEP = 2000  # events; about 250 bytes each
MAX_DETAIL = 500  # characters

_log = logging.getLogger(__name__)


class EventLog:
    """Not thread-safe: one event loop owns it. ``path``'s directory must exist."""

    def __init__(self, path: Path, node: str, keep: int = KEEP) -> None:
        self._path = path
        self._node = node
        self._keep = keep
        self._events: dict[int, Event] = {}  # by sequence, oldest first
        self._shares: dict[str, OrderedDict[int, None]] = {}  # whose they are → sequences, oldest first
        self.last_sequence = 0
        self._lines = 0  # in the file
        self._descriptor = -1
        self._failing = False
        self._load()

    def _load(self) -> None:
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("events: %s can't be read: %s", self._path, error)
            return
        decoder = msgspec.json.Decoder(Event)
        for line in lines:
            self._lines += 1
            try:
                event = decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # cut short by a crash or a full disk, or the empty end
            if event.sequence > self.last_sequence:
                self._keep_one(event)
        if lines and lines[-1]:
            self._lines = 2 * self._keep + 1  # no line end: rewrite before anything is appended to half a line

    def record(
        self, container: str, name: str, engine: str, action: str, detail: str = "", when: float | None = None, *,
        owner: str = "", replaces: int = 0,
    ) -> Event:  # fmt: skip
        """Append one event; ``when`` in Unix seconds, now if None."""
        event = Event(
            sequence=self.last_sequence + 1,
            time=time.time() if when is None else when,
            node=self._node,
            container=container,
            name=name,
            engine=engine,
            action=action,
            detail=detail[:MAX_DETAIL],
            owner=owner,
            replaces=replaces,
        )
        self._keep_one(event)
        try:
            self._write(event)
        except OSError as error:
            if not self._failing:
                _log.warning("events: can't write %s: %s; the newest stay in memory only", self._path, error)
            self._failing = True
        return event

    def _keep_one(self, event: Event) -> None:
        self.last_sequence = event.sequence
        if event.replaces in self._events:
            self._drop(event.replaces)
        self._events[event.sequence] = event
        self._shares.setdefault(_whose(event), OrderedDict())[event.sequence] = None
        if len(self._events) > self._keep:
            largest = max(self._shares.values(), key=len)
            self._drop(next(iter(largest)))

    def _drop(self, sequence: int) -> None:
        whose = _whose(self._events.pop(sequence))
        del self._shares[whose][sequence]
        if not self._shares[whose]:
            del self._shares[whose]

    def after(self, sequence: int, limit: int, container: str = "", owner: str = "") -> list[Event]:
        """The newest ``limit`` events past ``sequence``, oldest first: of one container, of one owner's, or of all ("")."""
        past = itertools.takewhile(lambda event: event.sequence > sequence, reversed(self._events.values()))
        wanted = (event for event in past if container in ("", event.container) and owner in ("", event.owner))
        return list(itertools.islice(wanted, max(limit, 0)))[::-1]

    def last_actions(self) -> dict[str, Event]:
        """The newest event of each container, by id."""
        return {event.container: event for event in self._events.values()}

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, event: Event) -> None:
        if self._failing or self._lines >= 2 * self._keep:
            self._rotate()  # also after a failure, which may have left half a line
            self._failing = False
            return
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        line = msgspec.json.encode(event) + b"\n"
        if os.write(self._descriptor, line) != len(line):
            raise OSError(28, "written only in part")  # ENOSPC; the next write rewrites the file
        self._lines += 1

    def _rotate(self) -> None:
        self.close()
        temporary = self._path.with_name(self._path.name + ".new")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(b"".join(msgspec.json.encode(event) + b"\n" for event in self._events.values()))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._path)
        self._lines = len(self._events)


def _whose(event: Event) -> str:
    return f"owner {event.owner}" if event.owner else event.container
