"""A limit changed behind the panel's back: shown as drift within the second, put back or accepted; in both engines."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.dockerd import Dockerd


@pytest.fixture
def box(api: httpx.Client):
    answer = api.post(
        "containers", json={"name": "drifter", "command": ["sleep", "1000"], "limits": {"pids": 50, "memory": "64M"}}
    )
    assert answer.status_code == 201, answer.text
    yield answer.json()
    api.delete(f"containers/{answer.json()['id']}?force=1")


@pytest.fixture
def docker_box(api: httpx.Client, dockerd: Dockerd):
    body = {"name": "docker-drifter", "engine": "docker", "command": ["sleep", "1000"], "limits": {"pids": 50, "memory": "64M"}}
    answer = api.post("containers", json=body)
    assert answer.status_code == 201, answer.text
    yield answer.json()
    api.delete(f"containers/{answer.json()['id']}?force=1")


def pids_max(box) -> Path:
    return Path(box["cgroups"]["pids"], "pids.max")


def limits(api, box):
    return api.get(f"containers/{box['id']}/limits").json()


def drifted(readings) -> list[str]:
    return [name for name, reading in readings.items() if reading["drift"]]


def _settle(api, box):
    assert drifted(limits(api, box)) == []
    pids_max(box).write_text("30")
    assert drifted(limits(api, box)) == ["pids"]
    back = api.post(f"containers/{box['id']}/limits/put-back", json={"names": ["pids"]})
    assert back.status_code == 200, back.text
    assert (back.json()["pids"]["requested"], back.json()["pids"]["kernel"], drifted(back.json())) == (50, 50, [])
    assert pids_max(box).read_text() == "50\n"
    pids_max(box).write_text("40")
    accepted = api.post(f"containers/{box['id']}/limits/accept", json={})
    assert accepted.status_code == 200, accepted.text
    assert (accepted.json()["pids"]["requested"], accepted.json()["pids"]["kernel"], drifted(accepted.json())) == (40, 40, [])


def test_a_sandboxs_drift_is_put_back_or_accepted(api, box):
    _settle(api, box)


def test_a_docker_containers_drift_is_put_back_or_accepted_in_its_own_record_too(api, docker_box, dockerd):
    _settle(api, docker_box)
    assert dockerd.docker("inspect", "--format", "{{.HostConfig.PidsLimit}}", docker_box["id"]).strip() == "40"


def test_settling_a_limit_that_is_none_is_refused(api, box):
    for action in ("put-back", "accept"):
        answer = api.post(f"containers/{box['id']}/limits/{action}", json={"names": ["warp"]})
        assert answer.status_code == 400, answer.text


def test_a_drift_comes_into_the_list_by_itself(api, box):
    pids_max(box).write_text("30")
    deadline = time.monotonic() + 30  # ten seconds while nobody watches
    while not (seen := api.get(f"containers/{box['id']}").json()["limits"]["pids"])["drift"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (seen["requested"], seen["kernel"]) == (50, 30)


def test_what_docker_has_no_words_for_outlives_its_restart(api, docker_box):
    disk = limits(api, docker_box)["io_read_bytes"]["parts"][0]
    change = {"io_read_bytes": {disk: 1 << 20}}
    assert api.patch(f"containers/{docker_box['id']}/limits", json=change).status_code == 200
    assert api.post(f"containers/{docker_box['id']}/restart", json={"timeout": 0}).status_code == 200
    reading = limits(api, docker_box)["io_read_bytes"]
    assert (reading["requested"], reading["kernel"], reading["drift"]) == ({disk: 1 << 20}, {disk: 1 << 20}, False)
