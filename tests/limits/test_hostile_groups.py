"""Hostile values for groups and for what settles a drift, through the real API: a 4xx each time, in words, nothing changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers_app.spec import LIMITS
from tests.panel import Panel

from .test_hostile_values import AMOUNTS, DEVICES, NESTED, ONCE, everything

NAMES = st.sampled_from(
    ["", ".", "..", "../x", "a/b", "a\x00b", "team\n", "٣", "tеam", "-x", ".x", "a" * 64, "a b", "a;reboot", "%2e%2e"]
)
WORDS = AMOUNTS | NESTED | st.none()


@pytest.fixture(scope="module")
def team(panel: Panel, token: str) -> Iterator[httpx.Client]:
    """A client; ``box`` is a sandbox with a drifted limit, ``group`` its group's control groups."""
    with httpx.Client(base_url=f"{panel.url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        made = client.post("groups", json={"name": "team", "limits": {"pids": 60, "memory": "128M"}})
        assert made.status_code == 201, made.text
        body = {"name": "fuzzed", "command": ["sleep", "1000"], "group": "team", "limits": {"pids": 50}}
        box = client.post("containers", json=body).json()
        Path(box["cgroups"]["pids"], "pids.max").write_text("30")
        client.box = box  # type: ignore[attr-defined]
        client.group = {"cgroups": {name: str(Path(path).parent) for name, path in box["cgroups"].items()}}  # type: ignore[attr-defined]
        yield client
        client.delete(f"containers/{box['id']}?force=1")
        assert client.delete("groups/team").status_code == 204


def refused(team: httpx.Client, method: str, path: str, body: str) -> None:
    seen = [everything(team.box), everything(team.group), team.get("groups").json()["items"][0]["limits"]]  # type: ignore[attr-defined]
    answer = team.request(
        method, path, content=body.encode("utf-8", "surrogatepass"), headers={"Content-Type": "application/json"}
    )
    assert 400 <= answer.status_code < 500, (path, body, answer.status_code, answer.text)
    assert answer.json()["error"]["message"]
    groups = team.get("groups").json()["items"]
    assert [group["name"] for group in groups] == ["team"]
    assert [everything(team.box), everything(team.group), groups[0]["limits"]] == seen  # type: ignore[attr-defined]


@ONCE
@given(name=st.sampled_from(sorted(set(LIMITS) - {"cpuset"})), value=AMOUNTS | NESTED)
def test_hostile_limits_of_a_group(team: httpx.Client, name: str, value: object) -> None:
    refused(team, "PATCH", "groups/team/limits", json.dumps({"pids": 20, name: value}))


@ONCE
@given(name=st.sampled_from(["io_read_bytes", "io_write_ops", "hugetlb"]), device=DEVICES)
def test_hostile_devices_of_a_group(team: httpx.Client, name: str, device: str) -> None:
    refused(team, "PATCH", "groups/team/limits", json.dumps({"memory": "96M", name: {device: 1 << 21}}))


@ONCE
@given(name=NAMES, limits=st.just({}) | st.dictionaries(st.sampled_from(sorted(LIMITS)), AMOUNTS, min_size=1, max_size=2))
def test_hostile_names_of_a_group(team: httpx.Client, name: str, limits: dict[str, object]) -> None:
    refused(team, "POST", "groups", json.dumps({"name": name, "limits": limits}))


@ONCE
@given(name=st.sampled_from(sorted(set(LIMITS) - {"cpuset"})), value=AMOUNTS)
def test_a_group_with_hostile_limits_is_not_made(team: httpx.Client, name: str, value: object) -> None:
    refused(team, "POST", "groups", json.dumps({"name": "other", "limits": {name: value}}))


@ONCE
@given(body=WORDS | st.fixed_dictionaries({"pid": WORDS}) | st.fixed_dictionaries({"pid": st.just(1), "to": WORDS}))
def test_hostile_processes_for_a_group(team: httpx.Client, body: object) -> None:
    refused(team, "POST", "groups/team/processes", json.dumps(body))


@ONCE
@given(
    how=st.sampled_from(["put-back", "accept"]),
    names=st.lists(AMOUNTS | NESTED | st.sampled_from(["warp", "PIDS", "pids\n", "pids ", "рids"]), min_size=1, max_size=3)
    | AMOUNTS | st.none() | st.dictionaries(st.text(max_size=3), AMOUNTS, min_size=1),
    before=st.booleans(),
)  # fmt: skip
def test_hostile_names_of_what_to_settle(team: httpx.Client, how: str, names: object, before: bool) -> None:
    """A drifted limit beside them stays as drifted as it is."""
    if before and isinstance(names, list):
        names = ["pids", *names]
    refused(team, "POST", f"containers/{team.box['id']}/limits/{how}", json.dumps({"names": names}))  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["put-back", "accept"])
@pytest.mark.parametrize("body", ['{"names": [NaN]}', "[" * 5000, "[]", "1", '{"name": ["pids"]}', '{"names": ["\\ud800"]}', "{"])
def test_hostile_bodies_of_what_settles(team: httpx.Client, how: str, body: str) -> None:
    refused(team, "POST", f"containers/{team.box['id']}/limits/{how}", body)  # type: ignore[attr-defined]


def test_an_honest_request_settles_the_same_drift(team: httpx.Client) -> None:
    """The last one: what all the others were refused for is there to be settled."""
    answer = team.post(f"containers/{team.box['id']}/limits/put-back", json={"names": ["pids"]})  # type: ignore[attr-defined]
    assert answer.status_code == 200, answer.text
    assert (answer.json()["pids"]["requested"], answer.json()["pids"]["kernel"]) == (50, 50)
