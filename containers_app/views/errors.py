"""What is shown when something is wrong: a page, or JSON below the API's path."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ..errors import InvalidInput, NotFound, PermissionDenied, TerrariumError
from ..responses import InternalError, failure, is_api_path

_TEMPLATES = {400: "errors/400.html", 403: "errors/403.html", 404: "errors/404.html"}


def render_error(request: HttpRequest, error: TerrariumError) -> HttpResponse:
    if is_api_path(request.path_info):
        return failure(error)
    template = _TEMPLATES.get(error.status, "errors/400.html" if error.status < 500 else "errors/500.html")
    return render(
        request, template, {"message": error.message, "hint": f"{error.message} {error.hint}".strip()}, status=error.status
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render_error(request, InvalidInput("The request can't be read.", hint="Go back and try again."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render_error(request, PermissionDenied("This is not yours to see.", hint="Ask an administrator."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render_error(request, NotFound("There is nothing at this address.", hint="The container may have been removed."))


def server_error(request: HttpRequest) -> HttpResponse:
    return render_error(request, InternalError("The panel made a mistake.", hint="The log of the web process says more."))


def csrf_failed(request: Any, reason: str = "") -> HttpResponse:
    hint = "Load the page again, then retry. Programs use an API token instead of a session."
    return render_error(
        request, PermissionDenied("The request did not come from an open page of the panel.", code="csrf_failed", hint=hint)
    )
