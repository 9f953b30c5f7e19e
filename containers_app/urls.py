"""HTTP paths. What may be reached without a log-in is decided in middleware.py, not here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

from . import api, openapi
from .responses import answer
from .views import accounts, health, metrics, pages


async def openapi_document(request: HttpRequest) -> HttpResponse:
    return answer(openapi.document())


def _api_path(route: str) -> str:
    """An {image} may have slashes in its name."""
    return "api/v1" + route.replace("{image}", "<path:image>").replace("{", "<str:").replace("}", ">")


urlpatterns: list[Any] = [
    path("", pages.home),
    path("overview/", pages.overview),
    path("containers/", pages.containers),
    path("containers/<str:reference>/", pages.container),
    path("containers/<str:reference>/<slug:tab>/", pages.container),
    path("groups/", pages.groups),
    path("namespaces/", pages.namespaces),
    path("images/", pages.images),
    path("networks/", pages.networks),
    path("volumes/", pages.volumes),
    path("activity/", pages.activity),
    path("host/", pages.host),
    path("login/", accounts.log_in),
    path("logout/", accounts.log_out),
    path("password/", accounts.password),
    path("healthz", health.healthz),
    path("metrics", metrics.metrics),
    path("admin/", admin.site.urls),
    path("api/docs/", pages.api_docs, {"document": openapi.document()}),
    path("api/v1/openapi.json", openapi_document),
    *(path(_api_path(route), endpoint) for route, endpoint in api.ENDPOINTS.items()),
    re_path(r"^api/v1(?:/|$)", api.nothing_here),
]

handler400 = "containers_app.views.errors.bad_request"
handler403 = "containers_app.views.errors.forbidden"
handler404 = "containers_app.views.errors.not_found"
handler500 = "containers_app.views.errors.server_error"
