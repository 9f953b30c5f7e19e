"""Who may open a websocket: a session with the right Origin, or an API token.

A browser sends cookies along with a websocket from any page and asks nobody (no CORS), so the Origin must be our own. A
foreign page can't set the Authorization header, so a token needs no Origin.
"""

from __future__ import annotations

from dataclasses import replace
from http.cookies import CookieError, SimpleCookie
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from .. import visitors
from ..visitors import Visitor

LOGGED_OUT = 4401  # close codes; the range 4000 to 4999 is the application's, RFC 6455 section 7.4.2
FORBIDDEN = 4403
NOT_FOUND = 4404

Scope = dict[str, Any]


async def admit(scope: Scope) -> Visitor | None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host", "")
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return None
    scheme, _, token = headers.get(b"authorization", "").partition(" ")
    if token:
        visitor = await visitors.by_token(token.strip()) if scheme.lower() == "bearer" else None
    elif same_origin(headers.get(b"origin", ""), host, scope.get("scheme", "ws")):
        visitor = await visitors.by_session(_cookie(headers.get(b"cookie", "")))
    else:
        visitor = None
    if visitor is None or visitor.must_change_password:
        return None
    client = scope.get("client")
    return replace(visitor, address=client[0] if client else None)


def same_origin(origin: str, host: str, scheme: str) -> bool:
    """Is the page that opens the socket one of ours? Host and port count; a proxy may have taken the TLS off unsaid.

    ``scheme`` is the socket's, "wss" where the proxy says so: then no page that came without TLS.
    """
    ours = [settings.TERRARIUM_PUBLIC_URL, f"https://{host}", *([f"http://{host}"] if scheme == "ws" else [])]
    return bool(origin and host) and origin.lower() in [one.lower() for one in ours]


def _cookie(header: str) -> str | None:
    try:
        morsel = SimpleCookie(header).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return None
    return morsel.value if morsel is not None else None
