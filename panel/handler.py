"""Django's ASGI handler without a thread of its own for each request.

Django tells its receivers of a request's begin and end (close connections that a server has dropped, forget queries) in a thread,
and makes a new one for each request. None of the receivers here has anything to do on the event loop, where no connection is
ever open: all our questions to the database go through containers_app/database.py, which looks after its own. So they are
told in place; only a view that asks for a thread (log-in, the admin pages) still gets one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import django
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from .static_app import Receive, Scope, Send


class Handler(ASGIHandler):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            set_script_prefix(get_script_prefix(scope))
            signals.request_started.send(sender=type(self), scope=scope)
            request, refused = self.create_request(scope, body)
            if request is None:
                await self._send(refused, send)
            else:
                await self._answer(request, receive, send)

    async def _answer(self, request: HttpRequest, receive: Receive, send: Send) -> None:
        """A client that leaves takes its answer along: the view is cancelled, and a stream ends.

        What it has set going in the worker goes on to its entry in the audit log (containers_app/audits.py).
        """
        answering = asyncio.create_task(self._view_and_send(request, send))
        leaving = asyncio.create_task(self._left(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not answering.done():
                answering.cancel()
        try:
            await answering
        except asyncio.CancelledError:
            signals.request_finished.send(sender=type(self))

    async def _left(self, receive: Receive) -> None:
        await receive()  # after the body nothing but "http.disconnect" comes

    async def _view_and_send(self, request: HttpRequest, send: Send) -> None:
        await self._send(await self.run_get_response(request), send)

    async def _send(self, response: HttpResponseBase, send: Send) -> None:
        try:
            await self.send_response(response, send)
        finally:
            response.close()  # tells of the request's end


def application() -> Any:
    django.setup(set_prefix=False)
    return Handler()
