"""Refuses request bodies over the bound as they come, before anything of them is kept.

Twisted takes in the whole body before Daphne calls the application, and puts a larger one into a file below /tmp, which one
visitor could fill for all. So the bound stands where the bytes arrive, and what is within it stays in memory.
"""

from __future__ import annotations

import asyncio
import io
import json

from daphne import http_protocol

from containers_app.errors import TooLarge

LINGER = 5.0  # seconds that a refused body is read on, to no end: a connection closed in its midst would take our answer along


def bound_bodies(most: int) -> None:
    """Of all requests that Daphne takes from now on; in bytes."""

    class Request(BoundedRequest):
        bound = most

    http_protocol.WebRequest = Request


class BoundedRequest(http_protocol.WebRequest):
    """Daphne's request; its channel calls the methods with Twisted's names."""

    bound = 0  # bytes

    def gotLength(self, length: int | None) -> None:
        """After the headers. ``length`` is None when the body comes in chunks."""
        self.content = io.BytesIO()
        self._refused = False
        if length is not None and length > self.bound:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        if not self._refused and self.content.tell() + len(data) > self.bound:
            self._refuse()
        if not self._refused:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        if self._refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        """The answer is the API's error shape."""
        self._refused = True
        self.content = io.BytesIO()
        self.requestHeaders.removeHeader(b"Expect")  # nobody is told to go on
        error = TooLarge(f"The request is longer than {self.bound >> 20} MiB.", hint="Send less at once.")
        body = json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}).encode()
        head = (
            f"HTTP/1.1 {error.status} Content Too Large", "Content-Type: application/json", f"Content-Length: {len(body)}",
            "Connection: close", "", "",
        )  # fmt: skip
        self.channel.transport.write("\r\n".join(head).encode() + body)
        asyncio.get_running_loop().call_later(LINGER, self._lose)

    def _lose(self) -> None:
        if self.channel is not None:  # not gone by itself
            self.channel.loseConnection()
