"""Reading a log from the command line, to its end or for as long as there is more to come."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import datetime

from django.core.management.base import CommandError

from containers_app import services
from containers_app.visitors import Visitor
from containers_app.worker.protocol import LogQuery

PAUSE = 0.5  # seconds between looks at a log
_AGO = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def since(text: str) -> float:
    """ "15m", "2h" (ago) or an ISO date → Unix seconds; "" is 0, all."""
    if not text:
        return 0.0
    if ago := _AGO.fullmatch(text):
        return time.time() - float(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise CommandError(f"{text} is no time: write for example 15m, 2h or 2026-01-31T12:00.") from None


async def write_log(visitor: Visitor, container: str, query: LogQuery, follow: bool, write: Callable[[str], object]) -> None:
    """``follow``: until it has ended and all of it is written."""
    while True:
        ended = follow and (await services.get_container(visitor, container)).state not in ("running", "paused")
        answer = await services.read_logs(visitor, container, query)
        write(answer.text)
        if not follow or (ended and not answer.text):
            return
        if not answer.text:
            await asyncio.sleep(PAUSE)
        query = LogQuery(query.tail, answer.next, query.timestamps, query.since)
