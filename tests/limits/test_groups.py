"""Groups of containers that share one budget, through the API of the real panel."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.dockerd import Dockerd
from tests.panel import Panel


@pytest.fixture
def team(api: httpx.Client):
    answer = api.post("groups", json={"name": "team", "limits": {"pids": 30, "memory": "128M"}})
    assert answer.status_code == 201, answer.text
    yield answer.json()
    for member in api.get("groups/team").json()["members"]:
        assert api.delete(f"containers/{member['id']}?force=1").status_code == 204
    assert api.delete("groups/team").status_code == 204


def join(api, name, **body):
    made = api.post("containers", json={"name": name, "group": "team", "command": ["sleep", "1000"], **body})
    assert made.status_code == 201, made.text
    return made.json()


def test_members_show_the_groups_tighter_limit_and_the_group_its_members(api, team):
    one, two = join(api, "one", limits={"pids": 50}), join(api, "two", limits={"pids": 10})
    assert one["group"] == "team" and one["cgroups"]["pids"].endswith(f"/group.team/{one['id']}")
    limits = {box["name"]: api.get(f"containers/{box['id']}/limits").json() for box in (one, two)}
    assert [limits[name]["pids"]["effective"] for name in ("one", "two")] == [30, 10]
    assert limits["one"]["memory"]["effective"] == 128 << 20
    group = api.get("groups/team").json()
    assert sorted(member["name"] for member in group["members"]) == ["one", "two"]
    assert group["usage"]["pids"] >= 2 and group["usage"]["memory"] > 0
    assert (group["limits"]["pids"]["requested"], group["limits"]["pids"]["kernel"]) == (30, 30)


def test_the_budget_is_one_for_all_and_changes_live(api, team):
    one, two = join(api, "one"), join(api, "two")
    changed = api.patch("groups/team/limits", json={"pids": 12, "cpu": 0.5})
    assert changed.status_code == 200 and changed.json()["pids"]["kernel"] == 12, changed.text
    assert api.get(f"containers/{one['id']}").json()["limits"]["pids"]["effective"] == 12
    bomb = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do sleep 500 >/dev/null 2>&1 & done"
    for box in (one, two):
        api.post(f"containers/{box['id']}/exec", json={"argv": ["sh", "-c", bomb], "timeout": 30})
    assert api.get("groups/team").json()["usage"]["pids"] <= 12
    assert api.patch("groups/team/limits", json={"pids": None}).json()["pids"]["kernel"] is None


def test_the_group_counts_what_members_of_both_engines_use(api, team, dockerd: Dockerd):
    burnt = 'while [ "$(cut -d" " -f14 /proc/$$/stat)" -lt 20 ]; do i=0; while [ $((i+=1)) -lt 9999 ]; do :; done; done'  # 0.2 s
    used = [api.get("groups/team").json()["usage"]["cpu"]]
    for box in (join(api, "one"), join(api, "two", engine="docker")):
        ran = api.post(f"containers/{box['id']}/exec", json={"argv": ["sh", "-c", burnt], "timeout": 60})
        assert ran.json()["exit_code"] == 0, ran.text
        used.append(api.get("groups/team").json()["usage"]["cpu"])
    assert all(later - earlier >= 0.19 for earlier, later in itertools.pairwise(used)), used


def test_a_group_with_members_stays(api, team):
    join(api, "one", start=False)
    refused = api.delete("groups/team")
    assert refused.status_code == 409 and refused.json()["error"]["code"] == "group_in_use"


def test_a_group_has_no_link_to_limit(api, team):
    assert "no link" in api.get("groups/team").json()["limits"]["net_in"]["locked"]
    refused = api.patch("groups/team/limits", json={"net_in": "1M"})
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "limit_locked", refused.text


def test_what_cannot_be_is_refused(api, team):
    for body in ({"name": "team"}, {"name": "../x"}, {"name": "a", "limits": {"pids": -1}}, {"name": "a", "limits": {"warp": 1}}):
        answer = api.post("groups", json=body)
        assert 400 <= answer.status_code < 500, answer.text
    for body in ({"group": "nobody"}, {"group": "nobody", "engine": "docker"}, {"group": "../x"}):
        answer = api.post("containers", json={"name": "lost", "command": ["sleep", "1"], **body})
        assert 400 <= answer.status_code < 500, answer.text
    assert api.get("groups/nobody").status_code == api.delete("groups/nobody").status_code == 404
    assert [group["name"] for group in api.get("groups").json()["items"]] == ["team"]


def test_a_docker_container_shares_the_budget_and_goes_with_docker(api, team, dockerd: Dockerd):
    box = join(api, "one", engine="docker", limits={"pids": 20})
    assert box["group"] == "team" and box["cgroups"]["pids"].endswith(f"/group.team/{box['id']}")
    limits = api.get(f"containers/{box['id']}/limits").json()
    assert (limits["pids"]["effective"], limits["memory"]["effective"]) == (20, 128 << 20)
    changed = api.patch("groups/team/limits", json={"pids": 8})
    assert changed.status_code == 200, changed.text
    assert api.get(f"containers/{box['id']}").json()["limits"]["pids"]["effective"] == 8
    bomb = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 500 >/dev/null 2>&1 & done"
    api.post(f"containers/{box['id']}/exec", json={"argv": ["sh", "-c", bomb], "timeout": 30})
    assert 1 <= api.get("groups/team").json()["usage"]["pids"] <= 8
    assert [member["id"] for member in api.get("groups/team").json()["members"]] == [box["id"]]
    assert api.delete("groups/team").json()["error"]["code"] == "group_in_use"
    told = " ".join(api.get(f"containers/{box['id']}/commands").json()["commands"])
    assert f"--cgroup-parent {dockerd.docker('inspect', '--format', '{{.HostConfig.CgroupParent}}', box['id'])}" in told


def test_a_new_worker_leaves_docker_containers_in_groups_alone(api, team, panel: Panel):
    box = join(api, "one", engine="docker")
    panel.down()
    panel.up()
    seen = api.get(f"containers/{box['id']}").json()
    assert (seen["state"], seen["pid"], seen["group"]) == ("running", box["pid"], "team")
    assert api.post(f"containers/{box['id']}/restart", json={"timeout": 0}).json()["cgroups"]["pids"] == box["cgroups"]["pids"]


def test_a_group_that_docker_made_before_us_gets_its_limits_when_we_come(api, team, panel: Panel):
    """As after a restart of the host: Docker starts its containers, and makes their parent group, without limits."""
    box = join(api, "one", engine="docker")
    panel.down()
    record = panel.data / "groups" / "team.json"
    record.write_text(record.read_text().replace(Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "another"))
    limit = Path(box["cgroups"]["pids"]).parent / "pids.max"
    limit.write_text("max")
    panel.up()
    assert limit.read_text() == "30\n"
    assert not api.get("groups/team").json()["limits"]["pids"]["drift"]


def test_a_process_of_the_host_shares_the_budget_and_goes_back_when_the_group_goes(api, team, panel: Panel):
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        added = api.post("groups/team/processes", json={"pid": process.pid})
        assert added.status_code == 200, added.text
        assert added.json()["processes"] == [process.pid] and added.json()["usage"]["pids"] == 1
        assert "/group.team/processes" in Path(f"/proc/{process.pid}/cgroup").read_text()
        told = panel.manage("group", "add-process", "team", str(process.pid))
        assert "team" in told
        panel.down()
        panel.up()
        assert api.get("groups/team").json()["processes"] == [process.pid]
        assert api.delete("groups/team").status_code == 204
        assert "group.team" not in Path(f"/proc/{process.pid}/cgroup").read_text() and process.poll() is None
    finally:
        process.kill()
        process.wait()
        api.post("groups", json={"name": "team"})


def test_what_may_not_be_moved_into_a_group_stays_where_it_is(api, team):
    one = join(api, "one")
    for pid in (1, one["pid"], 2**31 - 1, 2**40, 0, -1):
        answer = api.post("groups/team/processes", json={"pid": pid})
        assert 400 <= answer.status_code < 500, (pid, answer.text)
    assert api.post("groups/team/processes", json={"pid": 1, "to": ["net"]}).status_code in (400, 409, 422)
    assert api.get("groups/team").json()["processes"] == []


def test_a_new_worker_knows_groups_and_their_members(api, team, panel: Panel):
    one = join(api, "one", limits={"pids": 20})
    stray = Path(one["cgroups"]["pids"]).parent / "0123456789ab"
    stray.mkdir()
    panel.down()
    panel.up()
    group = api.get("groups/team").json()
    assert [member["id"] for member in group["members"]] == [one["id"]]
    assert group["limits"]["pids"]["requested"] == group["limits"]["pids"]["kernel"] == 30
    assert api.get(f"containers/{one['id']}").json()["state"] == "running"
    assert not os.path.exists(stray)
