"""A route of the API: one method of one path, and the endpoint that serves the routes of a path.

The route table is the only place that knows of methods, bodies, results and their types; URL conf and OpenAPI document
are made from it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from ..errors import NotFound, TerrariumError
from ..responses import InternalError, MethodNotAllowed, answer, failure
from ..visitors import Visitor
from .border import read_body, read_bytes, typed
from .shapes import NoQuery

View = Callable[..., Any]  # async; Django's stubs know only synchronous ones

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One request, checked: ``path`` holds the path's variables, ``query`` and ``body`` are of the route's types."""

    visitor: Visitor
    path: dict[str, str]
    query: Any
    body: Any


@dataclass(frozen=True)
class Route:
    """``path`` has its variables in braces. ``parse`` makes the body where a type alone can't say what is right."""

    method: str
    path: str
    handler: Callable[[Call], Awaitable[object]]
    summary: str
    result: Any = None
    body: Any = None
    query: Any = NoQuery
    status: int = 200
    parse: Callable[[Any], Any] | None = None
    tag: str = "containers"

    async def serve(self, request: Any, variables: dict[str, str]) -> HttpResponseBase:
        query = typed(dict(request.GET.items()), self.query, strict=False)
        body: Any = None
        if self.body is not None:
            raw = read_bytes(request) if self.body is bytes else read_body(request)
            body = raw if self.body is bytes else self.parse(raw) if self.parse is not None else typed(raw, self.body)
        result = await self.handler(Call(request.visitor, variables, query, body))
        return answer(result, self.status)


def endpoint(routes: dict[str, Route]) -> View:
    """The view of one path, from its method → route."""
    allowed = ", ".join(sorted(routes))

    async def view(request: HttpRequest, **variables: str) -> HttpResponseBase:
        method = "GET" if request.method == "HEAD" else request.method or ""
        route = routes.get(method)
        if route is None:
            refused = failure(MethodNotAllowed(f"{method[:20]} is not possible here.", hint=f"Possible: {allowed}."))
            refused["Allow"] = allowed
            return refused
        try:
            return await route.serve(request, variables)
        except TerrariumError as error:
            return failure(error)
        except Exception:
            _log.exception("%s %s failed", route.method, route.path)
            return failure(InternalError("The panel made a mistake.", hint="The log of the web process says more."))

    return view


def by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """path → method → route, in the table's order."""
    paths: dict[str, dict[str, Route]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route
    return paths


async def nothing_here(request: HttpRequest, **variables: str) -> HttpResponse:
    return failure(NotFound("The API has nothing at this path.", hint="See /api/docs/ for what there is."))
