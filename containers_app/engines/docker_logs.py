"""The logs of Docker's containers. The daemon keeps a time with each line, to the nanosecond: that is where one goes on."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from ..errors import InvalidInput
from .base import LogQuery, LogText
from .docker_client import DockerClient

MAX_LOG = 1 << 20  # bytes that are handed on
MAX_TAIL = 10_000  # lines
_CURSOR = re.compile(r"[0-9]{1,11}\.[0-9]{9}", re.ASCII)


async def read(client: DockerClient, container: str, query: LogQuery) -> LogText:
    """Of both streams. The last ``tail`` lines, or those behind an earlier answer's ``next``; at most 1 MiB, the newest."""
    if query.after and not _CURSOR.fullmatch(query.after):
        raise InvalidInput("after is the “next” of an earlier answer.", hint="Leave it out to begin with the last lines.")
    tail: int | str = "all" if query.after else max(0, min(query.tail, MAX_TAIL))
    since = query.after or (f"{query.since:.9f}" if query.since else None)
    # The SDK's own ``logs`` takes no fractions of a second.
    params = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": tail} | ({"since": since} if since else {})

    def ask(sdk: Any) -> bytes:
        answer = sdk._get(sdk._url("/containers/{0}/logs", container), params=params)
        return bytes(sdk._get_result(container, False, answer))

    lines = (await client.call(ask))[-MAX_LOG:].decode(errors="replace").splitlines(keepends=True)
    stamped = [(stamp, text) for stamp, _, text in (line.partition(" ") for line in lines) if _nanoseconds(stamp)]
    newest = max((_nanoseconds(stamp) for stamp, _ in stamped), default=0)
    following = f"{(newest + 1) // 10**9}.{(newest + 1) % 10**9:09}" if newest else query.after
    return LogText("".join(f"{stamp} {text}" if query.timestamps else text for stamp, text in stamped), following)


def _nanoseconds(stamp: str) -> int:
    """RFC 3339 with up to nine decimals, always UTC → nanoseconds since 1970; 0 when it is none."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    try:
        return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)
    except ValueError:
        return 0
