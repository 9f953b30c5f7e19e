"""deploy/down --all after all that a panel can put on a machine: nothing of it stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.lib import down
from deploy.lib.instance import MARKER
from tests.kernel.test_file_tree import nest
from tests.panel import Panel


class Api:
    def __init__(self, panel: Panel) -> None:
        self.url = f"{panel.url}/api/v1"
        self.token = panel.manage("create_token", "admin").strip().splitlines()[-1]

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def job(self, method: str, path: str, body: object) -> None:
        job = self(method, path, body)
        deadline = time.monotonic() + 120
        while job["state"] == "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)
            job = self("GET", f"/jobs/{job['id']}")
        assert job["state"] == "done", job


def test_a_very_deep_tree_in_the_data_directory_goes_with_it(tmp_path: Path) -> None:
    nest(tmp_path / "data/sandboxes/.removed-0123456789ab", 1500)
    (tmp_path / "data" / MARKER).touch()
    down._purge(tmp_path / "data")
    assert os.listdir(tmp_path) == []


def fill(panel: Panel, image: str) -> int:
    """Some of everything, and an image that is kept; returns a port of the host that leads to a sandbox."""
    api = Api(panel)
    api("POST", "/networks", {"name": "blue"})
    api("POST", "/networks", {"name": "green", "nat": False, "isolated": False})
    api("POST", "/groups", {"name": "team", "limits": {"memory": "256M"}})
    api.job("POST", "/images", {"name": image, "source": {"type": "programs", "programs": ["/bin/sh", "/bin/ls"]}})
    common = {"engine": "raw", "image": "busybox", "command": ["sleep", "1000"]}
    rates = {"net_in": "1M", "net_out": "1M", "memory": "64M"}
    first = api(
        "POST", "/containers",
        {**common, "name": "first", "network": "blue", "limits": rates, "ports": [{"container_port": 80}], "restart": "always"},
    )  # fmt: skip
    api("POST", "/containers", {**common, "name": "second", "network": "green", "group": "team", "restart": "unless-stopped"})
    api("POST", "/containers", {**common, "name": "third", "namespaces": {"net": f"container:{first['id']}"}})
    api("POST", "/containers", {**common, "name": "fourth", "command": ["false"], "restart": "on-failure"})
    paused = api("POST", "/containers", {**common, "name": "fifth", "group": "team"})
    api("POST", f"/containers/{paused['id']}/pause", {})
    api("POST", "/containers", {**common, "name": "sixth", "image": image, "command": ["/bin/ls"]})
    api("POST", f"/containers/{first['id']}/toolbox", {"image": "busybox", "rows": 24, "columns": 80})
    api("POST", f"/containers/{first['id']}/terminals", {"argv": ["sh"], "rows": 24, "columns": 80})
    return int(api("GET", f"/containers/{first['id']}")["ports"][0]["host_port"])


def kill(*names: str) -> Callable[[Panel], None]:
    def them(panel: Panel) -> None:
        for name in names:
            os.kill(panel.pid(name), signal.SIGKILL)

    return them


def break_worker(panel: Panel) -> None:
    """As after a Python upgrade that took its venv's interpreter away: deploy/down has to do all by itself."""
    shutil.move(panel.data / "venv/bin/python", panel.data / "venv/bin/python.away")


@pytest.mark.parametrize(
    "before",
    [lambda _: None, kill("supervisor", "worker", "web", "keeper"), break_worker],
    ids=["as it is", "all killed", "without the worker"],
)
def test_nothing_stays(second: Panel, before: Callable[[Panel], None], request: pytest.FixtureRequest) -> None:
    second.ensure_up()
    port = fill(second, request.node.callspec.id.replace(" ", "-"))
    assert left(second) and on_firewall(second)
    before(second)
    second.down("--all")
    deadline = time.monotonic() + 60
    while left(second) and time.monotonic() < deadline:
        time.sleep(0.1)  # the first process of a pid namespace goes when the host's init has reaped those who had joined it
    assert left(second) == [] and not on_firewall(second) and not second.run.exists()
    with socket.create_server(("0.0.0.0", port)):
        pass
    if (second.data / "venv/bin/python.away").exists():  # what stands in the data directory only a worker can take out
        shutil.move(second.data / "venv/bin/python.away", second.data / "venv/bin/python")
        second.up()
        second.down("--all")
    second.up()
    api = Api(second)
    assert [one["name"] for one in api("GET", "/networks")["items"] if one["engine"] == "raw"] == ["default"]
    assert (api("GET", "/containers")["items"], api("GET", "/groups")["items"]) == ([], [])


def left(panel: Panel) -> list[str]:
    """Links, control groups, mounts and processes of this panel."""
    found = [name for name in os.listdir("/sys/class/net") if name.startswith(f"tr{panel.tag}")]
    with open("/proc/self/mounts") as file:
        mounts = [line.split()[1:3] for line in file]
    found += [place for place, _ in mounts if place.startswith(f"{panel.base}/")]
    places = [place for place, kind in mounts if kind in ("cgroup", "cgroup2")]
    tops = [f"{place}/terrarium-{panel.tag}{unit}" for place in places for unit in ("", ".scope")]
    found += [top for top in tops if os.path.exists(top)]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cgroup") as cgroup, open(f"/proc/{entry}/stat") as stat:
                    state = stat.read().rpartition(" (")[2][:40]
                    dead = state.rpartition(") ")[2][0] in "ZX"  # without a keeper they are for the host's init to reap
                    if f"terrarium-{panel.tag}" in cgroup.read() and not dead:
                        found.append(f"process {entry} ({state}")
            except OSError:
                continue
    return found


def on_firewall(panel: Panel) -> bool:
    rules = [["nft", "list", "tables"], ["iptables", "-S"], ["ip6tables", "-S"]]
    told = "".join(subprocess.run(argv, capture_output=True, text=True, check=False).stdout for argv in rules)
    return f"terrarium_{panel.tag}" in told or f"terrarium-{panel.tag}" in told
