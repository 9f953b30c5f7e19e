"""What the pages offer to whoever is not staff: nothing that the API would refuse them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import logged_in
from tests.dockerd import Dockerd
from tests.panel import PASSWORD, Panel

MAKE = f"""
from containers_app.models import User
user = User(username="olga", must_change_password=False)
user.set_password("{PASSWORD}")
user.save()
"""


@pytest.fixture
def olgas(panel: Panel, context: BrowserContext) -> Iterator[Page]:
    """The browser of a user who is not staff."""
    panel.manage("shell", "-c", MAKE)
    with logged_in(context, panel.url, "olga") as page:
        yield page
    panel.manage("shell", "-c", "from containers_app.models import User; User.objects.get(username='olga').delete()")


def test_what_staff_do_is_said_or_not_offered(olgas: Page, dockerd: Dockerd) -> None:
    olgas.goto("/volumes/")
    expect(olgas.get_by_role("heading", name="Volumes are for staff")).to_be_visible()
    expect(olgas.get_by_test_id("new-volume")).to_have_count(0)
    expect(olgas.get_by_test_id("worker-down")).to_have_count(0)
    expect(olgas.get_by_test_id("prune-docker")).to_have_count(0)
    olgas.goto("/networks/")
    expect(olgas.get_by_test_id("network-row").first).to_be_visible()
    for part in ("new-network", "network-remove", "network-connect"):
        expect(olgas.get_by_test_id(part)).to_have_count(0)
    olgas.goto("/images/")
    expect(olgas.locator('[data-testid=image-row][data-name="busybox"]').get_by_test_id("image-export")).to_be_visible()
    for part in ("import-image", "image-copy", "image-tag", "image-remove", "prune-docker"):
        expect(olgas.get_by_test_id(part)).to_have_count(0)
    olgas.goto("/containers/")
    olgas.get_by_test_id("new-sandbox").click()
    expect(olgas.get_by_test_id("create-engine").locator("option[value=docker]")).to_have_text("docker (for staff)")
    expect(olgas.get_by_test_id("create-engine").locator("option[value=docker]")).to_be_disabled()


def test_staff_are_offered_all_of_it(page: Page, dockerd: Dockerd) -> None:
    for path, parts in (
        ("/volumes/", ("new-volume", "prune-docker")),
        ("/networks/", ("new-network",)),
        ("/images/", ("import-image", "image-copy", "image-tag", "image-remove", "prune-docker")),
    ):
        page.goto(path)
        for part in parts:
            expect(page.get_by_test_id(part).first).to_be_visible()
