"""The create form in a real browser: templates, and a namespace shared with another sandbox in two clicks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.test_story import row_of

pytestmark = pytest.mark.usefixtures("cleared")


def test_a_template_fills_the_form_and_a_sandbox_joins_anothers_processes(page: Page) -> None:
    page.get_by_test_id("new-sandbox").click()
    page.get_by_test_id("create-template").select_option("sealed")
    page.get_by_test_id("create-name").fill("first")
    page.get_by_test_id("create-sandbox").click()
    expect(row_of(page, "first")).to_have_attribute("data-state", "running")
    first = page.request.get("/api/v1/containers/first").json()
    assert os.listdir(f"/proc/{first['pid']}/root/sys/class/net") == ["lo"]
    security = page.request.get("/api/v1/containers/first/security").json()
    assert (security["asked"]["read_only_root"], security["asked"]["capabilities"]) == (True, [])

    page.get_by_test_id("new-sandbox").click()
    page.get_by_test_id("create-name").fill("second")
    page.get_by_test_id("create-command").fill("sleep 1000")
    page.get_by_test_id("create-ns-pid").select_option(label="first")
    page.get_by_test_id("create-ns-user").select_option(label="first")
    expect(page.get_by_test_id("preview")).to_contain_text("nsenter")
    page.get_by_test_id("create-sandbox").click()
    expect(row_of(page, "second")).to_have_attribute("data-state", "running")
    second = page.request.get("/api/v1/containers/second").json()
    assert os.stat(f"/proc/{second['pid']}/ns/pid").st_ino == os.stat(f"/proc/{first['pid']}/ns/pid").st_ino


def test_what_the_host_refuses_is_said_in_the_form_and_changes_nothing(page: Page) -> None:
    page.get_by_test_id("new-sandbox").click()
    page.get_by_test_id("create-ns-net").select_option("path:")
    page.locator("[name=path-net]").fill("/run/netns/nowhere")
    expect(page.get_by_test_id("preview")).to_contain_text("There is no namespace at /run/netns/nowhere")
    page.get_by_test_id("create-sandbox").click()
    expect(page.get_by_test_id("create-error")).to_contain_text("There is no namespace")
    assert page.request.get("/api/v1/containers").json()["items"] == []


def test_root_alone_is_mapped_by_one_button_to_an_id_that_nobody_has(page: Page) -> None:
    outside = []
    for name in ("first", "second"):
        page.get_by_test_id("new-sandbox").click()
        page.get_by_test_id("create-name").fill(name)
        page.get_by_text("Security: user").click()
        page.get_by_test_id("create-id-map-root").click()
        expect(page.get_by_test_id("preview")).to_contain_text("echo deny")
        page.get_by_test_id("create-sandbox").click()
        expect(row_of(page, name)).to_have_attribute("data-state", "running")
        made = page.request.get(f"/api/v1/containers/{name}").json()
        words = Path(f"/proc/{made['pid']}/uid_map").read_text().split()
        assert (words[0], words[2]) == ("0", "1")
        outside.append(int(words[1]))
    uids = page.request.get("/api/v1/host").json()["uids"]
    assert outside == [uids["base"] + uids["count"] - number for number in (1, 2)]
