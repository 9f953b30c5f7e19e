"""From the printed URL to a shell in a sandbox, with a Docker container beside it, in a real browser on the real kernel."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.dockerd import Dockerd
from tests.e2e.conftest import Fresh
from tests.engines.conftest import wait_until

NEW_PASSWORD = "a-better-one-than-before"
MEBIBYTE = 1 << 20
COUNTER = itertools.count()


def log_in(page: Page, password: str) -> None:
    page.goto("/")
    page.get_by_test_id("login-username").fill("admin")
    page.get_by_test_id("login-password").fill(password)
    page.get_by_test_id("login-submit").click()


def set_password(page: Page) -> None:
    page.wait_for_url("**/password/")
    page.goto("/containers/")
    page.wait_for_url("**/password/**")
    for field in ("new_password1", "new_password2"):
        page.locator(f"input[name={field}]").fill(NEW_PASSWORD)
    page.get_by_test_id("password-submit").click()
    page.wait_for_url("**/containers/")


def create_sandbox(page: Page) -> str:
    """With all defaults. Returns its name."""
    page.get_by_test_id("new-sandbox").click()
    name = page.get_by_test_id("create-name").input_value()
    expect(page.get_by_test_id("preview")).to_contain_text("unshare")
    page.get_by_test_id("create-sandbox").click()
    expect(row_of(page, name)).to_have_attribute("data-state", "running")
    return name


def row_of(page: Page, name: str):  # type: ignore[no-untyped-def]
    return page.locator(f'[data-testid=container-row][data-name="{name}"]')


def type_command(page: Page, command: str, expected: str) -> None:
    """Type it into the shell; when it has ended, what it printed must match."""
    number = next(COUNTER)
    page.keyboard.type(f"clear; {command}; echo en''d-{number}\n")
    rows = page.get_by_test_id("terminal-screen").locator(".xterm-rows")
    expect(rows).to_contain_text(f"end-{number}")
    assert re.search(expected, rows.inner_text(), re.M), rows.inner_text()


def test_story(stranger: Page, fresh: Fresh, dockerd: Dockerd) -> None:
    page = stranger
    log_in(page, fresh.password)
    set_password(page)

    name = create_sandbox(page)
    row = row_of(page, name)
    expect(row.get_by_test_id("memory")).to_contain_text("64")
    expect(row.get_by_test_id("pids")).to_contain_text("50")
    expect(row.get_by_test_id("cpu")).to_contain_text("0.5")
    container = page.request.get("/api/v1/containers").json()["items"][0]
    assert (container["name"], container["engine"], container["state"]) == (name, "raw", "running")
    for kind, view in container["namespaces"].items():
        assert view["inode"] == os.stat(f"/proc/{container['pid']}/ns/{kind}").st_ino

    move_memory_slider(page, container["id"])
    shell(page, container, name)
    graph(page, container)
    docker_beside(page, dockerd)
    stop_and_remove(page, name)


def move_memory_slider(page: Page, container_id: str) -> None:
    """Shown is what the kernel accepted, read back from the cgroup's file."""
    page.goto(f"/containers/{container_id}/limits/")
    slider = page.get_by_test_id("limit-memory").last
    kernel = page.get_by_test_id("limit-memory-kernel")
    expect(kernel).to_contain_text("64")
    before = kernel.inner_text()
    slider.focus()
    page.keyboard.press("PageUp")
    expect(kernel).not_to_have_text(before)
    read = page.request.get(f"/api/v1/containers/{container_id}/limits").json()["memory"]
    directory = page.request.get(f"/api/v1/containers/{container_id}").json()["cgroups"]
    files = [Path(place, name) for place in directory.values() for name in ("memory.max", "memory.limit_in_bytes")]
    written = next(int(file.read_text()) for file in files if file.exists())
    assert read["kernel"] == written and written > 64 * MEBIBYTE


def shell(page: Page, container: dict, name: str) -> None:  # type: ignore[type-arg]
    page.goto(f"/containers/{container['id']}/terminal/")
    expect(page.get_by_test_id("terminal-status")).to_have_text("connected")
    type_command(page, "hostname", rf"^{name}$")
    type_command(page, "ps", r"^\s*1 root ")
    type_command(page, "ip -o -4 addr show eth0", r"inet \d+\.\d+\.\d+\.\d+/\d+")
    type_command(page, "mount | grep -c ' / '", r"^1$")
    type_command(page, "ping -c 1 -W 2 $(ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p')", r"\b0% packet loss")


def graph(page: Page, container: dict) -> None:  # type: ignore[type-arg]
    page.goto("/namespaces/")
    inode = str(container["namespaces"]["net"]["inode"])
    expect(page.locator("main")).to_contain_text(inode)
    expect(page.locator("main")).to_contain_text(str(os.stat("/proc/self/ns/net").st_ino))


def docker_beside(page: Page, dockerd: Dockerd) -> None:
    """Appears, is limited and goes without a reload."""
    page.goto("/containers/")
    expect(page.get_by_test_id("container-list")).to_be_visible()
    page.evaluate("window.notReloaded = true")
    made = dockerd.docker("run", "--detach", "--name", "beside", "--memory", "128m", "busybox", "sleep", "1000")
    try:
        row = row_of(page, "beside")
        expect(row).to_have_attribute("data-state", "running")
        expect(row.get_by_test_id("memory")).to_contain_text("128")
        nodes = page.request.get("/api/v1/namespaces").json()["nodes"]
        assert any(node["kind"] == "container" and node["name"] == "beside" for node in nodes)
        row.get_by_test_id("row-terminal").click()
        expect(page.get_by_test_id("terminal-status")).to_have_text("connected")
        type_command(page, "hostname", rf"\b{made[:12]}\b")
        page.goto("/containers/")
        page.evaluate("window.notReloaded = true")
    finally:
        dockerd.docker("rm", "--force", "beside")
    expect(row_of(page, "beside")).to_have_count(0)
    assert page.evaluate("window.notReloaded") is True


def stop_and_remove(page: Page, name: str) -> None:
    row = row_of(page, name)
    row.get_by_test_id("row-stop").click()
    expect(row).to_have_attribute("data-state", "exited")
    row.get_by_test_id("row-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(row).to_have_count(0)
    wait_until(lambda: page.request.get("/api/v1/containers").json()["items"] == [])
