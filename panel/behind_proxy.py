"""The visitor's address and scheme as the proxy in front tells them, where deploy/up was given a --public-url.

Only a peer on this machine is believed. Of X-Forwarded-For it is the last entry that the proxy wrote itself; those before are
the visitor's own words.
"""

from __future__ import annotations

from containers_app.addresses import read_address

from .static_app import App, Receive, Scope, Send


class BehindProxy:
    def __init__(self, application: App) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(as_told(scope), receive, send)


def as_told(scope: Scope) -> Scope:
    """Without the headers, or from elsewhere, the scope as it is. ``client`` is None for a peer at a unix socket."""
    client = scope.get("client")
    peer = read_address(client[0]) if client else None
    if client and (peer is None or not peer.is_loopback):
        return scope
    headers = dict(scope.get("headers", ()))  # of several of one name the last
    told: Scope = {}
    address = read_address(_last_entry(headers, b"x-forwarded-for"))
    if address is not None:
        told["client"] = (str(address), 0)  # nobody asks for the port
    if _last_entry(headers, b"x-forwarded-proto") == "https":
        told["scheme"] = "wss" if scope["type"] == "websocket" else "https"
    return {**scope, **told}


def _last_entry(headers: dict[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1").rpartition(",")[2].strip()
