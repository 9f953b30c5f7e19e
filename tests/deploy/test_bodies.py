"""Request bodies on a panel as deployed: what is too long is refused as it comes, and nothing of any fills its /tmp."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

import httpx
import pytest

from tests.panel import Panel

BOUND = 1 << 20  # bytes, as panel/settings.py has it
ANSWER_SECONDS = 30.0


@contextmanager
def line(panel: Panel, *headers: str, path: str = "/login/") -> Iterator[socket.socket]:
    """A connection on which an anonymous visitor has sent a POST's head."""
    with socket.create_connection(("127.0.0.1", panel.port), timeout=ANSWER_SECONDS) as connection:
        head = (f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{panel.port}", *headers, "", "")
        connection.sendall("\r\n".join(head).encode())
        yield connection


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """(status, body); the server closes later."""
    response = HTTPResponse(connection, method="POST")
    response.begin()
    return response.status, response.read()


def refused(found: tuple[int, bytes]) -> bool:
    status, body = found
    return status == 413 and json.loads(body)["error"]["code"] == "too_large"


def stored(panel: Panel) -> int:
    """Bytes in the web process's /tmp, also of files without a name."""
    facts = os.statvfs(f"/proc/{panel.pid('web')}/root/tmp")
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",)])
def test_a_declared_length_over_the_bound_is_refused_before_anything_is_sent(panel: Panel, more: tuple[str, ...]) -> None:
    with line(panel, "Content-Length: 66000000", *more) as connection:
        assert refused(answer(connection))
        if not more:
            assert connection.recv(1) == b"", "it is closed after a while"


@pytest.mark.parametrize("path", ["/login/", "/api/v1/containers", "/static/js/app.js"])
def test_a_body_in_chunks_is_refused_where_it_grows_past_the_bound(panel: Panel, path: str) -> None:
    with line(panel, "Transfer-Encoding: chunked", path=path) as connection:
        piece = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        for _ in range(BOUND // (1 << 16) + 1):
            connection.sendall(piece)
        assert refused(answer(connection))


def test_who_sends_it_all_first_gets_the_answer_too(panel: Panel) -> None:
    found = httpx.post(f"{panel.url}/api/v1/containers", content=bytes(30 << 20), timeout=ANSWER_SECONDS)
    assert refused((found.status_code, found.content))


def test_a_body_as_long_as_the_bound_is_taken(panel: Panel, token: str) -> None:
    body = b'{"engine":"raw","name":"x/y","image":"busybox","command":["true"]}'.ljust(BOUND)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for content in (body, iter([body[:1000], body[1000:]])):  # with its length, and in chunks
        found = httpx.post(f"{panel.url}/api/v1/containers", content=content, headers=headers, timeout=ANSWER_SECONDS)
        assert found.status_code == 400 and "name" in found.json()["error"]["message"]


def test_bodies_that_come_slowly_fill_no_disk(panel: Panel) -> None:
    before = stored(panel)
    with (
        line(panel, f"Content-Length: {BOUND}") as declared,
        line(panel, "Transfer-Encoding: chunked") as chunked,
        line(panel, "Content-Length: 66000000") as too_long,
    ):
        declared.sendall(bytes(BOUND - 1))
        chunked.sendall(b"f0000\r\n" + bytes(0xF0000))
        assert refused(answer(too_long))
        assert panel.is_up()  # who asks after them is answered after them
        assert stored(panel) == before
