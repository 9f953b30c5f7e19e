"""The pages. Each gives its template the data of the first look; what follows comes over the API and the websocket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from .. import docker_services, group_services, host_services, image_services, network_services, services
from ..errors import NotFound, TerrariumError
from ..spec import LIMITS
from ..worker.protocol import Container
from . import errors

LIMITS_TABLE: list[Any] = msgspec.to_builtins(list(LIMITS.values()))
EMPTY: dict[str, Any] = {"host": {}, "graph": {"nodes": [], "edges": []}}
TABS = (
    "overview",
    "limits",
    "stats",
    "toolbox",
    "terminal",
    "logs",
    "processes",
    "namespaces",
    "mounts",
    "network",
    "exec",
    "security",
    "commands",
    "events",
)


async def home(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/containers/")


async def overview(request: Any) -> HttpResponse:
    return await _page(request, "overview", containers=_containers(request), host=host_services.read_host(request.visitor))


async def containers(request: Any) -> HttpResponse:
    visitor = request.visitor
    return await _page(
        request, "containers", containers=_containers(request), host=host_services.read_host(visitor),
        images=image_services.list_images(visitor), limits_table=LIMITS_TABLE,
    )  # fmt: skip


async def container(request: Any, reference: str, tab: str = "overview") -> HttpResponse:
    if tab not in TABS:
        raise Http404
    try:
        found = await services.get_container(request.visitor, reference)
    except NotFound as error:
        raise Http404(error.message) from None
    except TerrariumError as error:
        return errors.render_error(request, error)
    return await _page(request, "container", container=msgspec.to_builtins(found), tab=tab, limits_table=LIMITS_TABLE)


async def groups(request: Any) -> HttpResponse:
    return await _page(request, "groups", items=group_services.list_groups(request.visitor), limits_table=LIMITS_TABLE)


async def namespaces(request: Any) -> HttpResponse:
    return await _page(request, "namespaces", graph=host_services.read_graph(request.visitor))


async def images(request: Any) -> HttpResponse:
    visitor = request.visitor
    return await _page(request, "images", items=image_services.list_images(visitor), host=host_services.read_host(visitor))


async def networks(request: Any) -> HttpResponse:
    visitor = request.visitor
    return await _page(request, "networks", items=network_services.list_networks(visitor), host=host_services.read_host(visitor))


async def volumes(request: Any) -> HttpResponse:
    """Whoever is not staff gets a page that says so."""
    visitor = request.visitor
    items = docker_services.list_volumes(visitor) if visitor.is_staff else []
    return await _page(request, "volumes", items=items, host=host_services.read_host(visitor))


async def activity(request: Any) -> HttpResponse:
    return await _page(request, "activity", items=host_services.list_events(request.visitor, 0, 200))


async def host(request: Any) -> HttpResponse:
    return await _page(request, "host", host=host_services.read_host(request.visitor))


async def api_docs(request: Any, document: dict[str, Any]) -> HttpResponse:
    return await _page(request, "api_docs", **document)


async def _containers(request: Any) -> list[Container]:
    return (await services.list_containers(request.visitor)).containers


async def _page(request: Any, name: str, **data: Any) -> HttpResponse:
    """What is awaitable in ``data`` is asked for at once; what can't be had is left empty, and the page says why."""
    asked = {key: value for key, value in data.items() if isinstance(value, Awaitable)}
    answers = await asyncio.gather(*asked.values(), return_exceptions=True)
    worker_error = ""
    for key, found in zip(asked, answers, strict=True):
        if isinstance(found, TerrariumError):
            worker_error = f"{found.message} {found.hint}"
            data[key] = EMPTY.get(key, [])
        elif isinstance(found, BaseException):
            raise found
        else:
            data[key] = msgspec.to_builtins(found)
    visitor = request.visitor
    context = {
        "page": name,
        "page_data": data | {"me": {"username": visitor.username, "staff": visitor.is_staff}},
        "node": settings.TERRARIUM_NODE,
        "user": visitor,
        "worker_error": worker_error,
    }
    return render(request, f"pages/{name}.html", context)
