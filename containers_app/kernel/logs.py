"""The sandboxes' logs: bounded, and marked with times. Standard library only; the keeper runs this.

A program writes its output straight into a file, with nobody in between. So that a line still has a time, the keeper looks at
each log once a second, and where it has grown writes down (offset of its end, time of its last write) into a file beside it.
A line's time is that of the first mark behind it: never too early, and late by less than a second, or by as long as no keeper
ran. A program that writes less often than once a second is marked to the kernel's own precision (a few milliseconds).

Offsets count from the first byte that the sandbox ever wrote. LOG.times begins with a record (offset of the log's first byte, 0).

A log past its bound is emptied, whatever becomes of what it said: on a disk that it has filled there is room neither for that nor
for the times of it. What a program has reserved and not written (fallocate(2)) is the log's too.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time

LOOK_SECONDS = 1.0
LOG_BOUND = 16 << 20  # bytes; past it the log's end moves to LOG.1, in the place of the one before, and it begins anew
KEEP_SECONDS = 5.0  # so long after that only a sixteenth of it does: one thread copies for all sandboxes, and forks for them too
FURTHEST = 1 << 59  # past it offsets begin anew: a program can make its log longer by 2^63 again and again
MOST_MARKS = 65536  # past it every other one is let go: what is long ago is known less precisely
MARK = struct.Struct("<Qd")


class Logs:
    """``data``: the logs of sandboxes that an earlier keeper started are looked after too."""

    def __init__(self, data: str) -> None:
        self._known: dict[str, tuple[int, int]] = {}  # path → (offset of its first byte, size when last looked at)
        self._moved: dict[str, float] = {}  # path → when it last moved to LOG.1, by the monotonic clock
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
        self._drop(path)

    def _drop(self, path: str) -> None:
        self._known.pop(path, None)
        self._moved.pop(path, None)

    def look_at(self, path: str) -> None:
        base, before = self._known.get(path, (0, 0))
        try:
            found = os.stat(path)
            size, emptied = found.st_size, found.st_size < before
            if emptied:  # by its own program
                base = _behind(base, before)
            if max(size, found.st_blocks * 512) > LOG_BOUND:
                _rotate(path, base, size, found.st_mtime, self._most_to_keep(path))
                base, size = _behind(base, size), 0
            else:
                if emptied:
                    _rewrite_base(path, base)
                if size != before:
                    _mark(path, base, base + size, found.st_mtime)
            self._known[path] = (base, size)
        except FileNotFoundError:
            self._drop(path)
        except OSError:
            pass  # a full disk: the lines' times are known less precisely

    def _most_to_keep(self, path: str) -> int:
        now, last = time.monotonic(), self._moved.get(path)
        self._moved[path] = now
        return LOG_BOUND if last is None or now - last >= KEEP_SECONDS else LOG_BOUND >> 4


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


def _rotate(path: str, base: int, size: int, at: float, most: int) -> None:
    """Copy and truncate: the writers keep their descriptor, and O_APPEND takes them back to the start.

    No more than the last ``most`` bytes are copied: a program can make its own log as long as it likes by a single truncate(2).
    """
    try:
        try:
            _copy_end(path, f"{path}.1", size, most)
        finally:
            os.truncate(path, 0)
        _write_marks(f"{path}.1", base, [*read_marks(path)[1], (base + size, at)])
        _write_marks(path, _behind(base, size), [])
    except OSError:  # a full disk: what is not all there, or without the offset behind it, would be told at wrong offsets
        for name in (f"{path}.1", f"{path}.1.times"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        _write_marks(path, _behind(base, size), [])


def _behind(base: int, size: int) -> int:
    """The offset of what comes next; never less than LOG.1 may hold."""
    return base + size if base + size < FURTHEST else LOG_BOUND


def _copy_end(path: str, target: str, size: int, most: int) -> None:
    with open(path, "rb") as log, open(target, "wb") as file:
        offset = max(0, size - most)
        while offset < size and (sent := os.sendfile(file.fileno(), log.fileno(), offset, size - offset)):
            offset += sent
