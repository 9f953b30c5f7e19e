"""The page of networks in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect


@pytest.fixture
def eight(api: httpx.Client) -> Iterator[list[str]]:
    """Names of sandboxes on the default network."""
    names = [f"on-it-{number}" for number in range(8)]
    for name in names:
        assert api.post("containers", json={"name": name, "image": "busybox"}).status_code == 201
    yield names
    for name in names:
        assert api.delete(f"containers/{name}?force=1").status_code == 204


def test_of_many_members_the_first_are_shown_until_the_details_are_open(page: Page, eight: list[str]) -> None:
    page.goto("/networks/")
    row = page.locator('[data-testid=network-row][data-name="default"]')
    members, more = row.get_by_test_id("network-member"), row.get_by_test_id("network-more")
    expect(members).to_have_count(6)
    expect(more).to_have_text("and 2 more")
    row.get_by_role("button", name="Details").press("Enter")
    expect(members.locator("a")).to_have_text(eight)
    expect(more).to_have_count(0)
    expect(row.get_by_role("button", name="Details")).to_be_focused()
    page.keyboard.press("Enter")
    expect(members).to_have_count(6)
