"""Each action through the API, on a worker whose containers are processes; the change is in the next list at once."""

import asyncio
import json

import pytest

from containers_app import shares
from containers_app.engines.base import ExecResult
from containers_app.models import AuditEntry

SPEC = {"name": "web-1", "image": "busybox", "command": ["sleep", "1000"]}


async def listed(api, name):
    items = (await api.get("/containers")).body["items"]
    return next((item for item in items if item["name"] == name), None)


async def test_create_answers_201_and_the_list_has_it_at_once(as_olga, worker):
    answer = await as_olga.post("/containers", SPEC)
    assert answer.status == 201, answer.body
    assert (answer.body["state"], answer.body["owner"], answer.body["command"]) == ("running", "olga", ["sleep", "1000"])
    assert (await listed(as_olga, "web-1"))["pid"] == answer.body["pid"] > 0
    assert (await as_olga.get("/containers/web-1")).body["id"] == answer.body["id"]


async def test_each_user_has_a_share_of_what_waits_until_the_worker_has_answered(as_olga, as_otto, olga, worker, monkeypatch):
    monkeypatch.setattr(shares.waiting, "_most", 2)
    worker.engine.add("web-1", owner="olga")
    worker.engine.add("web-2", owner="otto")
    let = asyncio.Event()

    async def held(container_id, *more):
        await let.wait()
        worker.engine.change(container_id, state="exited")
        return ExecResult(0, "", "")

    monkeypatch.setattr(worker.engine, "execute", held)
    monkeypatch.setattr(worker.engine, "stop", held)
    first = asyncio.create_task(as_olga.post("/containers/web-1/exec", {"argv": ["sleep", "600"]}))
    second = asyncio.create_task(as_olga.post("/containers/web-1/stop"))
    async with asyncio.timeout(30):
        while shares.waiting._taken[olga.pk] < 2:
            await asyncio.sleep(0.005)
    first.cancel()  # as of a client that hangs up
    await asyncio.wait([first])
    refused = await as_olga.post("/containers/web-1/restart")
    assert (refused.status, refused.code) == (409, "too_many") and refused.body["error"]["hint"]
    assert (await as_olga.post("/containers/web-1/pause")).status == 200
    let.set()
    assert (await as_otto.post("/containers/web-2/exec", {"argv": ["true"]})).status == 200
    assert (await second).status == 200
    async with asyncio.timeout(30):
        while shares.waiting._taken[olga.pk]:
            await asyncio.sleep(0.005)
    assert (await as_olga.post("/containers/web-1/stop")).status == 200
    assert shares.waiting._taken == {}
    actions = [entry.action async for entry in AuditEntry.objects.filter(username="olga").order_by("pk")]
    assert sorted(actions) == ["execute", "pause", "stop", "stop"]


async def test_create_without_start(as_olga, worker):
    assert (await as_olga.post("/containers", SPEC | {"start": False})).body["state"] == "created"


async def test_a_name_is_taken_once(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    answer = await as_olga.post("/containers", SPEC)
    assert (answer.status, answer.code) == (409, "name_taken")


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "../etc"},
        {"name": "x" * 64},
        {"name": 7},
        {"name": None},
        {"image": ""},
        {"image": "../../etc"},
        {"command": "sleep"},
        {"command": [""]},
        {"command": ["\0"]},
        {"limits": {"memory": "-1"}},
        {"limits": {"memory": "١٢M"}},
        {"limits": {"pids": 0}},
        {"limits": {"nonsense": 1}},
        {"limits": []},
        {"limits": {"cpu": "NaN"}},
        {"namespaces": {"net": "x"}},
        {"namespaces": {"pid": "path:relative"}},
        {"namespaces": 5},
        {"mounts": [{"target": "/proc"}]},
        {"mounts": [5]},
        {"mounts": {}},
        {"unknown": 1},
        {"engine": "lxc"},
        {"start": "yes"},
        {"env": {"A=B": "x"}},
        {"user": "root"},
        {"security": {"seccomp": "x"}},
        {"hostname": "a b"},
        {"cwd": "x"},
    ],
)
async def test_a_bad_spec_is_a_4xx_and_nothing_is_made(as_staff, worker, change):
    answer = await as_staff.post("/containers", SPEC | change)
    assert 400 <= answer.status < 500 and answer.code, answer.body
    assert worker.engine.containers == {}


async def test_stop_start_restart_pause_resume_kill(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    for action, state in (
        ("stop", "exited"),
        ("start", "running"),
        ("restart", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("kill", "exited"),
    ):
        answer = await as_olga.post(f"/containers/web-1/{action}")
        assert (answer.status, answer.body["state"]) == (200, state), action
        assert (await listed(as_olga, "web-1"))["state"] == state


async def test_starting_what_runs_is_a_conflict_with_a_hint(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    answer = await as_olga.post("/containers/web-1/start", {})
    assert (answer.status, answer.code) == (409, "conflict")
    assert answer.body["error"]["hint"]


@pytest.mark.parametrize("signal", [15, "TERM", "sigterm", "15"])
async def test_kill_takes_a_signal_by_number_or_name(as_olga, worker, signal):
    await as_olga.post("/containers", SPEC)
    assert (await as_olga.post("/containers/web-1/kill", {"signal": signal})).body["exit_code"] == 143


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("kill", {"signal": 0}),
        ("kill", {"signal": 65}),
        ("kill", {"signal": "NOPE"}),
        ("kill", {"signal": None}),
        ("kill", {"signal": -9}),
        ("stop", {"timeout": -1}),
        ("stop", {"timeout": 1e300}),
        ("stop", {"timeout": "soon"}),
        ("start", {"x": 1}),
        ("start", []),
    ],
)
async def test_a_bad_body_is_a_400_and_it_runs_on(as_olga, worker, action, body):
    await as_olga.post("/containers", SPEC)
    assert (await as_olga.post(f"/containers/web-1/{action}", body)).status == 400
    assert (await as_olga.get("/containers/web-1")).body["state"] == "running"


async def test_remove_answers_204_and_it_is_gone_at_once(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    assert (await as_olga.delete("/containers/web-1?force=1")).status == 204
    assert await listed(as_olga, "web-1") is None
    assert (await as_olga.get("/containers/web-1")).status == 404
    assert (await as_olga.delete("/containers/web-1")).code == "not_found"


async def test_one_that_ends_by_itself_is_not_shown_as_running(as_olga, worker):
    answer = await as_olga.post("/containers", SPEC | {"command": ["true"]})
    async with asyncio.timeout(30):
        while (await listed(as_olga, "web-1"))["state"] != "exited":
            await asyncio.sleep(0.01)
    assert (await as_olga.get(f"/containers/{answer.body['id']}")).body["exit_code"] == 0


async def test_exec_gives_exit_code_and_output(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    answer = await as_olga.post("/containers/web-1/exec", {"argv": ["sh", "-c", "echo out; echo err >&2; exit 3"]})
    assert answer.body == {"exit_code": 3, "stdout": "out\n", "stderr": "err\n", "truncated": False}


@pytest.mark.parametrize(
    "body",
    [{}, {"argv": []}, {"argv": ""}, {"argv": [1]}, {"argv": ["x"], "timeout": 0}, {"argv": ["x"] * 300}, {"argv": ["a\0b"]}],
)
async def test_a_bad_exec_is_a_400(as_olga, worker, body):
    await as_olga.post("/containers", SPEC)
    assert (await as_olga.post("/containers/web-1/exec", body)).status == 400


async def test_limits_change_live_and_read_back(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    answer = await as_olga.patch("/containers/web-1/limits", {"memory": "64M", "pids": 50})
    assert answer.body["memory"]["requested"] == 64 << 20
    assert (await as_olga.get("/containers/web-1/limits")).body["pids"]["kernel"] == 50
    assert (await listed(as_olga, "web-1"))["limits"]["memory"]["kernel"] == 64 << 20
    cleared = await as_olga.patch("/containers/web-1/limits", {"memory": None})
    assert cleared.body["memory"]["requested"] is None


@pytest.mark.parametrize(
    "changes", [{"memory": "lots"}, {"memory": -5}, {"pids": 1.5}, {"cpu": True}, {"nope": 1}, [], 5, None, {"memory": {}}]
)
async def test_a_bad_limit_is_a_400_and_nothing_changes(as_olga, worker, changes):
    await as_olga.post("/containers", SPEC)
    assert (await as_olga.send("PATCH", "/containers/web-1/limits", json.dumps(changes).encode())).status == 400
    assert (await as_olga.get("/containers/web-1/limits")).body == {}


async def test_what_is_read_about_one(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    assert (await as_olga.get("/containers/web-1/commands")).body == {"commands": ["sleep 1000"]}
    assert (await as_olga.get("/containers/web-1/logs?tail=3")).body == {"text": "xxx", "next": "0"}
    assert (await as_olga.get("/containers/web-1/security")).body == {}
    assert (await as_olga.get("/containers/web-1/namespaces")).body["items"] == []
    mounts = (await as_olga.get("/containers/web-1/mounts")).body["items"]
    assert {"target", "source", "type", "options", "propagation"} <= set(mounts[0]) and "/proc" in [
        one["target"] for one in mounts
    ]
    assert (await as_olga.get("/containers/web-1/processes")).body["items"][0]["argv"] == ["sleep", "1000"]
    assert set((await as_olga.get("/containers/web-1/stats")).body) >= {"cpu", "memory", "pids"}
    assert (await as_olga.post("/preview", SPEC)).body == {"commands": ["sleep 1000"]}


async def test_a_container_goes_by_id_name_and_beginning_of_the_id(as_staff, worker):
    container = worker.engine.add("web-1")
    for reference in (container.id, "web-1", container.id[:4], container.id[:11]):
        assert (await as_staff.get(f"/containers/{reference}")).body["id"] == container.id
    for reference in (container.id[:3], "web", "WEB-1", "%2e%2e", "x" * 500, "a b", "%00"):
        assert (await as_staff.get(f"/containers/{reference}")).status == 404, reference


async def test_every_change_is_audited(as_olga, worker):
    await as_olga.post("/containers", SPEC)
    await as_olga.patch("/containers/web-1/limits", {"pids": 9})
    await as_olga.post("/containers/web-1/exec", {"argv": ["true"]})
    await as_olga.delete("/containers/web-1?force=1")
    entries = [(entry.username, entry.action, entry.detail) async for entry in AuditEntry.objects.order_by("pk")]
    assert entries == [
        ("olga", "create", "raw, busybox"),
        ("olga", "update limits", "pids 9"),
        ("olga", "execute", "true"),
        ("olga", "remove", "by force"),
    ]
