"""The web process's application: static files, then Django for HTTP and the consumers for websockets."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings

from .behind_proxy import BehindProxy
from .body_bound import bound_bodies
from .static_app import App, StaticApp


def build() -> App:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "panel.settings")
    from .handler import application as django_handler  # reads the settings as it is imported

    bound_bodies(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    django_application: Any = django_handler()
    # Only now: they import models, which need the set-up that it has done.
    from channels.routing import ProtocolTypeRouter

    from containers_app.routing import websockets

    from .pacing import Pacing

    # Pacing comes before whatever wraps ``send``: it needs the server's own
    http: App = Pacing(django_application)
    if settings.STATIC_ROOT and settings.STATIC_ROOT.is_dir():
        http = StaticApp(http, settings.STATIC_ROOT)
    elif settings.DEBUG:
        from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

        static: Any = ASGIStaticFilesHandler(django_application)
        http = static
    router: App = ProtocolTypeRouter({"http": http, "websocket": websockets})
    return BehindProxy(router) if settings.TERRARIUM_PUBLIC_URL else router


application = build()
