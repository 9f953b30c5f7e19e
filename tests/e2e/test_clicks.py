"""A click on what is drawn anew meanwhile: lists change by themselves, and none may take a button from under the pointer."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

REFRESH = "document.querySelector('network-page').refresh()"


def over_details(page: Page) -> Locator:
    """The button, and the pointer over it."""
    page.goto("/networks/")
    details = page.locator('[data-testid=network-row][data-name="default"]').get_by_role("button", name="Details")
    details.hover()
    return details


def test_a_button_of_a_list_that_comes_anew(page: Page) -> None:
    details = over_details(page)
    page.mouse.down()
    page.evaluate(REFRESH)
    page.mouse.up()
    expect(details).to_have_attribute("aria-expanded", "true")
    expect(details).to_be_focused()


def test_another_button_than_the_first_holds_nothing_back(page: Page) -> None:
    """Under a context menu its end may never be told."""
    row = over_details(page).locator("xpath=ancestor::tr")
    old = row.element_handle()
    page.mouse.down(button="right")
    page.evaluate(REFRESH)
    assert not page.evaluate("row => row.isConnected", old)
