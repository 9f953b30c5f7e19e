"""Two clicks to a sandbox in another's namespaces, one to a toolbox, and a warning before what others lean on is stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from containers_app.spec import NAMESPACE_TYPES
from tests.dockerd import Dockerd
from tests.engines.conftest import wait_until

Json = dict[str, Any]


@pytest.fixture
def web(api: httpx.Client, dockerd: Dockerd) -> Iterator[Json]:
    """A Docker container; what was made beside it goes too."""
    before = {one["id"] for one in api.get("containers").json()["items"]}
    body: Json = {"name": "web", "engine": "docker", "image": "busybox", "command": ["sleep", "1000"], "hostname": "inside"}
    body["stop_timeout"] = 1  # seconds: a sleep that is pid 1 does not hear SIGTERM
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
    before = terminals(page)
    menu(page, web, "Toolbox")
    expect(page.get_by_test_id("terminal-status")).to_have_text("connected")
    page.get_by_test_id("terminal-screen").click()
    page.keyboard.type("hostname; ls -d /target/bin; ps | grep -c 'sleep 1000'\n")
    expect(page.get_by_test_id("terminal-screen")).to_contain_text("/target/bin")
    expect(page.get_by_test_id("terminal-screen")).to_contain_text("inside")
    assert len(terminals(page) - before) == 1
    page.get_by_test_id("tab-overview").click()
    expect(page.get_by_test_id("facts")).to_be_visible()
    wait_until(lambda: terminals(page) <= before)  # its end is the kernel's to tell


def terminals(page: Page) -> set[str]:
    """The living sessions of the one who is logged in."""
    return {one["session"] for one in page.request.get("/api/v1/terminals").json()["items"] if one["alive"]}


@pytest.fixture
def box(api: httpx.Client) -> Iterator[Json]:
    """A sandbox; what was made beside it goes too."""
    before = {one["id"] for one in api.get("containers").json()["items"]}
    made = api.post("containers", json={"name": "box", "command": ["sleep", "1000"]})
    assert made.status_code == 201, made.text
    yield made.json()
    for one in api.get("containers").json()["items"]:
        if one["id"] not in before:
            api.delete(f"containers/{one['id']}?force=1")


def run(api: httpx.Client, name: str, script: str) -> Json:
    answer = api.post(f"containers/{name}/exec", json={"argv": ["sh", "-c", script]})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def create(page: Page, api: httpx.Client) -> Json:
    name = page.get_by_test_id("create-name").input_value()
    page.get_by_test_id("create-command").fill("sleep 1000")
    page.get_by_test_id("create-sandbox").click()
    expect(page.get_by_test_id("create-dialog")).to_have_count(0)
    made: Json = api.get(f"containers/{name}").json()
    assert made["state"] == "running"
    return made


def inode(container: Json, kind: str) -> int:
    """The kernel's word."""
    return os.stat(f"/proc/{container['pid']}/ns/{kind}").st_ino


@pytest.mark.parametrize("kind", ["pid", "net", "ipc", "uts"])
def test_one_namespace_alone_is_shared(page: Page, api: httpx.Client, box: Json, kind: str) -> None:
    menu(page, box, "New sandbox in its namespaces")
    for other in {"pid", "net", "ipc", "uts"} - {kind}:
        page.get_by_test_id(f"share-{other}").uncheck()
    beside = create(page, api)
    assert {one for one in NAMESPACE_TYPES if inode(beside, one) == inode(box, one)} == {kind}


def test_a_sandboxs_files_are_shared_with_its_users_by_one_box(page: Page, api: httpx.Client, box: Json) -> None:
    menu(page, box, "New sandbox in its namespaces")
    expect(page.get_by_test_id("share-mnt-note")).to_be_hidden()
    page.get_by_test_id("share-mnt").check()
    expect(page.get_by_test_id("share-mnt-note")).to_contain_text("With its users")
    expect(page.get_by_test_id("create-ns-user")).to_have_value(f"container:{box['id']}")
    page.get_by_test_id("create-ns-user").select_option("private")
    expect(page.get_by_test_id("share-mnt")).not_to_be_checked()
    page.get_by_test_id("share-mnt").check()
    beside = create(page, api)
    shared = {kind for kind in NAMESPACE_TYPES if inode(beside, kind) == inode(box, kind)}
    assert shared == {"pid", "net", "ipc", "uts", "mnt", "user"}
    assert run(api, "box", "echo word > /root/file; chmod 600 /root/file")["exit_code"] == 0
    assert run(api, beside["name"], "cat /root/file; stat -c %u /root/file")["stdout"] == "word\n0\n"


def test_a_docker_containers_files_are_nobodys_and_the_form_says_why(page: Page, api: httpx.Client, web: Json) -> None:
    menu(page, web, "New sandbox in its namespaces")
    page.get_by_test_id("share-mnt").check()
    note = page.get_by_test_id("share-mnt-note")
    expect(note).to_contain_text("no_user_namespace in policy.toml")
    assert note.evaluate("(it) => it.scrollWidth <= it.closest('.body').clientWidth")  # all of it can be read
    beside = create(page, api)
    shared = {kind for kind in NAMESPACE_TYPES if inode(beside, kind) == inode(web, kind)}
    assert shared == {"pid", "net", "ipc", "uts", "mnt"}
    assert run(api, "web", "echo word > /root/file; chmod 644 /root/file; chmod 755 /root")["exit_code"] == 0
    tried = run(api, beside["name"], "cat /root/file; stat -c %u /root/file; echo more >> /root/file")
    assert tried["stdout"] == "word\n65534\n" and "denied" in tried["stderr"]


def test_the_hosts_users_are_refused_in_the_form(page: Page, api: httpx.Client, web: Json) -> None:
    menu(page, web, "New sandbox in its namespaces")
    page.get_by_test_id("create-ns-user").select_option(label="web")
    page.get_by_test_id("create-sandbox").click()
    expect(page.get_by_test_id("create-error")).to_contain_text("does not lend its own user namespace")
    assert [one["name"] for one in api.get("containers").json()["items"]] == ["web"]


def test_the_hosts_processes_from_the_form(page: Page, api: httpx.Client, box: Json) -> None:
    page.goto("/containers/")
    page.get_by_test_id("new-sandbox").click()
    expect(page.get_by_test_id("create-sharing")).to_be_hidden()
    page.get_by_test_id("create-ns-pid").select_option("host")
    made = create(page, api)
    assert inode(made, "pid") == os.stat("/proc/self/ns/pid").st_ino and made["namespaces"]["pid"]["initial"]
    seen = run(api, made["name"], "ls -d /proc/[0-9]* | cut -d/ -f3")["stdout"].split()
    assert str(os.getpid()) in seen and str(box["pid"]) in seen
