"""Results and errors as JSON answers; shared by API, middleware and error views."""

from __future__ import annotations

import msgspec
from django.http import HttpResponse

from .errors import TerrariumError

JSON = "application/json"
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


def is_api_path(path: str) -> bool:
    """For programs: tokens are taken there, and errors are JSON."""
    return path in (_METRICS, _API) or path.startswith(_API + "/")


def answer(result: object, status: int = 200) -> HttpResponse:
    if status == 204:
        return HttpResponse(status=204)
    content = bytes(result) if isinstance(result, Encoded) else msgspec.json.encode(result)
    return HttpResponse(content, status=status, content_type=JSON)


def failure(error: TerrariumError) -> HttpResponse:
    body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    response = HttpResponse(msgspec.json.encode(body), status=error.status, content_type=JSON)
    if error.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    elif error.status == 503:
        response["Retry-After"] = "1"
    return response
