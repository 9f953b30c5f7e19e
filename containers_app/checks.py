"""Wrong settings, said by ``manage.py check`` before anything runs: each with an id and what to do."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register()
def check_web_dir(**kwargs: Any) -> list[CheckMessage]:
    directory = settings.TERRARIUM_WEB_DIR
    if directory is not None and not os.access(directory, os.W_OK | os.X_OK):
        return [
            Error(
                f"{directory} can't be written to.",
                hint="Set TERRARIUM_WEB_DIR to a directory of the web user.",
                id="terrarium.E001",
            )
        ]
    return []


@register()
def check_port(**kwargs: Any) -> list[CheckMessage]:
    if not settings.TERRARIUM_PORT:
        return [Error("TERRARIUM_PORT is not a port.", hint="Set it to a number from 1 to 65535.", id="terrarium.E002")]
    return []


@register()
def check_worker_socket(**kwargs: Any) -> list[CheckMessage]:
    if settings.TERRARIUM_WEB_DIR is not None and not settings.TERRARIUM_WORKER_SOCKET.parent.is_dir():
        return [
            Warning(
                f"{settings.TERRARIUM_WORKER_SOCKET.parent} does not exist, so no worker can be reached.",
                hint="Set TERRARIUM_WORKER_SOCKET to the worker's socket, or start the panel with deploy/up.",
                id="terrarium.W002",
            )
        ]
    return []


@register()
def check_debug(**kwargs: Any) -> list[CheckMessage]:
    if settings.DEBUG and settings.TERRARIUM_HOST not in ("127.0.0.1", "::1", "localhost"):
        return [
            Warning(
                "TERRARIUM_DEBUG shows settings and sources to whoever causes an error.",
                hint="Unset TERRARIUM_DEBUG, or listen on 127.0.0.1.",
                id="terrarium.W001",
            )
        ]
    return []


@register(deploy=True)
def check_static_files(**kwargs: Any) -> list[CheckMessage]:
    root = settings.STATIC_ROOT
    if root is None or not (root / "staticfiles.json").is_file():
        return [
            Error(
                "There are no collected static files.",
                hint="Set TERRARIUM_STATIC_DIR and run manage.py collectstatic; deploy/up does both.",
                id="terrarium.E003",
            )
        ]
    return []
