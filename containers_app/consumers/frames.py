"""The live websocket's frames. Each is encoded once for all viewers who may see the same (``Visitor.audience``).

What one audience sees differs only in which containers are in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .. import mirror, services
from ..errors import TerrariumError
from ..spec import LimitReading
from ..visitors import Visitor
from ..worker.protocol import Container, Event, Job, Stats, StatsFrame

COLUMNS = Stats.__struct_fields__
PIECE = 1 << 18  # bytes of containers in one frame: daphne sends none of more than 1 MiB
_encode = msgspec.json.Encoder().encode


class FrameCache:
    """The frames of the newest message, by audience. A new message empties it."""

    def __init__(self) -> None:
        self._message: object = None
        self._frames: dict[str, str] = {}

    def of(self, message: Any, visitor: Visitor) -> str:
        """ "" when the visitor may see nothing of it."""
        if message is not self._message:
            self._message, self._frames = message, {}
        frame = self._frames.get(visitor.audience)
        if frame is None:
            frame = self._frames[visitor.audience] = _encoded(message, visitor)
        return frame


def _encoded(message: Any, visitor: Visitor) -> str:
    if isinstance(message, StatsFrame):
        return stats(message, visitor)
    return job(message, visitor) if isinstance(message, Job) else event(message, visitor)


def hello(visitor: Visitor, node: str) -> str:
    return _text({"type": "hello", "node": node, "user": visitor.username})


def reply(request: int, limits: dict[str, LimitReading]) -> str:
    return _text({"type": "reply", "request": request, "limits": limits})


def refusal(request: int, error: TerrariumError) -> str:
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return _text({"type": "reply", "request": request, "error": told})


def worker(up: bool) -> str:
    return _text({"type": "worker", "up": up})


def all_containers(visitor: Visitor) -> tuple[str, list[str]]:
    """(the list's first frame, ids of what is in none yet). It tells all ids, so that the browser drops what is gone."""
    seen = {one.id: one for one in mirror.current().all() if services.may_see(visitor, one)}
    items, rest = _items(seen.values())
    frame = '{"type":"containers","reset":true,"ids":' + _text(list(seen)) + ',"items":[' + items + '],"removed":[]}'
    return frame, rest


def changed_containers(visitor: Visitor, ids: Iterable[str]) -> tuple[str, list[str]]:
    """(a frame of those of ``ids`` that there are and those that are gone, ids of what is not in it).

    The frame is "" when the visitor may see none of them.
    """
    known = mirror.current()
    present: list[Container] = []
    removed: list[str] = []
    for container_id in ids:
        container = known.get(container_id)
        if container is None:
            if services.may_see_owner(visitor, known.owner(container_id)):
                removed.append(container_id)
        elif services.may_see(visitor, container):
            present.append(container)
    if not present and not removed:
        return "", []
    items, rest = _items(present)
    return '{"type":"containers","items":[' + items + '],"removed":' + _text(removed) + "}", rest


def stats(frame: StatsFrame, visitor: Visitor) -> str:
    rows = frame.rows
    if not visitor.is_staff:
        rows = {key: row for key, row in rows.items() if services.may_see_owner(visitor, mirror.current().owner(key))}
    return _text({"type": "stats", "time": frame.time, "host": frame.host, "columns": COLUMNS, "rows": rows})


def event(happened: Event, visitor: Visitor) -> str:
    if not services.may_see_event(visitor, happened):
        return ""
    return _text({"type": "event", **msgspec.structs.asdict(happened)})


def job(under_way: Job, visitor: Visitor) -> str:
    if not services.may_see_owner(visitor, under_way.owner):
        return ""
    return _text({"type": "job", "job": under_way})


def _items(containers: Iterable[Container]) -> tuple[str, list[str]]:
    """(as many as a frame should hold, ids of the others)."""
    following = iter(containers)
    items: list[bytes] = []
    room = PIECE
    for container in following:
        encoded = _bounded(container)
        room -= len(encoded)
        if room < 0 and items:
            return b",".join(items).decode(), [container.id, *(other.id for other in following)]
        items.append(encoded)
    return b",".join(items).decode(), []


def _bounded(container: Container) -> bytes:
    """One that is larger than a frame (of before labels had a bound) is told without what makes it so; the API has that."""
    encoded = mirror.current().encoded(container)
    if len(encoded) > PIECE:
        encoded = msgspec.json.encode(msgspec.structs.replace(container, command=(), labels={}, ports=()))
    return encoded


def _text(value: object) -> str:
    return _encode(value).decode()
