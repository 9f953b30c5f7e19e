"""The logs of Docker's containers. The daemon keeps a time with each line, to the nanosecond: that is where one goes on.

Podman tells whole seconds only: there one goes on at the newest second, behind as many of its lines as have been told.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from ..errors import InvalidInput
from .base import LogQuery, LogText
from .docker_client import DockerClient

MAX_LOG = 1 << 20  # bytes that are handed on
MAX_TAIL = 10_000  # lines
_CURSOR = re.compile(r"([0-9]{1,11}\.[0-9]{9})(?:\+([0-9]{1,9}))?", re.ASCII)
_Lines = list[tuple[str, str]]  # (time as the daemon writes it, text), in its order


async def read(client: DockerClient, container: str, query: LogQuery) -> LogText:
    """Of both streams. The last ``tail`` lines, or those behind an earlier answer's ``next``; at most 1 MiB, the newest."""
    cursor = _CURSOR.fullmatch(query.after)
    if query.after and not cursor:
        raise InvalidInput("after is the “next” of an earlier answer.", hint="Leave it out to begin with the last lines.")

    async def ask(since: str, tail: int | str = "all") -> _Lines:
        return await client.call(lambda sdk: _ask(sdk, container, since, tail))

    if cursor:
        found = await ask(cursor[1])
        new = found[int(cursor[2] or 0) :]
    else:
        tail = max(0, min(query.tail, MAX_TAIL))
        new = found = await ask(f"{query.since:.9f}" if query.since else "", tail)
        if found and not _exact(found):  # those of the newest second must be counted
            newest = found[-1][0]
            found = await ask(_written(_nanoseconds(newest)))
            new = ([line for line in new if line[0] < newest] + found)[-tail:]
    text = "".join(f"{stamp} {line}" if query.timestamps else line for stamp, line in new).encode()
    if len(text) > MAX_LOG:
        text = text[-MAX_LOG:].partition(b"\n")[2]
    return LogText(text.decode(errors="replace"), _next(found) or query.after)


def _ask(sdk: Any, container: str, since: str, tail: int | str) -> _Lines:
    """In a thread. The SDK's own ``logs`` takes no fractions of a second."""
    params = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": tail} | ({"since": since} if since else {})
    answer = sdk._get_result(container, False, sdk._get(sdk._url("/containers/{0}/logs", container), params=params))
    lines = bytes(answer).decode(errors="replace").splitlines(keepends=True)
    return [(stamp, text) for stamp, _, text in (line.partition(" ") for line in lines) if _nanoseconds(stamp)]


def _exact(found: _Lines) -> bool:
    return any("." in stamp for stamp, _ in found)


def _next(found: _Lines) -> str:
    """Right behind the newest of them; "" when there is none."""
    newest = max((_nanoseconds(stamp) for stamp, _ in found), default=0)
    if not newest or _exact(found):
        return _written(newest + 1) if newest else ""
    return f"{_written(newest)}+{sum(_nanoseconds(stamp) == newest for stamp, _ in found)}"


def _written(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"


def _nanoseconds(stamp: str) -> int:
    """RFC 3339 with up to nine decimals, always UTC → nanoseconds since 1970; 0 when it is none."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    try:
        return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)
    except ValueError:
        return 0
