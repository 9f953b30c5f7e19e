"""/ws/terminal/{session}/: a browser on a terminal session. Binary frames are bytes, text frames are JSON.

    browser → {"type":"resize","rows","columns"}   {"type":"ack","bytes": rendered since the socket opened}   bytes: typed
    server  → {"type":"ready","rows","columns"}    {"type":"exit","reason"}                                   bytes: output

The session (worker/terminals.py) holds the pty, replays what was shown and waits for acknowledgements. A browser's word for
those is taken only as far as its connection has taken the bytes (flow.py): what waits for it here is at most a window.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from .. import terminal_services, visitors
from ..errors import TerrariumError
from ..visitors import Visitor
from ..worker import terminals
from .admission import LOGGED_OUT, NOT_FOUND, Scope, admit
from .flow import Flow
from .live import BAD_MESSAGE, Receive, Send, refuse

CHECK = 5.0  # seconds between looks whether the visitor may still be here
MOST_FAILED = 3  # such looks in a row, after which nobody may stay on trust
INPUT_FULL = 4413  # close code: the program does not read what is typed
ENDED = 1000
UNKNOWN = 1011  # whether the visitor may be here can't be told; the browser tries again

_log = logging.getLogger(__name__)


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
    key = scope["url_route"]["kwargs"]["session"]
    try:
        session = terminal_services.find_terminal(visitor, key)
    except TerrariumError:
        await refuse(send, NOT_FOUND)
        return
    await send({"type": "websocket.accept"})
    await TerminalSocket(visitor, session, key, send).run(receive)


class TerminalSocket:
    """A viewer of one session. What the session tells is put in order by a queue, whose length the session bounds."""

    def __init__(self, visitor: Visitor, session: terminals.TerminalSession, key: str, send: Send) -> None:
        self._visitor = visitor
        self._session = session
        self._key = key
        self._send = send
        self._flow = Flow(send)
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._handed_over = 0  # bytes of output
        self._ended = False

    def output(self, data: bytes) -> None:
        self._queue.put_nowait({"type": "websocket.send", "bytes": data})

    def exited(self, reason: str) -> None:
        self._queue.put_nowait(_text({"type": "exit", "reason": reason}))
        self._queue.put_nowait({"type": "websocket.close", "code": ENDED})

    async def run(self, receive: Receive) -> None:
        leave = visitors.watch(self._visitor, self._end)
        self._flow.begin()
        tasks = [asyncio.create_task(self._send_queued()), asyncio.create_task(self._check())]
        try:
            self._queue.put_nowait(_text({"type": "ready", "rows": self._session.rows, "columns": self._session.columns}))
            self._session.attach(self)
            while (message := await receive())["type"] == "websocket.receive":
                if self._ended:
                    continue
                data = message.get("bytes")
                code = self._type(data) if data is not None else self._control(message.get("text") or "")
                if code:
                    self._end(code)
        finally:
            self._session.detach(self)
            leave()
            self._flow.end()
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
            self._session.acknowledge(self, min(message.bytes, self._handed_over))
        return 0

    def _end(self, code: int = LOGGED_OUT) -> None:
        """At once: a browser that takes nothing can't hold that up, and what it sends from now on counts for nothing."""
        if not self._ended:
            self._ended = True
            self._session.detach(self)
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait({"type": "websocket.close", "code": code})
            self._flow.stopProducing()

    async def _send_queued(self) -> None:
        while True:
            message = await self._queue.get()
            if message["type"] == "websocket.close":
                return await self._send(message)
            await self._flow.wait()
            if not self._ended:
                await self._send(message)
                self._handed_over += len(message.get("bytes") or b"")

    async def _check(self) -> None:
        """Log-out and loss of role end the session, also when they happen in another web process."""
        failed = 0
        while True:
            await asyncio.sleep(CHECK)
            try:
                visitor = await visitors.again(self._visitor)
            except Exception:
                _log.exception("whether a terminal's visitor may stay could not be told")
                failed += 1
                if failed == MOST_FAILED:
                    return self._end(UNKNOWN)
                continue
            failed = 0
            if visitor is None:
                self._end()
                return terminals.table().close_for_session_key(self._visitor.session)
            try:
                terminal_services.find_terminal(visitor, self._key)
            except TerrariumError:
                return None  # the session has told its viewers why it was closed


def _text(message: dict[str, Any]) -> dict[str, Any]:
    return {"type": "websocket.send", "text": msgspec.json.encode(message).decode()}
