"""Two clicks to a sandbox in another's namespaces, one to a toolbox, and a warning before what others lean on is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.dockerd import Dockerd

Json = dict[str, Any]


@pytest.fixture
def web(api: httpx.Client, dockerd: Dockerd) -> Iterator[Json]:
    """A Docker container; what was made beside it goes too."""
    before = {one["id"] for one in api.get("containers").json()["items"]}
    body = {"name": "web", "engine": "docker", "image": "busybox", "command": ["sleep", "1000"], "hostname": "inside"}
    made = api.post("containers", json=body)
    assert made.status_code == 201, made.text
    yield made.json()
    for one in api.get("containers").json()["items"]:
        if one["id"] not in before:
            api.delete(f"containers/{one['id']}?force=1")


def menu(page: Page, container: Json, word: str) -> None:
    page.goto(f"/containers/{container['id']}/")
    page.get_by_role("button", name="More actions").click()
    page.get_by_test_id("action-menu").get_by_role("menuitem", name=word).click()


def test_a_sandbox_in_a_docker_containers_namespaces(page: Page, api: httpx.Client, web: Json) -> None:
    menu(page, web, "New sandbox in its namespaces")
    name = page.get_by_test_id("create-name").input_value()
    page.get_by_test_id("create-sandbox").click()
    expect(page.get_by_test_id("create-dialog")).to_have_count(0)
    beside = api.get(f"containers/{name}").json()
    same = {kind for kind, view in beside["namespaces"].items() if view["inode"] == web["namespaces"][kind]["inode"]}
    assert same == {"pid", "net", "ipc", "uts"}
    page.get_by_test_id("action-restart").click()
    expect(page.get_by_test_id("dependents")).to_contain_text(name)
    page.get_by_test_id("confirm-cancel").click()
    assert api.get("containers/web").json()["pid"] == web["pid"]
    page.get_by_test_id("action-restart").click()
    page.get_by_test_id("confirm-ok").click()
    expect(page.get_by_text("joined again")).to_be_visible(timeout=30_000)
    again, one = (api.get(f"containers/{word}").json()["namespaces"] for word in (name, "web"))
    assert all(again[kind]["inode"] == one[kind]["inode"] != 0 for kind in same)


def test_a_toolbox(page: Page, api: httpx.Client, web: Json) -> None:
    menu(page, web, "Toolbox")
    expect(page.get_by_test_id("terminal-status")).to_have_text("connected")
    page.get_by_test_id("terminal-screen").click()
    page.keyboard.type("hostname; ls -d /target/bin; ps | grep -c 'sleep 1000'\n")
    expect(page.get_by_test_id("terminal-screen")).to_contain_text("/target/bin")
    expect(page.get_by_test_id("terminal-screen")).to_contain_text("inside")
    open_now = len(api.get("terminals").json()["items"])
    page.get_by_test_id("tab-overview").click()
    expect(page.get_by_test_id("facts")).to_be_visible()
    assert page.request.get("/api/v1/terminals").json()["items"] == [] or open_now == 0
