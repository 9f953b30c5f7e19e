"""Images in a real browser: programs of this host become one, a sandbox runs from it, its files become another, and both go."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.dockerd import Dockerd
from tests.e2e.test_story import row_of

pytestmark = pytest.mark.usefixtures("cleared")


def test_an_image_is_imported_used_committed_and_removed(page: Page) -> None:
    page.goto("/images/")
    page.get_by_test_id("import-image").click()
    page.get_by_test_id("import-type").select_option("programs")
    page.get_by_test_id("import-programs").fill("sh ls sleep touch")
    page.get_by_test_id("import-name").fill("few")
    page.get_by_test_id("import-submit").click()
    row = page.locator('[data-testid=image-row][data-name="few"]')
    expect(row).to_be_visible(timeout=30_000)

    page.goto("/containers/")
    page.get_by_test_id("new-sandbox").click()
    page.get_by_test_id("create-name").fill("from-few")
    page.get_by_test_id("create-image").fill("few")
    page.get_by_test_id("create-command").fill("sh -c 'touch /made-inside; sleep 1000'")
    page.get_by_test_id("create-sandbox").click()
    expect(row_of(page, "from-few")).to_have_attribute("data-state", "running")

    page.goto("/images/")
    row.get_by_test_id("image-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(page.get_by_test_id("toast").last).to_contain_text("from-few")

    page.goto("/containers/")
    row_of(page, "from-few").get_by_test_id("row-stop").click()
    expect(row_of(page, "from-few")).to_have_attribute("data-state", "exited")
    row_of(page, "from-few").get_by_test_id("row-more").click()
    page.get_by_test_id("menu-commit").click()
    page.get_by_test_id("ask-text").fill("few-more")
    page.get_by_test_id("ask-send").click()
    page.goto("/images/")
    expect(page.locator('[data-testid=image-row][data-name="few-more"]')).to_be_visible(timeout=30_000)
    with page.expect_download() as downloading:
        page.locator('[data-testid=image-row][data-name="few-more"]').get_by_test_id("image-export").click()
    assert b"made-inside" in downloading.value.path().read_bytes()


def test_an_image_and_a_container_of_docker_become_sandbox_images(page: Page, dockerd: Dockerd) -> None:
    dockerd.docker("run", "-d", "--name", "donor", "busybox", "sh", "-c", "echo from-docker > /note; sleep 1000")
    try:
        page.goto("/images/")
        page.locator("[data-testid=image-row]", has=page.locator('[data-engine="docker"]')).get_by_test_id("image-copy").click()
        page.get_by_test_id("ask-text").fill("from-image")
        page.get_by_test_id("ask-send").click()
        expect(page.locator('[data-testid=image-row][data-name="from-image"]')).to_be_visible(timeout=60_000)

        page.goto("/containers/")
        row_of(page, "donor").get_by_test_id("row-more").click()
        page.get_by_test_id("menu-import").click()
        expect(page.get_by_test_id("ask-text")).to_have_value("donor")
        page.get_by_test_id("ask-send").click()
        expect(page.get_by_test_id("ask-send")).to_have_count(0)  # it is under way: who leaves before takes it along
        page.goto("/images/")
        row = page.locator('[data-testid=image-row][data-name="donor"]')
        expect(row).to_be_visible(timeout=60_000)
        with page.expect_download() as downloading:
            row.get_by_test_id("image-export").click()
        assert b"from-docker" in downloading.value.path().read_bytes()
    finally:
        dockerd.remove_containers()
