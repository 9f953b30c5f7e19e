"""What happened while the websocket or the worker was away is on the pages that call themselves live; nothing is there twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, WebSocketRoute, expect

from tests.e2e.test_story import row_of
from tests.e2e.test_survival import eventually
from tests.panel import Panel


@pytest.fixture
def box(api: httpx.Client) -> Iterator[dict[str, Any]]:
    made = api.post("containers", json={"name": "box", "command": ["sleep", "1000"], "namespaces": {"net": "none"}})
    assert made.status_code == 201, made.text
    yield made.json()
    eventually(lambda: api.delete(f"containers/{made.json()['id']}?force=1").status_code in (204, 404))


class Wire:
    """The page's websocket, which can be cut and mended."""

    def __init__(self, page: Page) -> None:
        self.whole = True
        self._sockets: list[WebSocketRoute] = []
        page.route_web_socket("**/ws/live/", self._opened)

    def _opened(self, socket: WebSocketRoute) -> None:
        if self.whole:
            socket.connect_to_server()
            self._sockets.append(socket)
        else:
            socket.close()

    def cut(self) -> None:
        self.whole = False
        while self._sockets:
            self._sockets.pop().close()


ADDRESSES = {"activity": "/activity/", "overview": "/overview/", "tab": "/containers/{id}/events/"}


def actions_of(page: Page) -> Locator:
    return page.get_by_test_id("events").locator("tr").filter(has=page.locator(".badge")).locator(".badge:not([data-engine])")


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_what_was_missed_comes_once_and_in_its_place(page: Page, api: httpx.Client, box: dict[str, Any], address: str) -> None:
    wire = Wire(page)
    page.goto(address.format(id=box["id"]))
    newest = actions_of(page)
    expect(newest.first).to_have_text("started")
    api.post(f"containers/{box['id']}/pause", json={})
    expect(newest.first).to_have_text("paused")
    wire.cut()
    api.post(f"containers/{box['id']}/resume", json={})
    api.post(f"containers/{box['id']}/kill", json={})
    wire.whole = True
    expect(newest.first).to_have_text("exited")
    api.post(f"containers/{box['id']}/start", json={})
    expect(newest.first).to_have_text("started")
    assert newest.all_inner_texts()[:6] == ["started", "exited", "resumed", "paused", "started", "created"]


def test_what_the_worker_found_out_when_it_came_back_is_there(
    panel: Panel, page: Page, api: httpx.Client, box: dict[str, Any]
) -> None:
    page.goto("/activity/")
    expect(actions_of(page).first).to_have_text("started")
    before = panel.pid("worker")
    os.kill(before, signal.SIGKILL)
    os.kill(box["pid"], signal.SIGKILL)
    eventually(lambda: panel.pid("worker") != before and panel.is_up())
    expect(actions_of(page).first).to_have_text("exited")
    assert actions_of(page).all_inner_texts()[:3] == ["exited", "started", "created"]


def test_a_slider_that_was_dragged_is_one_row(page: Page, api: httpx.Client, box: dict[str, Any]) -> None:
    page.goto(f"/containers/{box['id']}/events/")
    rows = page.get_by_test_id("event")
    expect(rows).to_have_count(2)
    for pids in range(60, 90):
        assert api.patch(f"containers/{box['id']}/limits", json={"pids": pids}).status_code == 200
    expect(rows.first).to_contain_text("→ 89")
    assert actions_of(page).all_inner_texts() == ["limits", "started", "created"]
    page.reload()
    expect(rows).to_have_count(3)


def test_an_answer_that_comes_late_does_not_cover_what_was_told_meanwhile(page: Page, api: httpx.Client) -> None:
    """The program ends before the answer to its start arrives."""
    body = {"name": "short", "command": ["sleep", "1"], "namespaces": {"net": "none"}, "start": False}
    made = api.post("containers", json=body).json()
    held: list[Route] = []
    try:
        page.route("**/start", lambda route: held.append(route))
        row = row_of(page, "short")
        row.get_by_test_id("row-start").click()
        expect(row).to_have_attribute("aria-busy", "true")
        answer = held[0].fetch()
        assert answer.json()["state"] == "running"
        expect(row).to_have_attribute("data-state", "exited")
        held[0].fulfill(response=answer)
        expect(page.get_by_text("short was started.")).to_be_visible()
        expect(row).to_have_attribute("data-state", "exited")
        expect(row).not_to_have_attribute("aria-busy", "true")
        assert row.get_attribute("data-state") == "exited"
    finally:
        assert api.delete(f"containers/{made['id']}?force=1").status_code == 204
