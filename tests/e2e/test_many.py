"""Several containers at once, in a real browser: selected, limited by a preset, removed; by the kernel's word. And very many."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.test_story import row_of

MANY = 400  # of 3.5 KB each: more than one frame of a websocket holds
AT_ONCE = 4
PATH = "document.querySelector('[data-testid=container-row][data-name=\"many-0\"] spark-line path').getAttribute('d')"


def test_three_are_made_from_a_template_limited_by_a_preset_and_removed(page: Page) -> None:
    token = page.locator('meta[name="csrf-token"]').get_attribute("content") or ""
    page.request.post(
        "/api/v1/templates/shell/create", data={"prefix": "box", "count": 3}, headers={"X-CSRFToken": token, "Referer": page.url}
    )
    expect(page.get_by_test_id("container-row")).to_have_count(3)
    row_of(page, "box-1").get_by_test_id("row-select").click()
    row_of(page, "box-3").get_by_test_id("row-select").click(modifiers=["Shift"])
    expect(page.get_by_test_id("selected-count")).to_have_text("3 selected")
    row_of(page, "box-2").focus()
    page.keyboard.press("Space")
    expect(page.get_by_test_id("selected-count")).to_have_text("2 selected")

    page.get_by_test_id("selected-preset").click()
    page.get_by_test_id("preset-medium").click()
    expect(row_of(page, "box-3").get_by_test_id("pids")).to_contain_text("200")
    limits = {one["name"]: one["limits"]["pids"]["kernel"] for one in page.request.get("/api/v1/containers").json()["items"]}
    assert limits == {"box-1": 200, "box-2": 50, "box-3": 200}

    page.keyboard.press("*")
    page.get_by_test_id("selected-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(page.get_by_test_id("container-row")).to_have_count(0)
    expect(page.get_by_test_id("selection-bar")).to_be_hidden()


@pytest.fixture
def crowd(api: httpx.Client, page: Page) -> Iterator[None]:
    """MANY sandboxes, made while the page shows the list."""

    def make(number: int) -> None:
        body = {"name": f"many-{number}", "command": ["sleep", "1000"], "namespaces": {"net": "none"}}
        made = api.post("containers", json=body)
        assert made.status_code == 201, made.text

    def remove(container: str) -> None:
        assert api.delete(f"containers/{container}?force=1").status_code == 204

    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            list(threads.map(make, range(MANY)))
            yield
        finally:
            list(threads.map(remove, [one["id"] for one in api.get("containers").json()["items"] if one["engine"] == "raw"]))


def test_a_list_longer_than_a_frame_is_whole_and_live(page: Page, api: httpx.Client, crowd: None) -> None:
    rows = page.get_by_test_id("container-row")
    expect(rows).to_have_count(MANY)
    assert len(api.get("containers").content) > 1 << 20
    for address in ("/containers/", "/activity/"):  # one begins with the list in the page, the other with the websocket's alone
        page.goto(address)
        expect(page.locator("[data-count=containers]")).to_have_text(str(MANY))
    page.goto("/containers/")
    expect(rows).to_have_count(MANY)
    for _ in range(3):
        page.wait_for_function(f"before => {PATH} !== before", arg=page.evaluate(PATH))
    page.get_by_test_id("filter").fill("many-399")
    expect(page.locator("[data-testid=container-row]:visible")).to_have_count(1)
    made = api.post("containers", json={"name": "many-3999", "command": ["sleep", "1000"], "namespaces": {"net": "none"}})
    assert made.status_code == 201, made.text
    expect(page.locator("[data-testid=container-row]:visible")).to_have_count(2)
