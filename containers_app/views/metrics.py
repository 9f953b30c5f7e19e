"""/metrics: for Prometheus, by API token; staff only, since it shows every container."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from .. import host_services
from ..errors import TerrariumError
from ..exposition import CONTENT_TYPE, exposition
from ..responses import MethodNotAllowed, failure


async def metrics(request: Any) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        refused = failure(MethodNotAllowed("Metrics can only be read.", hint="Possible: GET."))
        refused["Allow"] = "GET"
        return refused
    try:
        return HttpResponse(exposition(await host_services.read_metrics(request.visitor)), content_type=CONTENT_TYPE)
    except TerrariumError as error:
        return failure(error)
