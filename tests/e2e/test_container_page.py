"""The page of one container in a real browser: what can change on it, its facts, and each of its tabs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.dockerd import Dockerd

Json = dict[str, Any]
COUNTING = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2; done"


def made(api: httpx.Client, **body: Any) -> Json:
    answer = api.post("containers", json={"image": "busybox", "command": ["sleep", "1000"], **body})
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def removed(api: httpx.Client, container: Json) -> None:
    assert api.delete(f"containers/{container['id']}?force=1").status_code == 204


@pytest.fixture
def box(api: httpx.Client) -> Iterator[Json]:
    made_one = made(
        api,
        name="page-1",
        command=["sh", "-c", f"({COUNTING}) & sleep 1000; true"],
        labels={"tier": "front"},
        ports=[{"container_port": 80, "host_port": 0}],
        mounts=[{"type": "tmpfs", "target": "/scratch", "size": "1M"}],
    )
    yield made_one
    removed(api, made_one)


def test_it_is_renamed_by_menu_and_key(page: Page, api: httpx.Client, box: Json) -> None:
    page.goto(f"/containers/{box['id']}/")
    page.get_by_role("button", name="More actions").click()
    page.get_by_test_id("menu-rename").click()
    page.get_by_test_id("ask-text").fill("no spaces!")
    page.get_by_test_id("ask-send").click()
    expect(page.get_by_role("alert")).to_contain_text("is not a name")
    page.get_by_test_id("ask-text").fill("page-2")
    page.get_by_test_id("ask-send").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("page-2")
    assert api.get(f"containers/{box['id']}").json()["name"] == "page-2"
    expect(page.get_by_test_id("ask-text")).to_have_count(0)
    page.keyboard.press("F2")
    page.get_by_test_id("ask-text").fill("page-3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("page-3")


def test_what_is_chosen_before_the_last_action_is_answered_is_done_after_it(page: Page, box: Json) -> None:
    page.goto("/containers/")
    row = page.locator('[data-testid=container-row][data-name="page-1"]')
    answers: list[tuple[Route, APIResponse]] = []
    page.route("**/stop", lambda route: answers.append((route, route.fetch())))
    row.get_by_test_id("row-stop").click()
    expect(row).to_have_attribute("data-state", "exited")
    row.get_by_test_id("row-remove").click()
    while not answers:
        page.wait_for_timeout(20)
    [(route, answer)] = answers
    expect(row).to_have_attribute("aria-busy", "true")
    route.fulfill(response=answer)
    page.get_by_test_id("confirm-cancel").click()
    expect(row).not_to_have_attribute("aria-busy", "true")


def test_restart_policy_and_labels_change_on_the_facts(page: Page, api: httpx.Client, box: Json) -> None:
    page.goto(f"/containers/{box['id']}/")
    page.get_by_test_id("restart-policy").focus()
    page.get_by_test_id("restart-policy").select_option("unless-stopped")
    expect(page.get_by_test_id("toast").last).to_contain_text("unless stopped")
    assert api.get("containers/page-1").json()["restart_policy"] == "unless-stopped"
    expect(page.get_by_test_id("restart-policy")).to_be_focused()
    page.get_by_test_id("edit-labels").click()
    page.get_by_test_id("ask-text").fill("tier=back\nteam=blue")
    page.get_by_test_id("ask-send").click()
    expect(page.get_by_test_id("facts")).to_contain_text("team=blue")
    assert api.get("containers/page-1").json()["labels"] == {"tier": "back", "team": "blue"}
    port = box["ports"][0]["host_port"]
    expect(page.get_by_test_id("facts").get_by_test_id("port")).to_have_attribute("href", f"http://127.0.0.1:{port}/")
    api.patch("containers/page-1", json={"restart": "no"})
    expect(page.get_by_test_id("restart-policy")).to_have_value("no")


def test_a_restart_that_is_due_is_told(page: Page, api: httpx.Client) -> None:
    failing = made(api, name="failing", command=["sh", "-c", "exit 3"], restart={"policy": "on-failure", "retries": 4})
    try:
        page.goto(f"/containers/{failing['id']}/")
        expect(page.get_by_test_id("restarts")).to_have_text("given up after 4 attempts")
        page.goto("/containers/")
        mark = page.locator('[data-testid=container-row][data-name="failing"] [data-mark=restarts]')
        expect(mark).to_have_attribute("title", "given up after 4 attempts")
    finally:
        removed(api, failing)


def test_what_is_shared_with_the_host_stands_above_all(page: Page, api: httpx.Client, box: Json) -> None:
    shared = made(api, name="hosts-net", namespaces={"net": "host"})
    beside = made(api, name="beside", namespaces={"net": f"container:{box['id']}"})
    try:
        page.goto(f"/containers/{shared['id']}/")
        expect(page.get_by_test_id("isolation-warning")).to_contain_text("It has the host's network")
        page.goto(f"/containers/{box['id']}/")
        expect(page.get_by_test_id("chart-net_in-unit")).to_contain_text("shared with beside")
        expect(page.get_by_test_id("chart-net_in")).to_contain_text("B/s")
        expect(page.get_by_test_id("isolation-warning")).to_be_hidden()
        page.goto(f"/containers/{beside['id']}/network/")
        expect(page.get_by_test_id("network-facts")).to_contain_text("shared with page-1")
        expect(page.get_by_test_id("chart-net_in")).to_have_count(0)
    finally:
        removed(api, beside)
        removed(api, shared)


def test_processes_are_a_tree_that_one_of_the_host_can_join(page: Page, api: httpx.Client, box: Json) -> None:
    page.goto(f"/containers/{box['id']}/processes/")
    expect(page.locator("[data-testid=process][data-depth='0']")).to_have_count(1)
    expect(page.locator("[data-testid=process][data-depth='1']").first).to_be_visible()
    guest = subprocess.Popen(["sleep", "1000"])
    try:
        page.get_by_test_id("add-process").click()
        page.get_by_test_id("ask-text").fill(str(guest.pid))
        page.get_by_test_id("ask-send").click()
        expect(page.locator("[data-testid=process]").filter(has_text=str(guest.pid))).to_be_visible()
        pids = [one["pid"] for one in api.get("containers/page-1/processes").json()["items"]]
        assert guest.pid in pids
    finally:
        guest.kill()
        guest.wait()
    page.get_by_test_id("send-signal").click()
    page.get_by_test_id("ask-text").fill("NOPE")
    page.get_by_test_id("ask-send").click()
    expect(page.get_by_role("alert")).to_contain_text("no such signal")
    page.get_by_test_id("ask-text").fill("TERM")
    page.get_by_test_id("ask-send").click()
    expect(page.get_by_test_id("toast").last).to_contain_text("signal was sent")


def test_mounts_are_a_tree(page: Page, box: Json) -> None:
    page.goto(f"/containers/{box['id']}/mounts/")
    scratch = page.locator("[data-testid=mount][data-target='/scratch']")
    expect(scratch).to_contain_text("tmpfs")
    expect(scratch).to_contain_text("size=1024k")
    expect(scratch).to_contain_text("private")
    expect(page.locator("[data-testid=mount]").first).to_have_attribute("data-target", "/")


def test_a_log_is_followed_searched_timed_and_cut(page: Page, box: Json) -> None:
    page.goto(f"/containers/{box['id']}/logs/")
    log = page.get_by_test_id("logs")
    expect(log).to_contain_text("line 1\nline 2\n")
    last = int(log.inner_text().split()[-1])
    expect(log).to_contain_text(f"line {last + 5}")
    page.keyboard.press("/")
    page.keyboard.type("line 2")
    expect(page.get_by_test_id("log-found")).to_contain_text(" of ")
    page.get_by_test_id("log-find").fill("nowhere")
    expect(page.get_by_test_id("log-found")).to_have_text("not found")
    page.get_by_test_id("log-times").check()
    expect(log).to_contain_text(re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z line "))
    page.get_by_test_id("log-since").fill("soon")
    page.keyboard.press("Enter")
    expect(page.get_by_text("That is no time.")).to_be_visible()
    page.get_by_test_id("log-since").fill("2100-01-01")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing was written since then.")).to_be_visible()
    page.get_by_test_id("log-since").fill("")
    page.keyboard.press("Enter")
    with page.expect_download() as downloading:
        page.get_by_test_id("log-download").click()
    assert downloading.value.suggested_filename == "page-1.log"
    assert b"line 1\n" in downloading.value.path().read_bytes()


def test_one_program_runs_in_all_or_some_namespaces(page: Page, box: Json) -> None:
    page.goto(f"/containers/{box['id']}/exec/")
    page.get_by_test_id("exec-command").fill("sh -c 'hostname; echo wrong >&2; exit 7'")
    page.keyboard.press("Enter")
    run = page.get_by_test_id("exec-run")
    expect(run.get_by_test_id("exec-code")).to_have_text("exit code 7")
    expect(run.get_by_test_id("exec-stdout")).to_have_text("page-1\n")
    expect(run.get_by_test_id("exec-stderr")).to_have_text("wrong\n")
    page.get_by_test_id("exec-some").check()
    for kind in ("mnt", "net"):
        page.get_by_test_id(f"exec-{kind}").check()
    page.get_by_test_id("exec-command").fill("sh -c 'hostname; ls /sys/class/net; ls -d /scratch'")
    page.get_by_test_id("exec-run-it").click()
    expect(run).to_have_count(2)
    expect(run.first).to_contain_text("nsenter -m -n sh -c")
    expect(run.first.get_by_test_id("exec-stdout")).not_to_contain_text("page-1")
    expect(run.first.get_by_test_id("exec-stdout")).to_contain_text("/scratch")


def test_a_docker_container_is_connected_to_a_network(page: Page, api: httpx.Client, dockerd: Dockerd) -> None:
    dockerd.docker("network", "create", "page-net")
    health = {"test": ["true"], "interval": 1}
    web = made(api, name="page-web", engine="docker", health=health)
    try:
        page.goto(f"/containers/{web['id']}/network/")
        page.get_by_test_id("connect-network").select_option("page-net")
        page.get_by_test_id("connect").click()
        joined = page.locator("[data-testid=joined-network][data-name='page-net']")
        expect(joined).to_be_visible()
        assert "page-net" in api.get("containers/page-web").json()["networks"]
        joined.get_by_test_id("disconnect").click()
        expect(joined).to_have_count(0)
        expect(page.get_by_test_id("container-health")).to_have_text("healthy", timeout=60_000)
        page.goto("/containers/")
        mark = page.locator('[data-testid=container-row][data-name="page-web"] [data-mark="health-healthy"]')
        expect(mark).to_be_visible()
    finally:
        removed(api, web)
        dockerd.docker("network", "rm", "page-net")


def test_what_docker_does_not_answer_for_is_grey(page: Page, api: httpx.Client, dockerd: Dockerd) -> None:
    web = made(api, name="page-grey", engine="docker")
    try:
        page.goto("/containers/")
        row = page.locator('[data-testid=container-row][data-name="page-grey"]')
        expect(row).to_have_attribute("data-state", "running")
        dockerd.kill()
        expect(row).to_have_attribute("data-stale", "true")
        expect(page.get_by_test_id("stale-banner")).to_contain_text("docker does not answer")
        page.goto(f"/containers/{web['id']}/")
        expect(page.get_by_test_id("container-stale")).to_contain_text("as last seen")
        dockerd.start()
        expect(page.get_by_test_id("container-stale")).to_be_hidden(timeout=30_000)
    finally:
        if not dockerd.pid:
            dockerd.start()
        removed(api, web)


def test_the_tabs_are_keys_and_addresses(page: Page, box: Json) -> None:
    page.goto(f"/containers/{box['id']}/")
    expect(page.get_by_test_id("facts")).to_be_visible()
    page.keyboard.press("6")
    expect(page).to_have_url(f"{page.url.split('/containers/')[0]}/containers/{box['id']}/processes/")
    page.get_by_test_id("tab-processes").focus()
    for name in ("namespaces", "security", "commands", "mounts", "network", "exec"):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_test_id(f"tab-{name}")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page.get_by_test_id("tab-network")).to_have_attribute("aria-selected", "true")


def test_the_overview_is_there_in_the_first_frame_and_fetched_by_no_other_tab(page: Page, box: Json) -> None:
    frame = "requestAnimationFrame(() => { globalThis.firstFrame = Boolean(document.querySelector('container-overview dl')); })"
    page.add_init_script(frame)
    page.goto(f"/containers/{box['id']}/")
    page.wait_for_function("globalThis.firstFrame !== undefined")
    assert page.evaluate("globalThis.firstFrame")
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"/containers/{box['id']}/terminal/")
    expect(page.get_by_test_id("terminal-status")).to_have_text("connected")
    assert any("/container-page." in url for url in fetched)
    assert not any(name in url for url in fetched for name in ("/container-overview.", "/time-chart.", "/container_row."))
    page.get_by_test_id("tab-overview").click()
    expect(page.get_by_test_id("facts")).to_be_visible()
    assert any("/container-overview." in url for url in fetched)
