"""Each limit that is set through the API of the real panel is held by the kernel, reads back, and is cleared."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from containers_app.kernel.cgroups import Cgroups, choose
from tests.flow import flow
from tests.groups import share

MEGABYTE = 1 << 20
Json = dict[str, Any]


class Boxes:
    """Sandboxes through the API; removed at the end."""

    def __init__(self, api: httpx.Client) -> None:
        self.api = api
        self.made: list[str] = []

    def run(self, *command: str, **limits: object) -> Json:
        body = {"name": f"held-{len(self.made)}", "command": command, "limits": limits}
        answer = self.api.post("containers", json=body)
        assert answer.status_code == 201, answer.text
        self.made.append(answer.json()["id"])
        return self.get(answer.json())

    def get(self, box: Json) -> Json:
        found: Json = self.api.get(f"containers/{box['id']}").json()
        return found

    def limit(self, box: Json, **limits: object) -> None:
        """Set, or cleared with None; what the kernel has then is what was asked for."""
        answer = self.api.patch(f"containers/{box['id']}/limits", json=limits)
        assert answer.status_code == 200, answer.text
        for name, value in limits.items():
            reading = answer.json()[name]
            assert (reading["requested"], reading["kernel"], reading["drift"]) == (value, value, False), name

    def execute(self, box: Json, *argv: str, timeout: float = 30) -> Json:
        answer = self.api.post(f"containers/{box['id']}/exec", json={"argv": argv, "timeout": timeout})
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def ended(self, box: Json) -> Json:
        deadline = time.monotonic() + 60
        while (found := self.get(box))["state"] == "running":
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        return found


@pytest.fixture
def boxes(api: httpx.Client) -> Iterator[Boxes]:
    boxes = Boxes(api)
    yield boxes
    for container in boxes.made:
        api.delete(f"containers/{container}?force=1")


@pytest.fixture(scope="module")
def cgroups() -> Cgroups:
    return choose()


def test_a_burner_gets_its_share_and_another_as_soon_as_that_is_set(boxes: Boxes, cgroups: Cgroups) -> None:
    box = boxes.run("sh", "-c", "while :; do :; done", cpu=0.2)
    assert share(cgroups, box["cgroups"], 0.2) == pytest.approx(0.2, rel=0.1)
    boxes.limit(box, cpu=0.5)
    assert share(cgroups, box["cgroups"], 0.5) == pytest.approx(0.5, rel=0.1)
    boxes.limit(box, cpu=None)


def test_a_hog_dies_by_oom_and_is_told_so(boxes: Boxes) -> None:
    hog = boxes.run("sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; x=x; while :; do x=$x$x; done", memory="256M")
    boxes.limit(hog, memory=24 * MEGABYTE)
    assert boxes.execute(hog, "touch", "/go")["exit_code"] == 0
    found = boxes.ended(hog)
    assert found["exit_code"] == 137 and "OOM" in found["reason"], found


def test_memory_that_is_in_use_is_not_taken_away_and_the_refusal_says_how_much(boxes: Boxes) -> None:
    hold = "x=$(head -c 40000000 /dev/zero | tr '\\0' x); touch /held; while :; do sleep 1; done"
    box = boxes.run("sh", "-c", hold, memory="256M", pids=30)
    boxes.execute(box, "sh", "-c", "until [ -e /held ]; do sleep 0.05; done")
    before = boxes.api.get(f"containers/{box['id']}/limits").json()
    refused = boxes.api.patch(f"containers/{box['id']}/limits", json={"pids": 20, "memory": "8M"})
    assert 400 <= refused.status_code < 500, refused.text
    error = refused.json()["error"]
    assert re.match(r"8 MB is below the [0-9.]+ MB in use\.", error["message"]) and "lower to" in error["hint"], error
    assert boxes.api.get(f"containers/{box['id']}/limits").json() == before


def test_a_fork_bomb_stops_at_its_number(boxes: Boxes) -> None:
    box = boxes.run("sleep", "1000", pids=100)
    boxes.limit(box, pids=12)
    bomb = "for n in $(seq 40); do sleep 500 >/dev/null 2>&1 & done"
    assert "fork" in boxes.execute(box, "sh", "-c", bomb)["stderr"].lower()
    count = Path(box["cgroups"]["pids"], "pids.current")
    assert 2 <= int(count.read_text()) <= 12
    boxes.limit(box, pids=None)
    boxes.execute(box, "sh", "-c", bomb)
    assert int(count.read_text()) > 30


@pytest.mark.parametrize(
    ("limit", "words"), [("io_write_bytes", "if=/dev/zero of=/file"), ("io_read_bytes", "if=/file of=/dev/null")]
)
def test_dd_is_held_to_its_rate(boxes: Boxes, limit: str, words: str) -> None:
    box = boxes.run("sleep", "1000")
    disk = disk_below(boxes)
    flag = "oflag=direct conv=notrunc" if limit == "io_write_bytes" else "iflag=direct"

    def took() -> float:
        begun = time.monotonic()
        done = boxes.execute(box, "sh", "-c", f"dd {words} bs=256k count=32 {flag}")
        assert done["exit_code"] == 0, done
        return time.monotonic() - begun

    assert boxes.execute(box, "dd", "if=/dev/zero", "of=/file", "bs=1M", "count=8", "oflag=direct")["exit_code"] == 0
    boxes.limit(box, **{limit: {disk: 4 * MEGABYTE}})
    assert 8 * MEGABYTE / took() < 4 * MEGABYTE * 1.1
    boxes.limit(box, **{limit: None})
    assert any(took() < 1.5 for _ in range(10))  # on a busy machine not each time


def disk_below(boxes: Boxes) -> str:
    """The one that a rate without a disk's name is for: below the data directory, where sandboxes' files are."""
    box = boxes.run("true", io_read_bytes="1G")
    [disk] = boxes.api.get(f"containers/{box['id']}/limits").json()["io_read_bytes"]["requested"]
    return str(disk)


@pytest.mark.parametrize(("limit", "command"), [("net_in", "nc -l -p 7000 >/dev/null"), ("net_out", "nc -l -p 7000 </dev/zero")])
def test_a_socket_pair_is_held_to_its_rate(boxes: Boxes, limit: str, command: str) -> None:
    rate = 2_000_000
    box = boxes.run("sh", "-c", f"while :; do {command}; done")
    boxes.limit(box, **{limit: rate})
    address = box["addresses"][0].partition("/")[0]
    seen: list[float] = []
    while not seen or seen[-1] < 0.9 * rate:  # up to its rate, unless the machine is too busy for that at the moment
        assert len(seen) < 20, seen
        seen.append(flow(address, to_sandbox=limit == "net_in"))
        assert seen[-1] <= 1.1 * rate
    boxes.limit(box, **{limit: None})
    assert any(flow(address, to_sandbox=limit == "net_in") > 1.5 * rate for _ in range(10))


def test_programs_run_on_the_cpus_that_they_are_given_and_move_with_them(boxes: Boxes) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("This machine has one CPU.")
    box = boxes.run("sh", "-c", "while :; do :; done")
    for cpu in (1, 0):
        boxes.limit(box, cpuset=str(cpu))
        assert os.sched_getaffinity(box["pid"]) == {cpu}
    boxes.api.patch(f"containers/{box['id']}/limits", json={"cpuset": None})
    assert os.sched_getaffinity(box["pid"]) >= {0, 1}
