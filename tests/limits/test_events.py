"""What a limit does is counted beside it: through the API of the real panel, on whichever control groups this host has."""

from __future__ import annotations

import time

import pytest


@pytest.fixture
def run(api):
    made = []

    def start(*command, **limits):
        answer = api.post("containers", json={"name": f"counted-{len(made)}", "command": command, "limits": limits})
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
        return made[-1]

    yield start
    for container in made:
        api.delete(f"containers/{container}?force=1")


def events(api, container):
    answer = api.get(f"containers/{container}/limits/events")
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for(api, container, condition):
    deadline = time.monotonic() + 60
    while not condition(found := events(api, container)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_a_burner_is_throttled_in_its_periods(api, run):
    burner = run("sh", "-c", "while :; do :; done", cpu=0.1)
    found = wait_for(api, burner, lambda one: one["throttled_periods"] > 5)
    assert found["periods"] >= found["throttled_periods"] and found["throttled"] > 0
    assert found["oom_kill"] == found["pids_max"] == 0


def test_refused_forks_are_counted(api, run):
    box = run("sleep", "600", pids=5)
    assert events(api, box)["pids_max"] == 0
    bomb = "for n in 1 2 3 4 5 6; do sleep 600 >/dev/null 2>&1 & done"
    api.post(f"containers/{box}/exec", json={"argv": ["sh", "-c", bomb], "timeout": 30})
    assert events(api, box)["pids_max"] >= 1


def test_a_killed_hog_is_counted_while_the_rest_runs_on(api, run):
    hog = run("sh", "-c", "sh -c 'x=x; while :; do x=$x$x; done'; exec sleep 600", memory="24M")
    found = wait_for(api, hog, lambda one: one["oom_kill"] >= 1)
    assert found["memory_max"] >= 1
    assert api.get(f"containers/{hog}").json()["state"] == "running"


def test_a_stopped_one_has_no_counts(api, run):
    box = run("sleep", "600")
    assert api.post(f"containers/{box}/kill", json={}).status_code == 200
    deadline = time.monotonic() + 60
    while api.get(f"containers/{box}").json()["state"] == "running":
        assert time.monotonic() < deadline
    assert set(events(api, box).values()) == {None}
