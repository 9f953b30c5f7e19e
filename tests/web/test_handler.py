"""The web process's handler of requests: no thread for what needs none, and nobody works for a client that has left."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.signals import request_finished, request_started
from django.http import HttpRequest, HttpResponse

from containers_app.models import ApiToken, User
from panel.handler import Handler

from .conftest import HOST


def asked(path: str, token: str = "", method: str = "GET") -> dict[str, Any]:
    headers = [(b"host", HOST.encode()), *([(b"authorization", f"Bearer {token}".encode())] if token else [])]
    return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}


async def answer(scope: dict[str, Any], body: bytes = b"") -> int:
    line = ApplicationCommunicator(Handler(), scope)
    await line.send_input({"type": "http.request", "body": body})
    started = await line.receive_output(5)
    while (await line.receive_output(5)).get("more_body"):
        pass
    await line.wait(30)
    return int(started["status"])


@pytest.fixture
def token(staff: User) -> str:
    return ApiToken.issue(staff, "test")[1]


async def test_a_request_of_the_api_starts_no_thread(token: str, worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = asked("/api/v1/containers", token)
    assert await answer(scope) == 200  # asks the database who this is, in the thread that is there for that
    started: list[str] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)
    assert await answer(scope) == 200
    assert started == []


async def test_begin_and_end_of_a_request_are_told_once(worker: Any) -> None:
    told: list[str] = []

    def begins(**_: object) -> None:
        told.append("begins")

    def ends(**_: object) -> None:
        told.append("ends")

    request_started.connect(begins)
    request_finished.connect(ends)
    try:
        assert await answer(asked("/healthz")) == 200
        assert await answer(asked("/nothing")) == 302
    finally:
        request_started.disconnect(begins)
        request_finished.disconnect(ends)
    assert told == ["begins", "ends"] * 2


async def test_a_client_that_leaves_takes_its_view_along() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    class Slow(Handler):
        async def get_response_async(self, request: HttpRequest) -> HttpResponse:
            begun.set()
            try:
                await asyncio.sleep(100)
            finally:
                ended.set()
            return HttpResponse()

    line = ApplicationCommunicator(Slow(), asked("/healthz"))
    await line.send_input({"type": "http.request", "body": b""})
    await asyncio.wait_for(begun.wait(), 30)
    await line.send_input({"type": "http.disconnect"})
    await line.wait(30)
    assert ended.is_set() and await line.receive_nothing()


async def test_one_that_leaves_before_its_body_is_there_is_not_answered() -> None:
    line = ApplicationCommunicator(Handler(), asked("/healthz"))
    await line.send_input({"type": "http.request", "body": b"half", "more_body": True})
    await line.send_input({"type": "http.disconnect"})
    await line.wait(30)
    assert await line.receive_nothing()
