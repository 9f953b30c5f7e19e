"""A click on what is drawn anew meanwhile: lists change by themselves, and none may take a button from under the pointer."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def test_a_button_of_a_list_that_comes_anew(page: Page) -> None:
    page.goto("/networks/")
    details = page.locator('[data-testid=network-row][data-name="default"]').get_by_role("button", name="Details")
    where = details.bounding_box()
    assert where is not None
    page.mouse.move(where["x"] + where["width"] / 2, where["y"] + where["height"] / 2)
    page.mouse.down()
    page.evaluate("document.querySelector('network-page').refresh()")
    page.mouse.up()
    expect(details).to_have_attribute("aria-expanded", "true")
    expect(details).to_be_focused()
