"""A reverse proxy such as people put in front of a panel: takes the TLS off and says on whose behalf it asks."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from pathlib import Path

from tests.kernel.images.certificates import Authority

NAME = "panel.example"
_UPGRADE = re.compile(rb"^upgrade:", re.IGNORECASE | re.MULTILINE)
_FORWARDED_FOR = re.compile(rb"^x-forwarded-for: *", re.IGNORECASE)
_REPLACED = re.compile(rb"^(x-forwarded-for|x-forwarded-proto|connection):", re.IGNORECASE)


class TlsProxy:
    """Serves ``https://panel.example:PORT`` on 127.0.0.1, in a thread, for what listens on ``upstream`` there."""

    def __init__(self, home: Path, upstream: int) -> None:
        authority = Authority(home, NAME)
        self.certificate = authority.certificate_file
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(authority.certificate_file, authority.key_file)
        self._upstream = upstream
        self._opened = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._opened.wait()
        self.url = f"https://{NAME}:{self.port}"

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._context)
        self.port: int = server.sockets[0].getsockname()[1]
        self._opened.set()
        await self._ended.wait()
        server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection is one request, or one websocket: after its head there are only bytes."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = forwarded(await reader.readuntil(b"\r\n\r\n"), writer.get_extra_info("peername")[0])
            panel_reader, panel_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
            with contextlib.closing(panel_writer):
                panel_writer.write(head)
                pumps = [asyncio.create_task(_pump(reader, panel_writer)), asyncio.create_task(_pump(panel_reader, writer))]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()


def forwarded(head: bytes, address: str) -> bytes:
    """As nginx's ``$proxy_add_x_forwarded_for`` has it: the visitor's own words stay in front."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    said = [_FORWARDED_FOR.sub(b"", line) for line in lines if _FORWARDED_FOR.match(line)]
    kept = [line for line in lines if not _REPLACED.match(line)]
    kept += [b"X-Forwarded-For: " + b", ".join([*said, address.encode()]), b"X-Forwarded-Proto: https"]
    kept.append(b"Connection: Upgrade" if _UPGRADE.search(head) else b"Connection: close")
    return b"\r\n".join([first, *kept]) + b"\r\n\r\n"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
