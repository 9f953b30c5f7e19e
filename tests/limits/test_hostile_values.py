"""Hostile values for limits through the real API: a 4xx each time, in words, and nothing changed in the kernel."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from containers_app.spec import LIMITS

AMOUNTS = (
    st.integers(max_value=-1) | st.integers(min_value=1 << 62) | st.booleans() | st.floats(max_value=-1e-9)
    | st.sampled_from(["", "-1", "٣٢M", "1e9", "0x10", "NaN", "inf", "64X", "1..2", "½", "1_000", "\x00", " "])
)  # fmt: skip
NESTED = st.recursive(
    AMOUNTS,
    lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.text(max_size=4), inner, min_size=1),
    max_leaves=4,
).filter(lambda value: isinstance(value, (list, dict)))
DEVICES = st.sampled_from(["nodisk", "../vda", "0:0", "vda\n", "99999:99999", "/dev/null", "vdа", "3M", "-1"])


@pytest.fixture(scope="module")
def box(panel, token):
    with httpx.Client(base_url=f"{panel.url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        made = client.post(
            "containers", json={"name": "fuzzed", "command": ["sleep", "1000"], "limits": {"pids": 50, "memory": "64M"}}
        )
        assert made.status_code == 201, made.text
        client.box = made.json()
        yield client
        client.delete(f"containers/{client.box['id']}?force=1")


SET = re.compile(r"max|limit|weight|shares|quota|period|cpus$|device|low$|high$")
COUNTED = re.compile(r"events|usage|failcnt|peak|max_usage|stat")


def everything(box) -> dict[str, bytes]:
    """Every limit file of every hierarchy that it is in."""
    found = {}
    for directory in set(box["cgroups"].values()):
        for path in Path(directory).iterdir():
            if SET.search(path.name) and not COUNTED.search(path.name):
                with contextlib.suppress(OSError):  # some can only be written
                    found[str(path)] = path.read_bytes()
    assert len(found) > 10
    return found


def refused(client, body: str) -> None:
    before = everything(client.box)
    answer = client.patch(
        f"containers/{client.box['id']}/limits",
        content=body.encode("utf-8", "surrogatepass"),
        headers={"Content-Type": "application/json"},
    )
    assert 400 <= answer.status_code < 500, (body, answer.status_code, answer.text)
    assert answer.json()["error"]["message"]
    assert everything(client.box) == before


ONCE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@ONCE
@given(name=st.sampled_from(sorted(set(LIMITS) - {"cpuset"})), value=AMOUNTS | NESTED)
def test_hostile_amounts(box, name, value):
    refused(box, json.dumps({"pids": 20, name: value}))


@ONCE
@given(name=st.sampled_from(["io_read_bytes", "io_write_bytes", "io_read_ops", "io_write_ops", "hugetlb"]), device=DEVICES)
def test_hostile_devices(box, name, device):
    refused(box, json.dumps({"memory": "32M", name: {device: 1 << 21}}))


@pytest.mark.parametrize("value", ["9", "0-", "1-0", "٠", "0-99999", "0,,1", "a", -1, 1.5, [0], {"0": 1}, True, "0;reboot"])
def test_hostile_cpus(box, value):
    refused(box, json.dumps({"pids": 20, "cpuset": value}))


@pytest.mark.parametrize(
    "body", ['{"cpu": NaN}', '{"cpu": Infinity}', '{"cpu": 1e999}', "[" * 5000, '{"warp": 1}', "[]", "1", '{"\\ud800": 1}']
)
def test_hostile_bodies(box, body):
    refused(box, body)


def test_one_bad_entry_refuses_the_whole(box):
    disk = box.get(f"containers/{box.box['id']}/limits").json()["io_read_bytes"]["parts"][0]
    refused(box, json.dumps({"pids": 10, "io_read_bytes": {disk: 1000, "nodisk": 1000}}))
    refused(box, json.dumps({"pids": 10, "io_read_bytes": {disk: 1000}, "memory": 1 << 50}))
