"""Results and errors as JSON answers; shared by API, middleware and error views."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from .errors import TerrariumError

JSON = "application/json"
PIECE = 1 << 16  # bytes
_API = "/api/v1"
_METRICS = "/metrics"


class MethodNotAllowed(TerrariumError):
    code = "method_not_allowed"
    status = 405


class InternalError(TerrariumError):
    """A bug. The log of the web process has the traceback; the answer has none."""

    code = "internal"
    status = 500


class Encoded(bytes):
    """A result that is JSON already."""


@dataclass(frozen=True)
class Download:
    """Bytes from a pipe or socket, which is closed when they are sent or nobody takes them."""

    source: io.FileIO
    name: str


def is_api_path(path: str) -> bool:
    """For programs: tokens are taken there, and errors are JSON."""
    return path in (_METRICS, _API) or path.startswith(_API + "/")


def answer(result: object, status: int = 200) -> HttpResponseBase:
    if isinstance(result, Download):
        return StreamingHttpResponse(
            _pieces(result.source),
            content_type="application/x-tar",
            headers={"Content-Disposition": f'attachment; filename="{result.name}"'},
        )
    if status == 204:
        return HttpResponse(status=204)
    content = bytes(result) if isinstance(result, Encoded) else msgspec.json.encode(result)
    return HttpResponse(content, status=status, content_type=JSON)


async def _pieces(source: io.FileIO) -> AsyncIterator[bytes]:
    """Reads ahead by little: what is not taken stays in the pipe, and its writer waits."""
    os.set_blocking(source.fileno(), False)
    reader = asyncio.StreamReader(limit=PIECE)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, source)
    try:
        while piece := await reader.read(PIECE):
            yield piece
    finally:
        transport.close()


def failure(error: TerrariumError) -> HttpResponse:
    body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    response = HttpResponse(msgspec.json.encode(body), status=error.status, content_type=JSON)
    if error.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    elif error.status == 503:
        response["Retry-After"] = "1"
    return response
