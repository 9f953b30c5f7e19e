"""What happens to accounts and visits: logging in and out, passwords. The containers' half is services.py."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from . import database, services, visitors
from .models import User
from .visitors import Visitor
from .worker import terminals


async def note_log_in(user: Any, address: str) -> None:
    await services.audit(Visitor(user.pk, user.username, user.is_staff, address=address or None), "log in", user.username)


async def end_visit(visitor: Visitor) -> None:
    """Before the session is flushed: its terminals and live websockets end with it."""
    terminals.table().close_for_session_key(visitor.session)
    visitors.end(visitor.session)
    await services.audit(visitor, "log out", visitor.username)


async def change_password(form: Any, visitor: Visitor) -> bool:
    """False when the form is not right. Every other session of the user ends; so do the terminals opened from this one.

    Checking and hashing take a tenth of a second of CPU each and run in a thread of this request.
    """

    def save() -> bool:
        if not form.is_valid():
            return False
        form.save()
        return True

    if not await sync_to_async(save)():
        return False
    terminals.table().close_for_user(visitor.user_id, "The password was changed.")
    visitors.end(visitor.session)
    visitors.forget()
    await services.audit(visitor, "change password", visitor.username)
    return True


async def operator(username: str = "") -> Visitor:
    """The visitor that management commands act as: this user, or the first administrator. Raises LookupError."""

    def find() -> Visitor:
        users = User.objects.filter(is_active=True).order_by("pk")
        user = users.filter(username=username).first() if username else users.filter(is_superuser=True).first()
        if user is None:
            raise LookupError(f"There is no user {username}." if username else "There is no administrator.")
        return Visitor(user.pk, user.username, user.is_staff)

    return await database.run(find)
