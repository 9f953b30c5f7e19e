"""The way from async code to the database: one thread with one open connection.

Django's own bridge gives every request a thread and so a connection of its own; opening SQLite costs more than what we
ask it. All our questions are short. Slow work (password hashing) must not run here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections

P = ParamSpec("P")
T = TypeVar("T")

_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")


def run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
    """``await run(f, …)`` calls f in the database thread."""

    def call() -> T:
        close_old_connections()  # replaces one that the server has dropped
        return function(*args, **kwargs)

    return sync_to_async(call, thread_sensitive=False, executor=_THREAD)()
