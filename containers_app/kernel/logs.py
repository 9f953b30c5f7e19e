"""The sandboxes' logs: bounded, and marked with times. Standard library only; the keeper runs this.

A program writes its output straight into a file, with nobody in between. So that a line still has a time, the keeper looks at
each log once a second, and where it has grown writes down (offset of its end, time of its last write) into a file beside it.
A line's time is that of the first mark behind it: never too early, and late by less than a second, or by as long as no keeper
ran. A program that writes less often than once a second is marked to the kernel's own precision (a few milliseconds).

Offsets count from the first byte that the sandbox ever wrote. LOG.times begins with a record (offset of the log's first byte, 0).
"""

from __future__ import annotations

import contextlib
import os
import struct

LOOK_SECONDS = 1.0
LOG_BOUND = 16 << 20  # bytes; past it the log moves to LOG.1, in the place of the one before, and begins anew
MOST_MARKS = 65536  # past it every other one is let go: what is long ago is known less precisely
MARK = struct.Struct("<Qd")


class Logs:
    """``data``: the logs of sandboxes that an earlier keeper started are looked after too."""

    def __init__(self, data: str) -> None:
        self._known: dict[str, tuple[int, int]] = {}  # path → (offset of its first byte, size when last looked at)
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(f"{data}/sandboxes"):
                if os.path.exists(f"{entry.path}/log"):
                    self.watch(f"{entry.path}/log")

    def watch(self, path: str) -> None:
        if path not in self._known:
            self._known[path] = _last_known(path)

    def look(self) -> None:
        for path in list(self._known):
            self.look_at(path)

    def forget(self, path: str) -> None:
        """Its program has ended: it grows no more. What it said last gets its time."""
        self.look_at(path)
        self._known.pop(path, None)

    def look_at(self, path: str) -> None:
        base, before = self._known.get(path, (0, 0))
        try:
            found = os.stat(path)
            if found.st_size < before:  # emptied by its own program
                base += before
                _rewrite_base(path, base)
            if found.st_size != before:
                _mark(path, base, base + found.st_size, found.st_mtime)
            size = found.st_size
            if size > LOG_BOUND:
                _rotate(path, size)
                base, size = base + size, 0
            self._known[path] = (base, size)
        except FileNotFoundError:
            self._known.pop(path, None)
        except OSError:
            pass  # a full disk: the lines' times are known less precisely


def read_marks(path: str) -> tuple[int, list[tuple[int, float]]]:
    """(offset of the log's first byte, [(offset, Unix seconds)] rising); (0, []) when it was never looked at."""
    try:
        with open(f"{path}.times", "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return 0, []
    rows = list(MARK.iter_unpack(data[: len(data) // MARK.size * MARK.size]))
    return (rows[0][0], rows[1:]) if rows else (0, [])


def _last_known(path: str) -> tuple[int, int]:
    base, marks = read_marks(path)
    return base, max(0, marks[-1][0] - base) if marks else 0


def _mark(path: str, base: int, end: int, at: float) -> None:
    fd = os.open(f"{path}.times", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        begin = b"" if size else MARK.pack(base, 0.0)
        os.write(fd, begin + MARK.pack(end, at))
    finally:
        os.close(fd)
    if size > MOST_MARKS * MARK.size:
        first, marks = read_marks(path)
        _write_marks(path, first, marks[1::2])


def _rewrite_base(path: str, base: int) -> None:
    _write_marks(path, base, read_marks(path)[1])


def _write_marks(path: str, base: int, marks: list[tuple[int, float]]) -> None:
    with open(f"{path}.times.new", "wb") as file:
        file.write(MARK.pack(base, 0.0) + b"".join(MARK.pack(*mark) for mark in marks))
    os.rename(f"{path}.times.new", f"{path}.times")


def _rotate(path: str, size: int) -> None:
    """Copy and truncate: the writers keep their descriptor, and O_APPEND takes them back to the start.

    At most the bound is copied: a program can make its own log as long as it likes by a single truncate(2).
    """
    with open(path, "r+b") as log, open(f"{path}.1", "wb") as previous:
        offset = size - LOG_BOUND
        while offset < size and (sent := os.sendfile(previous.fileno(), log.fileno(), offset, size - offset)):
            offset += sent
        log.truncate(0)
    base, marks = read_marks(path)
    _write_marks(f"{path}.1", base, marks)
    _write_marks(path, base + size, [])
