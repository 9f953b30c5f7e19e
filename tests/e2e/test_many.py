"""Several containers at once, in a real browser: selected, limited by a preset, removed; each by the kernel's word."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.test_story import row_of


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
