"""Reading a sandbox's log, which its program writes straight into a file and the keeper bounds and marks (kernel/logs.py)."""

from __future__ import annotations

import bisect
import codecs
import os
from datetime import UTC, datetime

from ..errors import InvalidInput
from ..kernel.logs import read_marks
from .base import LogQuery, LogText

MAX_LOG_READ = 4 << 20  # bytes at a time


def read(path: str, query: LogQuery) -> LogText:
    """The last lines, or what came behind an earlier answer's ``next``: then oldest first, whole, in as many goes as it takes."""
    base, marks = read_marks(path)
    data, start, written = _bytes(path, base, _offset(query.after) if query.after else None)
    whole = _decodable(data)
    end = start + whole
    lines = data[:whole].decode(errors="replace").splitlines(keepends=True) if not (query.timestamps or query.since) else []
    if query.timestamps or query.since:
        marks = read_marks(f"{path}.1")[1] + marks
        lines = _with_times(data[:whole], start, marks, written, query)
    if not query.after:
        lines = lines[-query.tail :] if query.tail else []
    return LogText("".join(lines), str(end))


def _offset(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidInput("after is the “next” of an earlier answer.", hint="Leave it out to begin with the last lines.")
    return int(cursor)


def _bytes(path: str, base: int, after: int | None) -> tuple[bytes, int, float]:
    """(bytes, the offset of the first one, time of the last write): of the log before and this one, as if they were one file."""
    before = _size(f"{path}.1")
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return b"", 0, 0.0
    size, first = found.st_size, base - before
    if after is None or not first <= after <= base + size:  # what it was has gone since
        after = max(first, base + size - MAX_LOG_READ)
    data, room = b"", MAX_LOG_READ
    for name, begin, length in ((f"{path}.1", first, before), (path, base, size)):
        skip = max(0, after - begin)
        if skip < length and room > 0:
            part = _part(name, skip, min(length - skip, room))
            data, room = data + part, room - len(part)
    return data, after, found.st_mtime


def _part(path: str, offset: int, length: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)
    except FileNotFoundError:
        return b""


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _decodable(data: bytes) -> int:
    """How many bytes there are without a last character of which only a part has been written or read yet."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-4:])
    return len(data) - len(decoder.getstate()[0])


def _with_times(data: bytes, start: int, marks: list[tuple[int, float]], written: float, query: LogQuery) -> list[str]:
    """Each line behind its time, as far as it is not older than ``since``; what goes on a line begun earlier has none."""
    offsets = [offset for offset, _ in marks]
    lines, end = [], start
    for line in data.splitlines(keepends=True):
        end += len(line)
        mark = bisect.bisect_left(offsets, end)
        at = marks[mark][1] if mark < len(marks) else written
        if query.since and at < query.since:
            continue
        shown = f"{_rfc3339(at)} " if query.timestamps else ""
        lines.append(shown + line.decode(errors="replace"))
    return lines


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
