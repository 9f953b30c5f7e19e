"""Serves /static/ from STATIC_ROOT, in front of Django: no session, no thread, no template.

The files are the panel's own public sources, the same for everyone, so they need no log-in. Only names that were there
when the process started are served; nothing of a request reaches the file system. A hashed name's content never changes
and is cached for ever, others are asked for again (ETag).
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HASHED = re.compile(r"\.[0-9a-f]{12}\.[a-z0-9]+$")
_TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
_FOR_EVER = b"public, max-age=31536000, immutable"


class StaticApp:
    def __init__(self, application: App, root: Path, prefix: str = "/static/") -> None:
        self._application = application
        self._prefix = prefix
        self._files = {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self._application(scope, receive, send)
            return
        name = scope["path"].removeprefix(self._prefix)
        path = self._files.get(name)
        if path is None or name.endswith(".gz"):
            await respond(send, 404, b"There is no such file.", [(b"content-type", b"text/plain; charset=utf-8")])
        elif scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, b"", [(b"allow", b"GET, HEAD")])
        else:
            await self._serve(name, path, dict(scope["headers"]), scope["method"], send)

    async def _serve(self, name: str, path: Path, wanted: dict[bytes, bytes], method: str, send: Send) -> None:
        headers = [(b"content-type", content_type(name)), (b"x-content-type-options", b"nosniff"), (b"vary", b"accept-encoding")]
        if _HASHED.search(name):
            headers.append((b"cache-control", _FOR_EVER))
        else:
            status = path.stat()
            etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'.encode()
            headers += [(b"cache-control", b"no-cache"), (b"etag", etag)]
            if wanted.get(b"if-none-match") == etag:
                await respond(send, 304, b"", headers)
                return
        packed = self._files.get(name + ".gz")
        if packed is not None and b"gzip" in wanted.get(b"accept-encoding", b""):
            headers.append((b"content-encoding", b"gzip"))
            path = packed
        content = path.read_bytes()  # at most some hundred KB, mostly from the page cache
        headers.append((b"content-length", str(len(content)).encode()))
        await respond(send, 200, b"" if method == "HEAD" else content, headers)


def content_type(name: str) -> bytes:
    suffix = Path(name).suffix
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return (kind + ("; charset=utf-8" if kind.startswith("text/") else "")).encode()


async def respond(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
