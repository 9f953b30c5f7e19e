"""An endless answer of the daemon as lines: one JSON object each."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

from ..errors import EngineUnavailable

MAX_LINE = 1 << 20  # bytes; an event carries all labels of its container


async def lines(stream: socket.socket, product: str) -> AsyncGenerator[bytes, None]:
    """Until the daemon (a ``product``) closes the stream. EngineUnavailable when it breaks, or a line has no end."""
    loop = asyncio.get_running_loop()
    rest = b""
    while True:
        try:
            data = await loop.sock_recv(stream, 1 << 16)
        except OSError:
            raise broken(product) from None
        if not data:
            break
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > MAX_LINE:
            raise broken(product)
    if rest:
        yield rest


def broken(product: str) -> EngineUnavailable:
    return EngineUnavailable(f"{product} has closed the connection.", hint="The panel connects again by itself.")
