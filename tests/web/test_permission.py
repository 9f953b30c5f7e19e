"""What is another's does not exist; what is the staff's is refused with a word."""

import pytest

from containers_app.api import ROUTES

SPEC = {"name": "web-1", "image": "busybox", "command": ["sleep", "1000"]}
BODIES = {
    "exec": b'{"argv":["true"]}', "limits": b'{"pids":5}', "clone": b'{"name":"mine"}', "commit": b'{"image":"mine"}',
    "connect": b'{"network":"blue"}', "disconnect": b'{"network":"blue"}',
    "{id}": b'{"name":"mine"}', "processes": b'{"pid":1}',
}  # fmt: skip


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if "{id}" in route.path], ids=lambda route: f"{route.method} {route.path}"
)
async def test_an_outsider_finds_nothing_by_id_or_name(as_otto, worker, route):
    container = worker.engine.add("olgas", owner="olga")
    for reference in (container.id, "olgas"):
        body = BODIES.get(route.path.rpartition("/")[2], b"{}")
        content_type = "application/octet-stream" if route.body is bytes else "application/json"
        answer = await as_otto.send(route.method, route.path.replace("{id}", reference), body, content_type)
        assert (answer.status, answer.code) == (404, "not_found")
    assert worker.engine.containers == {container.id: container}


async def test_the_owner_and_staff_may(as_olga, as_staff, worker):
    container = worker.engine.add("olgas", owner="olga")
    for api in (as_olga, as_staff):
        assert (await api.get(f"/containers/{container.id}")).status == 200
        assert (await api.patch("/containers/olgas/limits", {"pids": 5})).status == 200


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "docker"},
        {"namespaces": {"net": "host"}},
        {"namespaces": {"pid": "host"}},
        {"namespaces": {"net": "path:/run/netns/other"}},
        {"mounts": [{"target": "/srv", "source": "/srv"}]},
    ],
)
async def test_the_host_is_for_staff(as_olga, worker, change):
    for path in ("/containers", "/preview"):
        answer = await as_olga.post(path, SPEC | change)
        assert (answer.status, answer.code) == (403, "forbidden")
    assert worker.engine.containers == {}


async def test_nobody_joins_anothers_namespaces(as_otto, as_olga, worker):
    target = worker.engine.add("olgas", owner="olga")
    for reference in (target.id, "olgas", target.id[:6]):
        answer = await as_otto.post("/containers", SPEC | {"namespaces": {"net": f"container:{reference}"}})
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await as_olga.post("/containers", SPEC | {"namespaces": {"net": "container:olgas"}})).status == 201


async def test_terminals_are_their_users_own(as_olga, as_staff, worker):
    worker.engine.add("olgas", owner="olga")
    session = (await as_olga.post("/containers/olgas/terminals", {})).body["session"]
    assert [item["session"] for item in (await as_olga.get("/terminals")).body["items"]] == [session]
    assert (await as_staff.get("/terminals")).body["items"] == []
    assert (await as_staff.delete(f"/terminals/{session}")).status == 404
    assert (await as_olga.delete(f"/terminals/{session}")).status == 204


async def test_events_and_graph_show_only_what_is_ones_own(as_otto, as_olga, as_staff, worker):
    mine = worker.engine.add("olgas", owner="olga")
    worker.engine.add("staffs", owner="staff")
    assert {event["name"] for event in (await as_staff.get("/events")).body["items"]} == {"olgas", "staffs"}
    assert {event["name"] for event in (await as_olga.get("/events")).body["items"]} == {"olgas"}
    graph = (await as_olga.get("/namespaces")).body
    assert {node["container"] for node in graph["nodes"] if node["kind"] == "container"} == {mine.id}
    ids = {node["id"] for node in graph["nodes"]}
    assert all(edge["source"] in ids and edge["target"] in ids for edge in graph["edges"])
    assert not any(node["kind"] == "container" for node in (await as_otto.get("/namespaces")).body["nodes"])


async def test_what_shares_a_namespace_is_named_only_to_who_may_see_it(as_olga, as_staff, worker):
    import os

    from containers_app.engines.base import NamespaceView

    inode = os.stat("/proc/self/ns/net").st_ino
    shared = {"net": NamespaceView(inode, "private")}
    worker.engine.add("olgas", owner="olga", namespaces=shared, pid=os.getpid(), state="running")
    worker.engine.add("secret", owner="staff", namespaces=shared)
    for api, expected in ((as_staff, ["secret"]), (as_olga, [])):
        items = (await api.get("/containers/olgas/namespaces")).body["items"]
        assert [sharer["name"] for sharer in items[0]["shared_with"]] == expected
