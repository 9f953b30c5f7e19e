"""The tab of limits in a real browser: each kind of slider against the kernel's own files, drift, freezing, and groups."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.dockerd import Dockerd
from tests.engines.conftest import wait_until

Json = dict[str, Any]
FILES = {
    "cpu": ("cpu", "cpu.cfs_quota_us", "cpu.max"),
    "cpu_weight": ("cpu", "cpu.shares", "cpu.weight"),
    "cpuset": ("cpuset", "cpuset.cpus", "cpuset.cpus"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.max"),
    "memory_low": ("memory", "memory.soft_limit_in_bytes", "memory.low"),
    "pids": ("pids", "pids.max", "pids.max"),
}  # limit → controller, its file on v1 and on v2


@pytest.fixture
def box(api: httpx.Client) -> Iterator[Json]:
    limits = {"cpu": 0.5, "memory": "64M", "pids": 50}
    made = api.post("containers", json={"name": "slid", "command": ["sleep", "1000"], "limits": limits})
    assert made.status_code == 201, made.text
    yield made.json()
    assert api.delete(f"containers/{made.json()['id']}?force=1").status_code == 204


@pytest.fixture
def team(api: httpx.Client) -> Iterator[str]:
    """The name of a group; it and its members go with the test."""
    yield "team"
    found = api.get("groups/team")
    if found.status_code == 200:
        for member in found.json()["members"]:
            api.delete(f"containers/{member['id']}?force=1")
        assert api.delete("groups/team").status_code == 204


def file_of(box: Json, limit: str) -> Path:
    controller, *names = FILES[limit]
    directory = Path(box["cgroups"].get(controller) or box["cgroups"][""])
    return next(directory / name for name in names if (directory / name).exists())


def disk_of(api: httpx.Client) -> str:
    """Not a loop device: those come and go."""
    return next(part for part in api.get("host").json()["limits"]["io_read_bytes"]["parts"] if not part.startswith("loop"))


def open_limits(page: Page, box: Json) -> None:
    page.goto(f"/containers/{box['id']}/limits/")
    expect(page.get_by_test_id("limit-memory")).to_be_visible()


def press(page: Page, key: str, name: str) -> None:
    """One key on a slider; when it is over, the kernel's value that is shown is another one."""
    shown = page.get_by_test_id(f"limit-{name}-kernel")
    before = shown.inner_text()
    page.get_by_test_id(f"limit-{name}").focus()
    page.keyboard.press(key)
    expect(shown).not_to_have_text(before)


@pytest.mark.parametrize("limit", ["cpu", "cpu_weight", "memory", "memory_low", "pids"])
def test_a_slider_moves_the_kernels_file_and_undo_moves_it_back(page: Page, api: httpx.Client, box: Json, limit: str) -> None:
    open_limits(page, box)
    file = file_of(box, limit)
    before, shown = file.read_text(), page.get_by_test_id(f"limit-{limit}-kernel").inner_text()
    press(page, "PageDown", limit)
    assert file.read_text() != before
    reading = api.get(f"containers/{box['id']}/limits").json()[limit]
    assert reading["requested"] is not None and not reading["drift"]
    if limit in ("memory", "memory_low", "pids"):
        assert int(file.read_text()) == reading["kernel"]
    page.get_by_test_id(f"limit-{limit}-undo").click()
    expect(page.get_by_test_id(f"limit-{limit}-kernel")).to_have_text(shown)
    assert file.read_text() == before


def test_of_one_that_does_not_run_the_kernel_has_no_word(page: Page, api: httpx.Client, box: Json) -> None:
    open_limits(page, box)
    kernel, effective = page.get_by_test_id("limit-memory-kernel"), page.get_by_test_id("limit-memory-effective")
    expect(kernel).not_to_have_text("not running")
    assert api.post(f"containers/{box['id']}/stop", json={"timeout": 0}).status_code == 200
    expect(kernel).to_have_text("not running")
    expect(effective).to_have_text("not running")
    assert api.post(f"containers/{box['id']}/start").status_code == 200
    expect(kernel).not_to_have_text("not running")


def test_the_cpus_are_a_list(page: Page, box: Json) -> None:
    open_limits(page, box)
    page.get_by_test_id("limit-cpuset").fill("0")
    page.get_by_test_id("limit-cpuset").press("Enter")
    expect(page.get_by_test_id("limit-cpuset-requested")).to_have_text("CPUs 0")
    assert file_of(box, "cpuset").read_text() == "0\n"


def test_each_disk_has_sliders_for_bytes_and_operations(page: Page, api: httpx.Client, box: Json) -> None:
    disk = disk_of(api)
    open_limits(page, box)
    for limit in ("io_read_bytes", "io_write_bytes", "io_read_ops", "io_write_ops"):
        press(page, "PageDown", f"{limit}-{disk}")
    page.get_by_test_id(f"limit-io_read_bytes-{disk}-number").fill("4M/s")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id(f"limit-io_read_bytes-{disk}-kernel")).to_have_text("4 MiB/s")
    number = Path(f"/sys/class/block/{disk}/dev").read_text().strip()
    path = f"containers/{box['id']}/limits"
    readings = api.get(path).json()
    directory = Path(box["cgroups"].get("blkio") or box["cgroups"][""])
    v1 = directory / "blkio.throttle.read_bps_device"
    written = v1.read_text() if v1.exists() else (directory / "io.max").read_text()
    assert re.search(rf"^{number} .*\b{4 << 20}\b", written, re.M), written
    for limit, word in (("io_write_bytes", "write_bps"), ("io_read_ops", "read_iops"), ("io_write_ops", "write_iops")):
        v1 = directory / f"blkio.throttle.{word}_device"
        written = v1.read_text() if v1.exists() else (directory / "io.max").read_text()
        assert re.search(rf"\b{readings[limit]['kernel'][disk]}\b", written), written
    page.get_by_test_id(f"limit-io_read_bytes-{disk}-clear").click()
    expect(page.get_by_test_id(f"limit-io_read_bytes-{disk}-kernel")).to_have_text("no limit")
    assert (
        api.get(f"containers/{box['id']}/limits").json()["io_write_bytes"]["requested"] == readings["io_write_bytes"]["requested"]
    )


def test_each_size_of_huge_page_has_a_slider(page: Page, api: httpx.Client, box: Json) -> None:
    reading = api.get(f"containers/{box['id']}/limits").json()["hugetlb"]
    open_limits(page, box)
    if reading["locked"]:
        expect(page.get_by_test_id(re.compile("limit-hugetlb.*-locked")).first).to_contain_text(reading["locked"])
        return
    size = reading["parts"][0]
    page.get_by_test_id(f"limit-hugetlb-{size}-number").fill("64M")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id(f"limit-hugetlb-{size}-kernel")).to_have_text("64 MiB")
    directory = Path(box["cgroups"].get("hugetlb") or box["cgroups"][""])
    files = [directory / f"hugetlb.{size}B.{word}" for word in ("max", "limit_in_bytes")]
    assert int(next(file for file in files if file.exists()).read_text()) == 64 << 20


def test_a_network_slider_moves_the_links_rate(page: Page, api: httpx.Client, box: Json) -> None:
    def shaping() -> str:
        return subprocess.run(["tc", "qdisc", "show"], capture_output=True, text=True, check=True).stdout

    open_limits(page, box)
    before = shaping().count(" tbf ")
    for limit in ("net_in", "net_out"):
        press(page, "PageDown", limit)
        expect(page.get_by_test_id(f"limit-{limit}-kernel")).to_contain_text("/s")
        reading = api.get(f"containers/{box['id']}/limits").json()[limit]
        assert abs(reading["kernel"] / reading["requested"] - 1) < 0.01
    assert shaping().count(" tbf ") == before + 2


def test_what_this_host_cannot_do_is_locked_with_its_reason(page: Page, api: httpx.Client, box: Json) -> None:
    readings = api.get(f"containers/{box['id']}/limits").json()
    locked = {name: reading["locked"] for name, reading in readings.items() if reading["locked"] and not reading["parts"]}
    assert locked
    open_limits(page, box)
    for name, reason in locked.items():
        expect(page.get_by_test_id(f"limit-{name}-locked")).to_have_text(reason)
        expect(page.get_by_test_id(f"limit-{name}")).to_be_disabled()


def test_what_is_refused_is_said_beside_its_slider_and_changes_nothing(page: Page, box: Json) -> None:
    open_limits(page, box)
    page.get_by_test_id("limit-pids-number").fill("99999999")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("limit-pids-refused")).to_contain_text("pids can't be above")
    expect(page.get_by_test_id("limit-pids-kernel")).to_have_text("50")
    assert file_of(box, "pids").read_text() == "50\n"


def test_drift_shows_by_itself_and_is_put_back_or_accepted(page: Page, api: httpx.Client, box: Json) -> None:
    open_limits(page, box)
    page.evaluate("window.notReloaded = true")
    file = file_of(box, "pids")
    drift = page.get_by_test_id("limit-pids-drift")
    expect(drift).to_be_hidden()
    file.write_text("30")
    expect(drift).to_contain_text("the kernel has 30, requested was 50")
    expect(page.get_by_test_id("drift")).to_have_attribute("title", "Limits changed outside: pids")
    page.get_by_test_id("limit-pids-put-back").click()
    expect(drift).to_be_hidden()
    assert file.read_text() == "50\n"
    file.write_text("40")
    expect(drift).to_contain_text("the kernel has 40")
    page.get_by_test_id("limit-pids-accept").click()
    expect(drift).to_be_hidden()
    expect(page.get_by_test_id("limit-pids-requested")).to_have_text("40")
    assert file.read_text() == "40\n"
    assert api.get(f"containers/{box['id']}/limits").json()["pids"]["requested"] == 40
    assert page.evaluate("window.notReloaded") is True


def test_the_list_shows_drift_too(page: Page, box: Json) -> None:
    page.goto("/containers/")
    mark = page.locator('[data-testid=container-row][data-name="slid"]').get_by_test_id("drift")
    expect(mark).to_be_hidden()
    file_of(box, "pids").write_text("30")
    expect(mark).to_be_visible()
    file_of(box, "pids").write_text("50")
    expect(mark).to_be_hidden()


def test_use_and_what_limits_do_stand_beside_the_slider(page: Page, api: httpx.Client, box: Json) -> None:
    assert api.patch(f"containers/{box['id']}/limits", json={"cpu": 0.05}).status_code == 200  # far below a busy machine's share
    busy = "n=0; while [ $n -lt 100000 ]; do n=$((n + 1)); done"
    ran = api.post(f"containers/{box['id']}/exec", json={"argv": ["sh", "-c", busy], "timeout": 30})
    assert ran.json()["exit_code"] == 0, ran.text
    bomb = "for n in $(seq 60); do sleep 500 >/dev/null 2>&1 & done"
    api.post(f"containers/{box['id']}/exec", json={"argv": ["sh", "-c", bomb], "timeout": 30})
    open_limits(page, box)
    expect(page.get_by_test_id("limit-pids-effects")).to_contain_text("max hit")
    inside = int((file_of(box, "pids").parent / "pids.current").read_text())
    use = re.compile(rf"in use {inside} · peak ({inside}|{inside + 1})")  # the shell counted too, if a look caught it
    expect(page.get_by_test_id("limit-pids-use")).to_contain_text(use)
    expect(page.get_by_test_id("limit-cpu-effects")).to_contain_text("held back")
    described = page.get_by_test_id("limit-pids").get_attribute("aria-describedby")
    expect(page.locator(f"#{described}")).to_contain_text("max hit")


def test_freeze_is_pause_and_resume(page: Page, api: httpx.Client, box: Json) -> None:
    open_limits(page, box)
    switch = page.get_by_role("switch", name="Freeze")
    expect(switch).to_have_attribute("aria-checked", "false")
    for checked, state in (("true", "paused"), ("false", "running")):
        switch.press("Space")
        expect(switch).to_have_attribute("aria-checked", checked)
        expect(page.get_by_test_id("container-state")).to_have_text(state)
        assert api.get(f"containers/{box['id']}").json()["state"] == state


def test_the_user_says_whether_what_docker_has_no_words_for_comes_back(
    page: Page, api: httpx.Client, box: Json, dockerd: Dockerd
) -> None:
    made = api.post("containers", json={"name": "kept", "engine": "docker", "command": ["sleep", "1000"]}).json()
    try:
        path, disk = f"containers/{made['id']}/limits", disk_of(api)

        def pid() -> int:
            return int(api.get(f"containers/{made['id']}").json()["pid"])

        def restarted() -> Any:
            assert api.patch(path, json={"io_read_bytes": {disk: 1 << 20}, "pids": 40}).status_code == 200
            dockerd.docker("restart", "-t", "0", made["id"])
            wait_until(lambda: pid() not in (0, made["pid"]))
            made["pid"] = pid()
            found = api.get(path).json()
            assert found["pids"]["kernel"] == 40 and not found["io_read_bytes"]["drift"]
            return found["io_read_bytes"]["kernel"]

        assert restarted() == {disk: 1 << 20}
        open_limits(page, made)
        keep = page.get_by_test_id("keep-limits")
        expect(keep).to_be_checked()
        keep.uncheck()
        expect(page.get_by_text("kept starts with what Docker's own record says.")).to_be_visible()
        assert api.get(f"containers/{made['id']}").json()["keep_limits"] is False
        assert restarted() is None
        page.reload()
        expect(keep).not_to_be_checked()
        keep.check()
        expect(page.get_by_text("kept has all its limits again whenever it starts.")).to_be_visible()
        assert restarted() == {disk: 1 << 20}
        keep.focus()
        assert api.patch(f"containers/{made['id']}", json={"keep_limits": False}).status_code == 200
        expect(keep).not_to_be_checked()  # though changed elsewhere
        expect(keep).to_be_focused()
        open_limits(page, box)
        expect(keep).to_be_hidden()
    finally:
        api.delete(f"containers/{made['id']}?force=1")


def test_a_preset_with_a_locked_limit_is_refused_whole(page: Page, api: httpx.Client, box: Json) -> None:
    readings = api.get(f"containers/{box['id']}/limits").json()
    locked = next(name for name in ("memory_high", "io_weight") if readings[name]["locked"])
    disk = disk_of(api)
    limits = {"pids": 20, locked: {"memory_high": 64 << 20, "io_weight": 50}[locked], "io_read_bytes": {disk: "2M"}}
    assert api.post("presets", json={"name": "locked-one", "limits": limits}).status_code == 201
    try:
        open_limits(page, box)
        page.get_by_test_id("apply-preset").click()
        expect(page.get_by_test_id("preset-locked-one")).to_contain_text(f"Disk reads {disk} 2 MiB/s")
        page.get_by_test_id("preset-locked-one").click()
        expect(page.get_by_test_id("toast").last).to_contain_text("can't be set on this host")
        assert file_of(box, "pids").read_text() == "50\n"
        expect(page.get_by_test_id("limit-pids-kernel")).to_have_text("50")
    finally:
        assert api.delete("presets/locked-one").status_code == 204


def test_the_form_makes_a_sandbox_with_a_disk_limit_in_a_group(page: Page, api: httpx.Client, team: str) -> None:
    assert api.post("groups", json={"name": team, "limits": {"pids": 30}}).status_code == 201
    page.goto("/containers/")
    page.get_by_test_id("new-sandbox").click()
    page.get_by_text("More limits").click()
    disk = disk_of(api)
    page.get_by_test_id("create-name").fill("grouped")
    page.get_by_test_id("create-group").select_option(team)
    page.get_by_test_id(f"create-limit-io_write_bytes-{disk}-number").fill("8M/s")
    page.get_by_test_id("create-limit-net_in-number").fill("1M")
    page.get_by_test_id("create-sandbox").click()
    expect(page.get_by_test_id("create-dialog")).to_have_count(0)
    made = api.get("containers/grouped").json()
    assert made["group"] == team and made["cgroups"]["pids"].endswith(f"/group.team/{made['id']}")
    assert made["limits"]["io_write_bytes"]["kernel"] == {disk: 8 << 20}
    assert abs(made["limits"]["net_in"]["kernel"] / (1 << 20) - 1) < 0.01
    page.goto(f"/containers/{made['id']}/")
    expect(page.get_by_test_id("container-group")).to_have_text(team)


def test_the_form_asks_what_comes_back_where_docker_has_no_words_for_it(page: Page, api: httpx.Client) -> None:
    page.goto("/containers/")
    page.get_by_test_id("new-sandbox").click()
    page.get_by_text("More limits").click()
    keep = page.get_by_label("All limits come back after a restart")
    rate = page.get_by_test_id("create-limit-net_in-number")
    rate.fill("1M")
    rate.press("Enter")
    expect(keep).to_be_hidden()  # a sandbox's are in its description
    page.get_by_test_id("create-engine").select_option("docker")
    expect(keep).to_be_visible()
    expect(keep).to_be_checked()
    rate.fill("")
    rate.press("Enter")
    expect(keep).to_be_hidden()
    rate.fill("1M")
    rate.press("Enter")
    keep.uncheck()
    page.get_by_test_id("create-name").fill("forgetful")
    page.get_by_test_id("create-command").fill("sleep 1000")
    page.get_by_test_id("create-sandbox").click()
    expect(page.get_by_test_id("create-dialog")).to_have_count(0, timeout=30_000)
    made = api.get("containers/forgetful").json()
    try:
        assert not made["keep_limits"] and made["limits"]["net_in"]["requested"] == 1 << 20
        page.goto(f"/containers/{made['id']}/limits/")
        expect(page.get_by_test_id("keep-limits")).not_to_be_checked()
    finally:
        assert api.delete(f"containers/{made['id']}?force=1").status_code == 204


def test_a_group_is_made_limited_and_removed(page: Page, api: httpx.Client, team: str) -> None:
    page.goto("/groups/")
    page.get_by_test_id("new-group").click()
    page.get_by_test_id("ask-text").fill(team)
    page.get_by_test_id("ask-send").click()
    group = page.locator('[data-testid=group][data-name="team"]')
    group.get_by_test_id("limit-pids-number").fill("12")
    page.keyboard.press("Enter")
    expect(group.get_by_test_id("limit-pids-kernel")).to_have_text("12")
    expect(group.get_by_test_id("limit-net_in-locked")).to_contain_text("no link of its own")
    made = api.post("containers", json={"name": "member", "group": team, "command": ["sleep", "1000"]}).json()
    assert Path(made["cgroups"]["pids"]).parent.joinpath("pids.max").read_text() == "12\n"
    expect(group.get_by_test_id("group-members")).to_contain_text("member")
    expect(group.get_by_test_id("group-pids")).to_have_text("1 / 12")
    file = Path(made["cgroups"]["pids"]).parent / "pids.max"
    file.write_text("9")
    expect(group.get_by_test_id("limit-pids-drift")).to_contain_text("the kernel has 9")
    group.get_by_test_id("limit-pids-put-back").click()
    expect(group.get_by_test_id("limit-pids-drift")).to_be_hidden()
    assert file.read_text() == "12\n"
    page.goto(f"/containers/{made['id']}/limits/")
    expect(page.get_by_test_id("limits-group")).to_contain_text(team)
    expect(page.get_by_test_id("limit-pids-effective")).to_have_text("12")
    page.get_by_test_id("limits-group").get_by_role("link").click()
    expect(group.get_by_test_id("limit-pids")).to_be_visible()
    group.get_by_test_id("group-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(page.get_by_test_id("toast").last).to_contain_text("member")
    assert api.delete(f"containers/{made['id']}?force=1").status_code == 204
    expect(group.get_by_test_id("group-members")).to_contain_text("none yet")
    group.get_by_test_id("group-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(group).to_have_count(0)
    assert api.get("groups/team").status_code == 404
