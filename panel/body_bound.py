"""Refuses request bodies over the bound, whatever Content-Length says, before Django stores them."""

from __future__ import annotations

import json
from typing import Any

from containers_app.errors import TooLarge

from .static_app import App, Receive, Scope, Send, respond


class BodyBound:
    """``most`` is in bytes. The answer is the API's error shape, with status 413."""

    def __init__(self, application: App, most: int) -> None:
        self._application = application
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._most:
            await self._refuse(send)
            return
        got = 0
        refused = False

        async def counted() -> dict[str, Any]:
            nonlocal got, refused
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._most:
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def guarded(message: dict[str, Any]) -> None:
            if not refused:
                await send(message)

        await self._application(scope, counted, guarded)
        if refused:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        error = TooLarge(f"The request is longer than {self._most >> 20} MiB.", hint="Send less at once.")
        body = json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await respond(send, error.status, body, headers)
