"""Does the browser keep up? Daphne buffers without bound for one that doesn't and never says so; its transport does.

The consumers then hold back what can be held back: only the newest numbers count, and changes can be merged.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Flow:
    """Twisted's push producer on the connection behind an ASGI ``send``; always open for other servers and in tests."""

    def __init__(self, send: Any) -> None:
        self._open = asyncio.Event()
        self._open.set()
        arguments = getattr(send, "args", ())  # daphne: partial(handle_reply, protocol)
        self._protocol = arguments[0] if arguments and hasattr(arguments[0], "registerProducer") else None

    def begin(self) -> None:
        """Once the socket is accepted."""
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.unregisterProducer()  # the HTTP channel that the websocket grew out of still has it
            self._protocol.registerProducer(self, True)

    def begin_answer(self) -> None:
        """Of a streamed HTTP answer, whose request is the producer's place."""
        if self._protocol is not None and self._protocol.channel is not None:
            self._protocol.registerProducer(self, True)

    def end(self) -> None:
        if self._protocol is not None and getattr(self._protocol, "transport", None) is not None:
            self._protocol.unregisterProducer()

    async def wait(self) -> None:
        """Until what was sent has mostly gone out (64 KiB of Twisted's buffer)."""
        await self._open.wait()

    def pauseProducing(self) -> None:
        self._open.clear()

    def resumeProducing(self) -> None:
        self._open.set()

    def stopProducing(self) -> None:
        self._open.set()
