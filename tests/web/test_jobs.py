"""Jobs and images as users see them: whose they are, who may, and what the live socket tells whom."""

from __future__ import annotations

import asyncio
import json

from containers_app.kernel.images.task import Progress

from .conftest import ORIGIN, Browser, websocket


def start(worker, target, owner, **options):
    """A job that goes on until the event is set."""
    go = asyncio.Event()

    async def work(told, stream):
        told(Progress("Working", 1, 2))
        await go.wait()
        return "made"

    return worker.worker.jobs.start("import", target, owner, work, **options), go


async def watching(username):
    browser = Browser()
    await browser.log_in(username)
    socket = websocket("/ws/live/", cookie=browser.cookie, origin=ORIGIN)
    await socket.connect()
    assert (await socket.receive_json_from())["type"] == "hello"
    await socket.send_json_to({"type": "subscribe", "topics": ["jobs"]})
    await socket.send_json_to({"type": "update_limits", "request": 1, "id": "nobody", "limits": {"pids": 5}})
    assert (await socket.receive_json_from())["type"] == "reply"  # one after the other: it has subscribed
    return socket


async def told(socket, state):
    """Everything up to the job of that state."""
    found = []
    while not found or found[-1]["state"] != state:
        message = await socket.receive_json_from(timeout=30)
        assert message["type"] == "job", message
        found.append(message["job"])
    return found


async def test_jobs_are_told_to_their_owner_and_to_staff_only(staff, olga, otto, worker):
    sockets = {name: await watching(name) for name in ("staff", "olga", "otto")}
    job, go = start(worker, "olgas", "olga")
    other, _ = start(worker, "nobodys", "staff")
    for name in ("staff", "olga"):
        assert (await told(sockets[name], "running"))[0]["id"] == job.id
    go.set()
    for name in ("staff", "olga"):
        mine = (await told(sockets[name], "done"))[-1]
        assert (mine["id"], mine["message"], mine["owner"]) == (job.id, "made", "olga")
    assert await sockets["otto"].receive_nothing(0.2) and await sockets["olga"].receive_nothing(0.2)
    await worker.worker.jobs.cancel(other.id)
    assert [one["target"] for one in await told(sockets["staff"], "cancelled")][-1] == "nobodys"
    assert await sockets["olga"].receive_nothing(0.2)
    for socket in sockets.values():
        await socket.disconnect()


async def test_jobs_of_others_are_not_there(as_staff, as_olga, as_otto, worker):
    job, _ = start(worker, "olgas", "olga", upload=True)
    assert [one["id"] for one in (await as_olga.get("/jobs")).body["items"]] == [job.id]
    assert (await as_otto.get("/jobs")).body["items"] == []
    for method, path, body, kind in (
        ("GET", "", b"", "application/json"),
        ("POST", "/cancel", b"{}", "application/json"),
        ("PUT", "/data?offset=0&last=true", b"x", "application/octet-stream"),
    ):
        answer = await as_otto.send(method, f"/jobs/{job.id}{path}", body, kind)
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await as_staff.get(f"/jobs/{job.id}")).body["received"] == 0
    assert (await as_olga.post(f"/jobs/{job.id}/cancel", {})).body["state"] == "cancelled"
    again = await as_olga.post(f"/jobs/{job.id}/cancel", {})
    assert (again.status, again.code) == (409, "conflict")
    for path in ("/jobs/nonesuch", "/jobs/../me", "/jobs/0123456789ab"):
        assert (await as_staff.get(path)).status == 404


async def test_a_piece_for_a_job_that_waits_is_a_409_that_says_so(as_olga, worker):
    running = [start(worker, name, "olga")[0] for name in ("a", "b")]
    job, _ = start(worker, "c", "olga", upload=True)
    await asyncio.sleep(0)
    answer = await as_olga.send("PUT", f"/jobs/{job.id}/data?offset=0&last=false", b"x", "application/octet-stream")
    assert (answer.status, answer.code) == (409, "waiting") and answer.body["error"]["hint"]
    for one in (*running, job):
        await worker.worker.jobs.cancel(one.id)


async def test_importing_is_for_staff_whatever_the_source_is(as_olga, worker):
    sources = (
        {"type": "tar"}, {"type": "oci"}, {"type": "directory", "path": "/srv"}, {"type": "programs", "programs": ["sh"]},
        {"type": "debootstrap", "suite": "bookworm"}, {"type": "docker-image", "reference": "busybox"},
        {"type": "docker-container", "container": "x"}, {"type": "registry", "reference": "busybox"},
    )  # fmt: skip
    for source in sources:
        answer = await as_olga.send("POST", "/images", json.dumps({"name": "x", "source": source}).encode())
        assert (answer.status, answer.code) == (403, "forbidden"), source
    assert worker.worker.jobs.list() == []
