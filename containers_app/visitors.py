"""Who is asking: by session cookie or by API token. Kept for a few seconds, so that most requests ask no database.

What ends a visit here (log-out, a changed password) is forgotten at once; what ends it elsewhere (the admin pages, another
web process) is seen after KEEP seconds at the latest, on every request and on every event of an open websocket.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.utils.crypto import constant_time_compare

from . import database
from .models import ApiToken, User, hash_token

KEEP = 5.0  # seconds
MOST = 10_000  # kept visits; the least recently asked for go first


@dataclass(frozen=True)
class Visitor:
    """Stands in for the user in services and templates."""

    user_id: int
    username: str
    is_staff: bool
    must_change_password: bool = False
    session: str = ""  # the session's key; "" for a token
    token: str = ""  # the token's hash; "" for a session
    address: str | None = None

    is_authenticated = True

    @property
    def audience(self) -> str:
        """What may be shown to one visitor may be shown to all of the same audience."""
        return "staff" if self.is_staff else f"user {self.username}"


_visits: OrderedDict[str, tuple[float, Visitor | None]] = OrderedDict()
_watchers: dict[str, set[Callable[[], None]]] = {}  # by session key or token hash
_forgotten = 0  # counts, so that an answer read before a log-out is not kept after it


async def by_session(key: str | None) -> Visitor | None:
    if not key:
        return None
    known = _known("session " + key)
    if known is not None:
        return known[1]
    before = _forgotten
    return _keep("session " + key, await database.run(_read_session, key), before)


async def by_token(token: str) -> Visitor | None:
    hashed = hash_token(token)
    known = _known("token " + hashed)
    if known is not None:
        return known[1]
    before = _forgotten
    return _keep("token " + hashed, await database.run(_read_token, token), before)


async def again(visitor: Visitor) -> Visitor | None:
    """The same visit as it stands now; None when it has ended. For websockets, on every event."""
    name = f"session {visitor.session}" if visitor.session else f"token {visitor.token}"
    known = _known(name)
    if known is not None:
        return known[1]
    if visitor.session:
        return await by_session(visitor.session)
    before = _forgotten
    return _keep(name, await database.run(_read_hashed_token, visitor.token), before)


def watch(visitor: Visitor, ended: Callable[[], None]) -> Callable[[], None]:
    """Call ``ended`` when this visit is ended here; returns what takes that back. For open websockets."""
    watchers = _watchers.setdefault(visitor.session or visitor.token, set())
    watchers.add(ended)

    def leave() -> None:
        watchers.discard(ended)
        if not watchers and _watchers.get(visitor.session or visitor.token) is watchers:
            del _watchers[visitor.session or visitor.token]

    return leave


def end(session: str) -> None:
    """This session has been logged out: forget it, and tell its websockets."""
    forget(session)
    for ended in list(_watchers.get(session, ())):
        ended()


def forget(session: str | None = None) -> None:
    """One session, or all visits, are looked up anew: after a log-out, or when a user has changed."""
    global _forgotten
    _forgotten += 1
    if session is None:
        _visits.clear()
    else:
        _visits.pop("session " + session, None)


def _known(name: str) -> tuple[float, Visitor | None] | None:
    known = _visits.get(name)
    if known is None or known[0] < time.monotonic():
        return None
    _visits.move_to_end(name)
    return known


def _keep(name: str, visitor: Visitor | None, before: int) -> Visitor | None:
    if visitor is not None and before == _forgotten:  # guesses are not kept: they would push out those who are logged in
        _visits[name] = (time.monotonic() + KEEP, visitor)
        if len(_visits) > MOST:
            _visits.popitem(last=False)
    else:
        _visits.pop(name, None)
    return visitor


def _read_session(key: str) -> Visitor | None:
    """As django.contrib.auth.get_user does it, without a request."""
    session = SessionStore(key)
    user_id, signature = session.get(SESSION_KEY), session.get(HASH_SESSION_KEY, "")
    if user_id is None or BACKEND_SESSION_KEY not in session:
        return None
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None or not constant_time_compare(signature, user.get_session_auth_hash()):
        return None
    return Visitor(user.pk, user.username, user.is_staff, user.must_change_password, session=key)


def _read_token(token: str) -> Visitor | None:
    row = ApiToken.of(token)
    return None if row is None else Visitor(row.user_id, row.user.username, row.user.is_staff, token=row.hash)


def _read_hashed_token(hashed: str) -> Visitor | None:
    row = ApiToken.objects.select_related("user").filter(hash=hashed, user__is_active=True).first()
    return None if row is None else Visitor(row.user_id, row.user.username, row.user.is_staff, token=row.hash)
