"""Renaming, restart policies, labels, logs from a place on, and processes of the host, through the API."""

import subprocess

import pytest

from containers_app.models import AuditEntry

SPEC = {"name": "web-1", "image": "busybox", "command": ["sleep", "1000"]}


async def test_a_container_is_renamed_at_once_and_audited(as_olga, worker):
    made = (await as_olga.post("/containers", SPEC)).body
    answer = await as_olga.patch("/containers/web-1", {"name": "web-2"})
    assert (answer.status, answer.body["id"], answer.body["name"]) == (200, made["id"], "web-2")
    assert (await as_olga.get("/containers/web-2")).body["id"] == made["id"]
    assert (await as_olga.get("/containers/web-1")).status == 404
    entry = await AuditEntry.objects.filter(action="update").afirst()
    assert entry is not None and "web-2" in entry.detail


async def test_a_name_that_another_has_is_refused(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    await as_olga.post("/containers", SPEC | {"name": "web-2"})
    answer = await as_olga.patch("/containers/web-1", {"name": "web-2"})
    assert (answer.status, answer.code) == (409, "name_taken")


@pytest.mark.parametrize(
    "change",
    [{}, [], 5, {"name": "../x"}, {"restart": "often"}, {"restart": {"policy": "no", "retries": 1}}, {"image": "other"},
     {"labels": {"a": "\0"}}, {"labels": []}, {"restart": {"policy": "on-failure", "retries": 1 << 40}}],
)  # fmt: skip
async def test_hostile_changes_are_400(as_olga, worker, change):
    await as_olga.post("/containers", SPEC)
    assert (await as_olga.patch("/containers/web-1", change)).status == 400


async def test_what_one_may_not_see_cannot_be_changed(as_olga, as_otto, worker):
    await as_olga.post("/containers", SPEC)
    assert (await as_otto.patch("/containers/web-1", {"name": "mine"})).status == 404


async def test_logs_say_where_to_go_on(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    answer = await as_olga.get("/containers/web-1/logs?tail=3&timestamps=true&since=5&after=7")
    assert answer.body == {"text": "xxx", "next": "0"}
    for query in ("tail=0", "tail=x", "since=-1", "since=nan", "timestamps=perhaps"):
        assert (await as_olga.get(f"/containers/web-1/logs?{query}")).status == 400, query


async def test_stop_takes_the_containers_own_patience_or_ours(as_olga, worker):
    for body in ({}, {"timeout": None}, {"timeout": 2}):
        await as_olga.post("/containers", SPEC)
        assert (await as_olga.post("/containers/web-1/stop", body)).status == 200
        await as_olga.delete("/containers/web-1")


async def test_adding_a_process_is_staffs_and_only_to_control_groups(as_olga, as_staff, worker):
    await as_olga.post("/containers", SPEC)
    process = subprocess.Popen(["sleep", "1000"])
    try:
        body = {"pid": process.pid}
        assert (await as_olga.post("/containers/web-1/processes", body)).status == 403
        refused = await as_staff.post("/containers/web-1/processes", body | {"to": ["net"]})
        assert (refused.status, refused.code) == (422, "unsupported") and "setns" in refused.body["error"]["message"]
        assert (await as_staff.post("/containers/web-1/processes", {"pid": "1"})).status == 400
    finally:
        process.kill()
        process.wait()


async def test_the_hosts_programs_in_a_containers_namespaces_are_staffs(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    body = {"argv": ["true"], "namespaces": ["net"]}
    assert (await as_olga.post("/containers/web-1/exec", body)).status == 403
    for some in (["mnt"], ["mnt", "net"], ["mnt", "uts", "ipc", "pid", "user", "cgroup", "time"]):
        assert (await as_olga.post("/containers/web-1/exec", body | {"namespaces": some})).status == 403, (
            "the host's for the rest"
        )
    every = ["mnt", "uts", "ipc", "pid", "net", "cgroup", "time"]
    assert (await as_olga.post("/containers/web-1/exec", body | {"namespaces": every})).status == 200
    assert (await as_olga.post("/containers/web-1/exec", body | {"namespaces": ["mnt", "disk"]})).status == 400
