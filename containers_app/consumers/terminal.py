"""/ws/terminal/{session}/: a browser on a terminal session. Binary frames are bytes, text frames are JSON.

    browser → {"type":"resize","rows","columns"}   {"type":"ack","bytes": rendered since the socket opened}   bytes: typed
    server  → {"type":"ready","rows","columns"}    {"type":"exit","reason"}                                   bytes: output

The session (worker/terminals.py) holds the pty, replays what was shown and waits for acknowledgements.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from .. import services, visitors
from ..errors import TerrariumError
from ..visitors import Visitor
from ..worker import terminals
from .admission import LOGGED_OUT, NOT_FOUND, Scope, admit
from .live import BAD_MESSAGE, Receive, Send, refuse

CHECK = 5.0  # seconds between looks whether the visitor may still be here
INPUT_FULL = 4413  # close code: the program does not read what is typed
ENDED = 1000


class _Resize(msgspec.Struct, tag="resize", frozen=True):
    rows: int
    columns: int


class _Acknowledge(msgspec.Struct, tag="ack", frozen=True):
    bytes: int


_decoder = msgspec.json.Decoder(_Resize | _Acknowledge)


async def terminal(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    await receive()  # websocket.connect
    visitor = await admit(scope)
    if visitor is None:
        await refuse(send)
        return
    try:
        session = terminals.table().get(scope["url_route"]["kwargs"]["session"], visitor.user_id)
    except TerrariumError:
        await refuse(send, NOT_FOUND)
        return
    holder = terminals.table().holder(scope["url_route"]["kwargs"]["session"])
    await send({"type": "websocket.accept"})
    await TerminalSocket(visitor, session, holder.container if holder else "", send).run(receive)


class TerminalSocket:
    """A viewer of one session. What the session tells is put in order by a queue, whose length the session bounds."""

    def __init__(self, visitor: Visitor, session: terminals.TerminalSession, container: str, send: Send) -> None:
        self._visitor = visitor
        self._session = session
        self._container = container
        self._send = send
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def output(self, data: bytes) -> None:
        self._queue.put_nowait({"type": "websocket.send", "bytes": data})

    def exited(self, reason: str) -> None:
        self._queue.put_nowait(_text({"type": "exit", "reason": reason}))
        self._queue.put_nowait({"type": "websocket.close", "code": ENDED})

    async def run(self, receive: Receive) -> None:
        leave = visitors.watch(self._visitor, self._end)
        tasks = [asyncio.create_task(self._send_queued()), asyncio.create_task(self._check())]
        try:
            self._queue.put_nowait(_text({"type": "ready", "rows": self._session.rows, "columns": self._session.columns}))
            self._session.attach(self)
            while (message := await receive())["type"] == "websocket.receive":
                data = message.get("bytes")
                code = self._type(data) if data is not None else self._control(message.get("text") or "")
                if code:
                    self._queue.put_nowait({"type": "websocket.close", "code": code})
        finally:
            self._session.detach(self)
            leave()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _type(self, data: bytes) -> int:
        return 0 if self._session.write(data) else INPUT_FULL

    def _control(self, text: str) -> int:
        try:
            message = _decoder.decode(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return BAD_MESSAGE
        if isinstance(message, _Resize):
            self._session.resize(message.rows, message.columns)
        else:
            self._session.acknowledge(self, message.bytes)
        return 0

    def _end(self) -> None:
        self._queue.put_nowait({"type": "websocket.close", "code": LOGGED_OUT})

    async def _send_queued(self) -> None:
        while True:
            message = await self._queue.get()
            await self._send(message)
            if message["type"] == "websocket.close":
                return

    async def _check(self) -> None:
        """Log-out and loss of role end it, also when they happen in another web process."""
        while True:
            await asyncio.sleep(CHECK)
            visitor = await visitors.again(self._visitor)
            if visitor is None or not await self._may_operate(visitor):
                self._end()
                return

    async def _may_operate(self, visitor: Visitor) -> bool:
        """True while it can't be found out (the worker is away): terminals outlive the worker."""
        if self._container and self._session.alive:
            with contextlib.suppress(TerrariumError):
                return await services.may_operate(visitor, self._container)
        return True


def _text(message: dict[str, Any]) -> dict[str, Any]:
    return {"type": "websocket.send", "text": msgspec.json.encode(message).decode()}
