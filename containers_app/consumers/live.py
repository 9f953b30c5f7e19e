"""/ws/live/: containers, their numbers and events as they come.

    worker ─▶ mirror ─▶ each LiveSocket's _told(): remembers what is due, wakes its sender
                         sender: still logged in? browser keeps up? ─▶ one frame of each kind, the newest

What is due is a set of ids, one stats frame and a few events, so a slow browser costs no memory and gets the latest. A list
that is too long for one frame (frames.PIECE) comes in several, and the numbers between them. The channel layer, which copies
every message for every viewer, is not used: frames are shared.

A plain ASGI application rather than a Channels consumer: those visit a database thread on every message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
from django.conf import settings

from .. import mirror, services, visitors
from ..errors import TerrariumError
from ..spec import parse_limits
from ..visitors import Visitor
from ..worker.client import LinkChanged
from ..worker.protocol import TOPICS, ContainersChanged, Event, Job, StatsFrame
from . import frames
from .admission import LOGGED_OUT, Scope, admit
from .flow import Flow

MOST_EVENTS = 200  # held for a browser that does not keep up; the activity page asks the API for older ones
BAD_MESSAGE = 4400

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)
_shared = frames.FrameCache()


class _Subscribe(msgspec.Struct, tag="subscribe", frozen=True):
    topics: tuple[str, ...] = ()


class _UpdateLimits(msgspec.Struct, tag="update_limits", frozen=True):
    """As PATCH /containers/{id}/limits, without its request line: a slider under somebody's hand. Answered with a "reply"."""

    request: int  # the sender's own number, which the reply has too
    id: str
    limits: dict[str, Any]


_decoder = msgspec.json.Decoder(_Subscribe | _UpdateLimits)


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    await receive()  # websocket.connect
    visitor = await admit(scope)
    if visitor is None:
        await refuse(send)
        return
    await send({"type": "websocket.accept"})
    await LiveSocket(visitor, send).run(receive)


async def refuse(send: Send, code: int = LOGGED_OUT) -> None:
    """Accept and close: a browser is told the code only of a socket that was open."""
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": code})


class LiveSocket:
    def __init__(self, visitor: Visitor, send: Send) -> None:
        self._visitor = visitor
        self._send = send
        self._flow = Flow(send)
        self._mirror = mirror.current()
        self._topics: frozenset[str] = frozenset()
        self._wake = asyncio.Event()
        self._ended = False
        self._reset = False
        self._changed: set[str] = set()
        self._stats: StatsFrame | None = None
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._jobs: dict[str, Job] = {}  # the newest of each that is due
        self._worker: bool | None = None

    async def run(self, receive: Receive) -> None:
        leave = visitors.watch(self._visitor, self._end)
        self._flow.begin()
        sender = asyncio.create_task(self._send_due(), name="live socket")
        try:
            await self._send({"type": "websocket.send", "text": frames.hello(self._visitor, settings.TERRARIUM_NODE)})
            while (message := await receive())["type"] == "websocket.receive":
                code = await self._serve(message.get("text") or "")
                if code:
                    await self._send({"type": "websocket.close", "code": code})
                    break
        finally:
            self._mirror.leave(self._told)
            leave()
            self._flow.end()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _serve(self, text: str) -> int:
        """One message; 0, or the code to close with. The next one waits, so that the last of a slider's values is the last."""
        try:
            message = _decoder.decode(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return BAD_MESSAGE
        if isinstance(message, _Subscribe):
            return 0 if self._subscribe(frozenset(message.topics)) else BAD_MESSAGE
        if not await self._still_admitted():
            return LOGGED_OUT
        await self._frame(await self._update_limits(message))
        return 0

    async def _update_limits(self, message: _UpdateLimits) -> str:
        try:
            readings = await services.update_limits(self._visitor, message.id, parse_limits(message.limits))
        except TerrariumError as error:
            return frames.refusal(message.request, error)
        return frames.reply(message.request, {name: readings[name] for name in message.limits})

    def _subscribe(self, wanted: frozenset[str]) -> bool:
        """The topics replace those asked for before; "containers" begins with all of them. False for what is no topic."""
        if not wanted <= set(TOPICS):
            return False
        new, self._topics = wanted - self._topics, wanted
        if "containers" in new:
            self._reset = True
            self._worker = None if self._mirror.up else False
        if "stats" in new:
            self._stats = self._mirror.latest_stats
        self._mirror.listen(self._told, stats="stats" in wanted)
        self._wake.set()
        return True

    def _told(self, message: mirror.Message) -> None:
        if isinstance(message, StatsFrame):
            self._stats = message
        elif isinstance(message, ContainersChanged):
            if "containers" not in self._topics:
                return
            if message.reset:
                self._reset = True
            self._changed.update(mirror.ids_of(message))
        elif isinstance(message, Event):
            if "events" not in self._topics:
                return
            self._events.append(message)
        elif isinstance(message, Job):
            if "jobs" not in self._topics:
                return
            self._jobs[message.id] = message
        elif isinstance(message, LinkChanged):
            self._worker = message.up
        self._wake.set()

    def _end(self) -> None:
        self._ended = True
        self._wake.set()

    async def _send_due(self) -> None:
        try:
            while True:
                await self._wake.wait()
                await self._flow.wait()
                self._wake.clear()
                if self._ended or not await self._still_admitted():
                    await self._send({"type": "websocket.close", "code": LOGGED_OUT})
                    return
                await self._send_all()
        except Exception:
            _log.exception("a live websocket failed")
            await self._send({"type": "websocket.close", "code": 1011})

    async def _still_admitted(self) -> bool:
        """Asked on each event; the answer is at most visitors.KEEP seconds old. A changed role shows other containers."""
        now = await visitors.again(self._visitor)
        if now is None or now.must_change_password:
            return False
        if now.audience != self._visitor.audience:
            self._reset = "containers" in self._topics
        self._visitor = replace(now, address=self._visitor.address)
        return True

    async def _send_all(self) -> None:
        if self._worker is not None:
            up, self._worker = self._worker, None
            await self._frame(frames.worker(up))
        if self._reset:
            if not await self._mirror.ready():
                return  # no list yet: the mirror tells when there is one
            self._reset = False
            text, rest = frames.all_containers(self._visitor)
            self._changed = set(rest)
            await self._frame(text)
        elif self._changed:
            text, rest = frames.changed_containers(self._visitor, self._changed)
            self._changed = set(rest)
            await self._frame(text)
        while self._events:
            await self._frame(_shared.of(self._events.popleft(), self._visitor))
        while self._jobs:
            await self._frame(_shared.of(self._jobs.pop(next(iter(self._jobs))), self._visitor))
        if self._stats is not None:
            newest, self._stats = self._stats, None
            await self._frame(_shared.of(newest, self._visitor))
        if self._changed:
            self._wake.set()

    async def _frame(self, text: str) -> None:
        if text:
            await self._flow.wait()
            await self._send({"type": "websocket.send", "text": text})
