"""Holds back a streamed answer while its reader does not keep up: Daphne itself buffers without bound."""

from __future__ import annotations

import contextlib
from typing import Any

from containers_app.consumers.flow import Flow

from .static_app import App, Receive, Scope, Send


class Pacing:
    def __init__(self, application: App) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        flow = Flow(send)
        begun = False

        async def paced(message: dict[str, Any]) -> None:
            nonlocal begun
            more = message["type"] == "http.response.body" and message.get("more_body", False)
            if more and not begun:
                begun = True
                flow.begin_answer()
            if begun and not more:
                flow.end()
                begun = False
            await send(message)
            if more:
                await flow.wait()

        try:
            await self._application(scope, receive, paced)
        finally:
            if begun:
                with contextlib.suppress(AttributeError):  # the connection has gone, and its channel with it
                    flow.end()
