"""Every field of the create form, filled by its label: what arrives in the sandbox's description, and in the kernel."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from containers_app.kernel.security import DEFAULT_CAPABILITIES
from tests.engines.conftest import wait_until
from tests.panel import Panel, free_port

Json = dict[str, Any]
DROPPED = ("CAP_NET_RAW", "CAP_MKNOD")
PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}


@pytest.fixture
def form(page: Page, api: httpx.Client) -> Iterator[Locator]:
    """The form, unfolded by its summaries. What it makes goes with the test."""
    before = {one["id"] for one in api.get("containers").json()["items"]}
    page.get_by_test_id("new-sandbox").click()
    form = page.get_by_role("dialog", name="New sandbox")
    for summary in ("More limits", "Files: ", "Network: ", "Life: ", "Security: "):
        form.locator("summary", has_text=summary).click()
    yield form
    for one in api.get("containers").json()["items"]:
        if one["id"] not in before:
            assert api.delete(f"containers/{one['id']}?force=1").status_code == 204


def box(form: Locator, label: str) -> Locator:
    """What stands below this label; a hint that belongs to it too is no part of the label."""
    title = form.page.get_by_text(label, exact=True)
    return form.locator("label", has=title).locator("input, select, textarea")


def fill(form: Locator, values: dict[str, str]) -> None:
    for label, value in values.items():
        box(form, label).fill(value)


def add(form: Locator, button: str, row: str, **values: str) -> None:
    """A further line of a list: boxes are filled, choices chosen."""
    form.get_by_role("button", name=button, exact=True).click()
    line = form.get_by_test_id(row).last
    for label, value in values.items():
        control = line.get_by_label(label.replace("_", " "), exact=True)
        if control.evaluate("it => it.tagName") == "SELECT":
            control.select_option(value)
        else:
            control.fill(value)


def described(panel: Panel, container: Json) -> Json:
    """What the panel has written down that was asked for."""
    found: Json = json.loads((panel.data / "sandboxes" / container["id"] / "record.json").read_text())["spec"]
    return found


def test_every_field_arrives_in_the_description_and_in_the_kernel(
    form: Locator, page: Page, api: httpx.Client, panel: Panel
) -> None:
    port = free_port()
    first_id = tomllib.loads((panel.data / "policy.toml").read_text())["uids"]["base"] + (1 << 24)
    fill(form, {"Name": "filled", "Image": "busybox", "Command": "sh -c 'sleep 1000'"})
    form.get_by_label("CPU weight, as a number").fill("200")
    form.get_by_label("CPU weight, as a number").press("Enter")
    form.get_by_label("Read-only root file system").check()
    add(form, "Add a mount", "create-mount-row", Type="tmpfs", Target_inside="/run", Size_of_what_is_in_memory="4M")

    fill(form, {"Name servers": "10.1.2.3, fd00::53"})
    row = "create-port-row"
    add(form, "Publish a port", row, Port_of_the_host=str(port), Port_inside="8080", Address_of_the_host="127.0.0.1")
    add(form, "Publish a port", row, Port_inside="53", Protocol="udp")
    add(form, "Add a name", "create-host-row", Name="db.test", Address="10.9.8.7")

    fill(form, {"Host name": "inside", "Working directory": "/tmp"})
    fill(form, {"Environment": "GREETING=a=b\nEMPTY=", "Labels": "tier=front"})
    box(form, "When it ends by itself").select_option(label="restart on failure")
    fill(form, {"Attempts on failure": "3", "Signal that stops it": "usr1", "Seconds until it is killed": "2.5"})
    fill(form, {"OOM score (−1000 to 1000)": "300"})
    fill(form, {"Boot clock, moved by seconds": "86400", "Monotonic clock, moved by seconds": "-60"})
    add(form, "Add a resource limit", "create-rlimit-row", Resource="nofile", Soft_limit="64", Hard_limit="128")
    add(form, "Add a resource limit", "create-rlimit-row", Resource="core", Soft_limit="unlimited")
    form.get_by_label("A small init").check()
    form.get_by_label("Start it at once").uncheck()

    fill(form, {"User": "5:6", "A profile of one's own (JSON, as for Docker)": json.dumps(PROFILE)})
    for name in DROPPED:
        form.get_by_label(name.removeprefix("CAP_").lower(), exact=True).uncheck()
    fill(form, {"Hidden paths, beside the usual": "/etc/passwd", "Read-only paths, beside the usual": "/home\n/mnt"})
    add(form, "Add a line", "create-id-map-row", First_id_inside="0", First_id_on_the_host=str(first_id), How_many="1000")

    preview = form.get_by_role("region", name="The commands")
    box(form, "System calls (seccomp)").select_option(label="no filter")
    expect(preview).to_contain_text("does not let containers run without a seccomp filter")
    box(form, "System calls (seccomp)").select_option(label="the default filter")
    form.get_by_label("No new privileges").uncheck()
    expect(preview).to_contain_text("A seccomp profile needs no_new_privs")
    form.get_by_label("No new privileges").check()
    expect(preview).to_contain_text("GREETING")

    form.get_by_role("button", name="Create", exact=True).click()
    expect(form).to_have_count(0)
    made = api.get("containers/filled").json()
    assert (made["state"], made["pid"]) == ("created", 0)
    spec = described(panel, made)
    assert {name: spec[name] for name in WANTED} == WANTED
    assert spec["limits"]["cpu_weight"] == 200 and set(spec["limits"]) == {"cpu", "memory", "pids", "cpu_weight"}
    assert spec["ports"] == [
        {"container_port": 8080, "host_port": port, "host_ip": "127.0.0.1", "protocol": "tcp"},
        {"container_port": 53, "host_port": 0, "host_ip": "", "protocol": "udp"},
    ]
    assert spec["id_map"] == [{"inside": 0, "outside": first_id, "count": 1000}]
    security = spec["security"]
    assert sorted(security["capabilities"]) == sorted(set(DEFAULT_CAPABILITIES) - set(DROPPED))
    assert security["seccomp_profile"]["defaultAction"] == "SCMP_ACT_ALLOW" and "mkdir" in str(security["seccomp_profile"])
    assert security["masked_paths"] == ["/etc/passwd"] and security["read_only_paths"] == ["/home", "/mnt"]
    assert (security["seccomp"], security["no_new_privs"], security["read_only_root"]) == ("default", True, True)

    page.locator('[data-testid=container-row][data-name="filled"]').get_by_role("button", name="Start").click()
    wait_until(lambda: api.get("containers/filled").json()["state"] == "running", 20)
    in_the_kernel(api, api.get("containers/filled").json(), port, first_id)


WANTED: Json = {
    "image": "busybox", "command": ["sh", "-c", "sleep 1000"], "env": {"GREETING": "a=b", "EMPTY": ""}, "cwd": "/tmp",
    "user": "5:6", "hostname": "inside", "time_offsets": {"boottime": 86400, "monotonic": -60},
    "rlimits": {"nofile": {"soft": 64, "hard": 128}, "core": {"soft": -1, "hard": -1}}, "oom_score_adj": 300, "init": True,
    "restart": {"policy": "on-failure", "retries": 3}, "stop_signal": "USR1", "stop_timeout": 2.5,
    "dns": ["10.1.2.3", "fd00::53"], "extra_hosts": {"db.test": "10.9.8.7"}, "labels": {"tier": "front"}, "start": False,
    "mounts": [{"target": "/run", "type": "tmpfs", "source": "", "read_only": False, "size": 4 << 20,
                "propagation": "private"}],
}  # fmt: skip


def in_the_kernel(api: httpx.Client, box: Json, port: int, first_id: int) -> None:
    proc = Path(f"/proc/{box['pid']}")

    def inside(command: str) -> str:
        answer = api.post("containers/filled/exec", json={"argv": ["sh", "-c", command]}).json()
        return str(answer["stdout"] + answer["stderr"])

    children = proc / f"task/{box['pid']}/children"
    wait_until(children.read_text, 10)  # "running" is the init's; its child comes after it
    program = int(children.read_text().split()[0])
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{program}/status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split()[0] == str(first_id + 5) and status["Gid"].split()[0] == str(first_id + 6)
    assert status["NoNewPrivs"] == "1" and int(status["Seccomp_filters"]) == 2
    assert not int(status["CapBnd"], 16) & (1 << 13 | 1 << 27)  # net_raw, mknod
    assert (proc / "uid_map").read_text().split() == ["0", str(first_id), "1000"]
    assert (proc / "timens_offsets").read_text().split() == ["monotonic", "-60", "0", "boottime", "86400", "0"]
    assert Path(f"/proc/{program}/oom_score_adj").read_text() == "300\n"
    environment = Path(f"/proc/{program}/environ").read_bytes().split(b"\0")
    assert {b"GREETING=a=b", b"EMPTY="} <= set(environment)
    assert re.search(r"^Max open files +64 +128 ", Path(f"/proc/{program}/limits").read_text(), re.M)
    assert inside("hostname; pwd; cat /proc/1/comm").split() == ["inside", "/tmp", "init"]
    assert "nameserver 10.1.2.3\nnameserver fd00::53" in inside("cat /etc/resolv.conf")
    assert re.search(r"10\.9\.8\.7\s+db\.test", inside("cat /etc/hosts"))
    assert inside("cat /etc/passwd") == ""
    assert "Read-only" in inside("touch /home/x") and "not permitted" in inside("mkdir /run/x")
    assert re.search(r" /run tmpfs .*size=4096k", inside("cat /proc/mounts"))
    assert [(one["container_port"], one["host_port"] > 0) for one in box["ports"]] == [(8080, True), (53, True)]
    assert f"127.0.0.1:{port}" in {f"{one['host_ip']}:{one['host_port']}" for one in box["ports"]}


def test_what_is_written_wrongly_is_said_and_nothing_is_made(form: Locator, api: httpx.Client) -> None:
    preview, create = form.get_by_role("region", name="The commands"), form.get_by_role("button", name="Create and start")
    fill(form, {"Name": "wrong"})
    expect(preview).to_contain_text("unshare")
    for label, words in {
        "OOM score (−1000 to 1000)": "oom_score_adj", "Seconds until it is killed": "stop_timeout",
        "Boot clock, moved by seconds": "time_offsets", "Attempts on failure": "retries",
    }.items():  # fmt: skip
        fill(form, {label: "many"})
        expect(preview).to_contain_text(words)
        fill(form, {label: ""})
        expect(preview).to_contain_text("unshare")
    for button, row, column, words in (
        ("Publish a port", "create-port-row", "Port of the host", "A port is from 1 to 65535"),
        ("Add a name", "create-host-row", "Address", "is not an address"),
        ("Add a mount", "create-mount-row", "Size of what is in memory", "is not an absolute path"),
        ("Add a line", "create-id-map-row", "First id on the host", "out of range"),
    ):
        form.get_by_role("button", name=button, exact=True).click()
        expect(preview).to_contain_text("unshare")  # a line without anything is none
        form.get_by_test_id(row).get_by_label(column, exact=True).fill("7000")
        expect(preview).to_contain_text(words)
        form.get_by_test_id(row).get_by_role("button", name="Remove this line").click()
        expect(preview).to_contain_text("unshare")
    form.get_by_role("button", name="Publish a port").click()
    form.get_by_test_id("create-port-row").get_by_label("Port inside").fill("80")
    form.get_by_label("Network namespace").select_option(label="own, no network")
    create.click()
    expect(form.get_by_role("alert")).to_contain_text("Ports are published from a bridge network only")
    form.get_by_test_id("create-port-row").get_by_role("button", name="Remove this line").click()

    memory = form.get_by_label("Memory, as a number")
    memory.fill("64X")
    create.click()
    expect(form.get_by_role("alert")).to_contain_text("“64X” is no value of the limit Memory")
    expect(memory).to_be_focused()
    assert api.get("containers").json()["items"] == []
    memory.fill("64M")
    create.click()
    expect(form).to_have_count(0)
    assert api.get("containers/wrong").json()["limits"]["memory"]["kernel"] == 64 << 20


def test_a_mount_asks_for_what_its_type_has(form: Locator, api: httpx.Client, panel: Panel) -> None:
    fill(form, {"Name": "mounted"})
    form.get_by_role("button", name="Add a mount").click()
    line = form.get_by_test_id("create-mount-row")
    kind, source, size, propagation = (
        line.get_by_label(name, exact=True) for name in ("Type", "Source on the host", "Size of what is in memory", "Propagation")
    )
    kind.select_option("bind")
    expect(size).to_be_hidden()
    source.fill("/srv")
    propagation.select_option("slave")
    kind.select_option("tmpfs")
    expect(source).to_be_hidden()
    expect(propagation).to_be_hidden()
    preview = form.get_by_role("region", name="The commands")
    size.fill("4M")
    expect(preview).to_contain_text("“” is not an absolute path")
    line.get_by_label("Target inside").fill("/run")
    expect(preview).to_contain_text("size=4194304")
    form.get_by_role("button", name="Create and start").click()
    expect(form).to_have_count(0)
    (mount,) = described(panel, api.get("containers/mounted").json())["mounts"]
    assert (mount["type"], mount["source"], mount["size"], mount["propagation"]) == ("tmpfs", "", 4 << 20, "private")


FOLDED = ("More limits", "Files: read-only root, mounts", "Network: which, published ports, names",
          "Life: host name, directory, environment, restart, signals, clocks",
          "Security: user, capabilities, system calls, id map")  # fmt: skip
FIRST_INSIDE = ("Read-only root", "Network", "Host name", "User")


def focused(page: Page) -> str:
    """How what has the focus is called."""
    name: str = page.evaluate("""() => {
        const it = document.activeElement;
        const label = it.labels?.[0];
        const text = label?.querySelector('span') ?? label ?? it;
        return (it.getAttribute('aria-label') ?? text.textContent).trim();
    }""")
    return name


def walk(page: Page, last: str, key: str = "Tab") -> list[str]:
    """Press the key until ``last`` has the focus; what had it on the way."""
    passed = [focused(page)]
    while passed[-1] != last:
        page.keyboard.press(key)
        passed.append(focused(page))
        assert len(passed) < 150, passed
    return passed


def test_the_form_by_keyboard_alone(page: Page, api: httpx.Client) -> None:
    opener = page.locator("main").get_by_role("button", name="New sandbox").last  # of a list without any
    dialog = page.get_by_role("dialog", name="New sandbox")
    opener.focus()
    page.keyboard.press("Enter")
    expect(dialog.get_by_label("Name", exact=True)).to_be_focused()
    passed = walk(page, "Create and start")
    first = ("Name", "Engine", "Image", "Command", "Process ids namespace", "Memory", "Memory, as a number")
    places = [passed.index(name) for name in (*first, *FOLDED, "The commands", "Cancel")]
    assert places == sorted(places), passed
    assert "Host name" not in passed and page.evaluate("document.activeElement.closest('dialog') !== null")

    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()
    assert api.get("containers").json()["items"] == []

    page.keyboard.press("Enter")
    expect(dialog.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("by-keys")
    page.keyboard.press("Tab")
    for summary, key, following in zip(FOLDED[1:], ("Enter", "Space") * 2, FIRST_INSIDE, strict=True):
        walk(page, summary)
        page.keyboard.press(key)
        page.keyboard.press("Tab")
        assert focused(page).startswith(following)
        if following == "Host name":
            page.keyboard.type("typed")
    walk(page, "The commands")
    expect(dialog.get_by_role("region", name="The commands")).to_contain_text("typed")
    walk(page, "Host name", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    try:
        assert api.get("containers/by-keys").json()["hostname"] == "typed"
        expect(page.locator("main")).to_be_focused()  # the button that had it is gone with the empty list
    finally:
        api.delete("containers/by-keys?force=1")
