"""Websocket paths."""

from __future__ import annotations

from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from .consumers.admission import NOT_FOUND
from .consumers.live import live, refuse
from .consumers.terminal import terminal


async def nothing_here(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await refuse(send, NOT_FOUND)


websockets = URLRouter(
    [path("ws/live/", live), path("ws/terminal/<str:session>/", terminal), re_path("", nothing_here)]  # type: ignore[arg-type]
)
