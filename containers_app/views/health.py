"""/healthz: for whoever starts and watches the panel. No log-in, and so no detail."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from .. import host_services
from ..responses import answer


async def healthz(request: HttpRequest) -> HttpResponse:
    if await host_services.worker_answers():
        return answer({"status": "ok", "worker": "up"})
    return answer({"status": "degraded", "worker": "down"}, status=503)
