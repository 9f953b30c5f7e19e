"""What every request goes through. All of it works in memory or awaits; none of it costs a thread.

Django's own middleware classes run each half in a thread of the request under ASGI, though most of them touch no file
and no database; ``_Direct`` calls them in place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware as DjangoAuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware as DjangoMessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware as DjangoCommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.gzip import GZipMiddleware

from . import mirror, visitors
from .errors import InvalidInput, NotAuthenticated, PermissionDenied
from .responses import failure, is_api_path
from .visitors import Visitor

Next = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

OPEN_PATHS = frozenset({"/login/", "/healthz"})
ONE_TIME_PATHS = frozenset({"/password/", "/logout/"})
SMALLEST = 1000  # bytes; below this compressing saves no packet

# xterm sets widths and colours in style elements and attributes of its own; scripts come from our own files only.
POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:", "font-src 'self'",
        "connect-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "manifest-src 'self'",
    )
)  # fmt: skip
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class _Middleware:
    """An async middleware that awaits the next one."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)  # type: ignore[type-var]  # an instance, as Django does it


class HeadersMiddleware(_Middleware):
    """Security headers on every answer, and nothing kept in caches that was made for one user."""

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = await self.get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class _Direct:
    """Mixed into a MiddlewareMixin whose hooks only touch memory: they are called in place."""

    async def __acall__(self: Any, request: HttpRequest) -> HttpResponseBase:
        response = self.process_request(request) if hasattr(self, "process_request") else None
        response = response or await self.get_response(request)
        return self.process_response(request, response) if hasattr(self, "process_response") else response  # type: ignore[no-any-return]


class CompressMiddleware(_Direct, GZipMiddleware):
    """gzip with a random-length file name in front of secrets (BREACH), as Django does it; small answers stay as they are."""

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        if response.streaming or len(response.content) < SMALLEST:
            return response
        return super().process_response(request, response)


class CommonMiddleware(_Direct, DjangoCommonMiddleware):
    """Host names, the slash at a page's end, Content-Length."""

    def process_request(self, request: HttpRequest) -> Any:
        try:
            request.get_host()
        except DisallowedHost:
            hint = "Open it by a name in TERRARIUM_ALLOWED_HOSTS, or add this one to the list."
            return failure(InvalidInput("The panel does not answer to this name.", code="invalid_host", hint=hint))
        return super().process_request(request)


class AuthenticationMiddleware(_Direct, DjangoAuthenticationMiddleware):
    """``request.user`` for the admin pages; lazy, so it costs nothing elsewhere."""


class MessageMiddleware(_Direct, DjangoMessageMiddleware):
    """For the admin pages. Messages are stored in the cookie or the session by SessionMiddleware."""


class SessionMiddleware(DjangoSessionMiddleware):
    """Takes a thread only for a session that was changed and must be saved."""

    async def __acall__(self, request: HttpRequest) -> Any:
        self.process_request(request)
        response: Any = await self.get_response(request)  # type: ignore[misc]  # an async chain
        if request.session.modified:
            return await sync_to_async(self.process_response)(request, response)
        return self.process_response(request, response)


class CsrfMiddleware(_Direct, CsrfViewMiddleware):
    """Every request that changes something on the strength of a session cookie carries the token."""

    async def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Any:  # type: ignore[override]
        return super().process_view(request, view, args, kwargs)


class AdmissionMiddleware(_Middleware):
    """Nothing but the log-in and /healthz is reachable without a log-in, whatever the URL conf says.

    Sets ``request.visitor`` (None on the open paths when nobody is logged in).
    """

    async def __call__(self, request: Any) -> HttpResponseBase:
        mirror.current()  # begins to follow the worker, at the latest now
        path = request.path_info
        is_api = is_api_path(path)
        try:
            visitor = await self._visitor(request, is_api)
        except NotAuthenticated as error:
            return failure(error)
        request.visitor = visitor
        if visitor is None and path not in OPEN_PATHS:
            return HttpResponseRedirect(f"/login/?next={quote(request.get_full_path())}" if path != "/" else "/login/")
        if visitor is not None and visitor.must_change_password and path not in OPEN_PATHS | ONE_TIME_PATHS:
            if is_api:
                hint = "Open /password/ in a browser, or use an API token."
                return failure(
                    PermissionDenied("The one-time password must be changed first.", code="password_change_required", hint=hint)
                )
            return HttpResponseRedirect("/password/")
        return await self.get_response(request)

    async def _visitor(self, request: Any, is_api: bool) -> Visitor | None:
        """Raises NotAuthenticated for an API request that is not let in."""
        authorization = request.headers.get("Authorization", "")
        if is_api and authorization:
            scheme, _, token = authorization.partition(" ")
            visitor = await visitors.by_token(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
            if visitor is None:
                raise NotAuthenticated(
                    "The API token is not valid.", code="invalid_token", hint="Make one with deploy/manage create_token USER."
                )
            request._dont_enforce_csrf_checks = True  # a foreign page can't send this header
        else:
            visitor = await visitors.by_session(request.session.session_key)
            if visitor is None and is_api:
                raise NotAuthenticated("Log in first.", hint="Send a session cookie or Authorization: Bearer TOKEN.")
        return None if visitor is None else replace(visitor, address=request.META.get("REMOTE_ADDR"))
