"""Containers that share namespaces, when the one that made them goes: who leans on it is told, and can be brought back."""

from __future__ import annotations

import pytest

from .conftest import Json, Lab, inodes

ENGINES = ("raw", "docker")


def dependents(lab: Lab, box: Json) -> list[Json]:
    items: list[Json] = lab.get(f"containers/{box['id']}/dependents")["items"]
    return items


@pytest.mark.parametrize(("engine", "target"), [("raw", "raw"), ("docker", "docker"), ("raw", "docker")])
def test_who_leans_on_a_container_is_told_and_can_join_again(lab: Lab, engine: str, target: str) -> None:
    one = lab.create("one", engine=target, stop_timeout=1)  # second: a sleep that is pid 1 does not hear SIGTERM
    lab.create("alone", engine=engine)
    two = lab.create("two", engine=engine, stop_timeout=1, namespaces={"net": "container:one"})
    three = lab.create("three", engine=engine, namespaces={"net": "container:two"}) if engine == "raw" else None
    found = dependents(lab, one)
    assert [(item["name"], item["types"], item["attached"]) for item in found[:1]] == [("two", ["net"], True)]
    assert len(found) == (2 if three else 1) and dependents(lab, three or two) == []
    lab.act(one, "restart")
    assert not dependents(lab, one)[0]["attached"]
    answer = lab.client.post(f"containers/{one['id']}/dependents/rejoin", json={})
    assert answer.status_code == 200 and answer.json()["items"][0] | {"id": ""} == {"id": "", "name": "two", "error": ""}
    fresh = {name: inodes(lab.get(f"containers/{name}")["pid"])["net"] for name in ("one", "two")}
    assert fresh["one"] == fresh["two"] and dependents(lab, one)[0]["attached"]
    assert all(item["attached"] for item in dependents(lab, one))


def test_one_whose_pid_namespace_ended_is_told_and_comes_back(lab: Lab) -> None:
    one = lab.create("one")
    two = lab.create("two", namespaces={"pid": "container:one", "net": "none"})
    lab.act(one, "restart")
    assert lab.get(f"containers/{two['id']}")["state"] == "exited"
    lab.client.post(f"containers/{one['id']}/dependents/rejoin", json={})
    assert "sleep 1000" in lab.say(lab.get("containers/two"), "ps -o args") and dependents(lab, one)[0]["attached"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_toolbox_is_opened_and_closed_by_the_api(lab: Lab, engine: str) -> None:
    box = lab.create("box", engine=engine)
    answer = lab.client.post(f"containers/{box['id']}/toolbox", json={"image": "busybox"})
    assert answer.status_code == 201, answer.text
    assert lab.client.delete(f"terminals/{answer.json()['session']}").status_code == 204
    wrong = lab.client.post(f"containers/{box['id']}/toolbox", json={"image": "no-such"})
    assert wrong.status_code == 404 and wrong.json()["error"]["hint"]
