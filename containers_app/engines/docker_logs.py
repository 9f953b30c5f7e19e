"""The logs of Docker's containers. The daemon keeps a time with each line, to the nanosecond: that is where one goes on.

Podman tells whole seconds only: there one goes on at the newest second, behind as many of its lines as have been told.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ..errors import InvalidInput
from .base import LogQuery, LogText
from .docker_client import DockerClient

MAX_LOG = 1 << 20  # bytes that are handed on
MAX_TAIL = 10_000  # lines
_CURSOR = re.compile(r"([0-9]{1,11}\.[0-9]{9})(?:\+([0-9]{1,9}))?", re.ASCII)


class _Line(NamedTuple):
    """Times as the daemon writes them: the line's, and that of its last part."""

    stamp: str
    text: bytes
    last: str


async def read(client: DockerClient, container: str, query: LogQuery) -> LogText:
    """Of both streams. The last ``tail`` lines, or those behind an earlier answer's ``next``; at most 1 MiB, the newest."""
    cursor = _CURSOR.fullmatch(query.after)
    if query.after and not cursor:
        raise InvalidInput("after is the “next” of an earlier answer.", hint="Leave it out to begin with the last lines.")

    async def ask(since: str, tail: int | str = "all") -> list[_Line]:
        return await client.call(lambda sdk: _ask(sdk, container, since, tail))

    if cursor:
        found = await ask(cursor[1])
        new = found[int(cursor[2] or 0) :]
    else:
        tail = max(0, min(query.tail, MAX_TAIL))
        new = found = await ask(f"{query.since:.9f}" if query.since else "", tail)
        if found and not _exact(found):  # those of the newest second must be counted
            newest = found[-1].stamp
            found = await ask(_written(_nanoseconds(newest)))
            new = ([line for line in new if line.stamp < newest] + found)[-tail:]
    text = b"".join(line.stamp.encode() + b" " + line.text if query.timestamps else line.text for line in new)
    if len(text) > MAX_LOG:
        text = text[-MAX_LOG:].partition(b"\n")[2]
    return LogText(text.decode(errors="replace"), _next(found) or query.after)


def _ask(sdk: Any, container: str, since: str, tail: int | str) -> list[_Line]:
    """In a thread. The SDK's own ``logs`` takes no fractions of a second."""
    params = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": tail} | ({"since": since} if since else {})
    answer = sdk._result(sdk._get(sdk._url("/containers/{0}/logs", container), params=params), binary=True)
    return parse(answer, tty=sdk._check_is_tty(container))


def parse(answer: bytes, *, tty: bool) -> list[_Line]:
    """An answer with time stamps → its lines, which end at a line feed alone: a carriage return is part of what was written.

    The daemon cuts long lines, and stamps each part. What comes without a stamp, or behind a part of the same stream that has
    no line feed, goes on. A terminal's answer has no frames, so parts of its lines can't be told from lines.
    """
    found: list[_Line] = []
    unended: dict[int, int] = {}  # stream → which line of it goes on
    for stream, payload in [(1, answer)] if tty else _frames(answer):
        *whole, rest = payload.split(b"\n")
        for piece in [*(part + b"\n" for part in whole), *filter(None, [rest])]:
            first, _, text = piece.partition(b" ")
            stamp = first.decode(errors="replace")
            if not _nanoseconds(stamp):
                stamp, text = "", piece
            if stream in unended:
                begun = found[unended[stream]]
                found[unended[stream]] = _Line(begun.stamp, begun.text + text, stamp or begun.last)
            elif stamp:
                unended[stream] = len(found)
                found.append(_Line(stamp, text, stamp))
            if text.endswith(b"\n"):
                unended.pop(stream, None)
    return found


def _frames(answer: bytes) -> Iterator[tuple[int, bytes]]:
    """(stream, payload): eight bytes before each, its number first and its length last (Docker Engine API, attach)."""
    at = 0
    while at + 8 <= len(answer):
        stream, length = struct.unpack_from(">BxxxL", answer, at)
        yield stream, answer[at + 8 : at + 8 + length]
        at += 8 + length


def _exact(found: list[_Line]) -> bool:
    return any("." in line.stamp for line in found)


def _next(found: list[_Line]) -> str:
    """Right behind the newest of them; "" when there is none."""
    newest = max((_nanoseconds(line.last) for line in found), default=0)
    if not newest or _exact(found):
        return _written(newest + 1) if newest else ""
    return f"{_written(newest)}+{sum(_nanoseconds(line.last) == newest for line in found)}"


def _written(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"


def _nanoseconds(stamp: str) -> int:
    """RFC 3339 with up to nine decimals, always UTC → nanoseconds since 1970; 0 when it is none."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    try:
        return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)
    except ValueError:
        return 0
