import asyncio
import json

import pytest

from containers_app import mirror, visitors
from containers_app.models import ApiToken

from .conftest import ORIGIN, Browser, websocket


async def opened(browser: Browser, username: str, *topics: str):
    """A live socket past its hello, subscribed."""
    await browser.log_in(username)
    socket = websocket("/ws/live/", cookie=browser.cookie)
    assert (await socket.connect())[0]
    assert (await socket.receive_json_from())["type"] == "hello"
    await socket.send_json_to({"type": "subscribe", "topics": list(topics)})
    return socket


async def until(socket, kind, check=lambda message: True):
    while True:
        message = await socket.receive_json_from(timeout=30)
        if message["type"] == kind and check(message):
            return message


async def test_it_begins_with_all_containers_and_goes_on_with_changes(browser, staff, worker):
    first = worker.engine.add("first")
    socket = await opened(browser, "staff", "containers")
    start = await until(socket, "containers")
    assert start["reset"] is True and [item["name"] for item in start["items"]] == ["first"]
    second = worker.engine.add("second")
    change = await until(socket, "containers")
    assert "reset" not in change and [item["id"] for item in change["items"]] == [second.id]
    await worker.engine.remove(first.id, True)
    assert (await until(socket, "containers"))["removed"] == [first.id]
    await socket.disconnect()


async def test_others_see_only_what_is_theirs(browser, olga, worker):
    worker.engine.add("staffs", owner="staff")
    mine = worker.engine.add("olgas", owner="olga")
    socket = await opened(browser, "olga", "containers", "events")
    assert [item["name"] for item in (await until(socket, "containers"))["items"]] == ["olgas"]
    hidden = worker.engine.add("staffs-2", owner="staff")
    await worker.engine.remove(hidden.id, True)
    worker.engine.change(mine.id, state="exited")
    change = await until(socket, "containers")
    assert [item["id"] for item in change["items"]] == [mine.id] and change["removed"] == []
    assert (await until(socket, "event"))["container"] == mine.id
    await socket.disconnect()


async def test_stats_come_with_their_columns_and_stop_when_nobody_looks(browser, staff, worker):
    socket = await opened(browser, "staff", "stats")
    frame = await until(socket, "stats")
    assert frame["columns"][:3] == ["cpu", "memory", "pids"] and frame["host"]["cpus"] > 0
    await socket.send_json_to({"type": "subscribe", "topics": ["containers"]})
    await until(socket, "containers")
    async with asyncio.timeout(30):
        while worker.live.latest is not None:
            await asyncio.sleep(0.01)
    await socket.disconnect()


async def test_a_frame_is_encoded_once_for_all_of_one_audience(browser, staff, worker):
    from containers_app.consumers import live

    first, second = await opened(browser, "staff", "stats"), await opened(Browser(), "staff", "stats")
    await until(first, "stats")
    await until(second, "stats")
    assert list(live._shared._frames) == ["staff"]
    await first.disconnect()
    await second.disconnect()


async def test_it_says_when_the_worker_goes_and_comes(browser, staff, worker):
    socket = await opened(browser, "staff", "containers")
    await until(socket, "containers")
    await worker.server.close()
    assert (await until(socket, "worker"))["up"] is False
    worker.engine.add("while-away")
    await worker.open()
    assert (await until(socket, "worker"))["up"] is True
    assert [item["name"] for item in (await until(socket, "containers", lambda m: m.get("reset")))["items"]] == ["while-away"]
    await socket.disconnect()


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "http://evil.example",
        "https://testserver.evil.example",
        "http://testserver:81",
        "ftp://testserver",
        "testserver",
    ],
)
async def test_a_foreign_origin_is_refused(browser, staff, worker, origin):
    await browser.log_in("staff")
    socket = websocket("/ws/live/", cookie=browser.cookie, origin=origin)
    await socket.connect()
    assert (await socket.receive_output())["code"] == 4401


async def test_without_a_session_it_is_refused(worker, fresh):
    for cookie in ("", "nonsense", "terrarium_8000_session=guess", "a=b; \x00"):
        socket = websocket("/ws/live/", cookie=cookie)
        await socket.connect()
        assert (await socket.receive_output())["code"] == 4401


async def test_a_foreign_host_name_is_refused(browser, staff, worker):
    await browser.log_in("staff")
    socket = websocket("/ws/live/", cookie=browser.cookie, origin="http://evil.example", host="evil.example")
    await socket.connect()
    assert (await socket.receive_output())["code"] == 4401


async def test_a_token_needs_no_origin(staff, worker):
    from asgiref.sync import sync_to_async

    token = (await sync_to_async(ApiToken.issue)(staff, "test"))[1]
    socket = websocket("/ws/live/", token=token, origin=None)
    assert (await socket.connect())[0]
    assert (await socket.receive_json_from())["user"] == "staff"
    await socket.disconnect()


async def test_a_user_made_inactive_elsewhere_is_let_go_at_the_next_event(browser, olga, worker, monkeypatch):
    monkeypatch.setattr(visitors, "KEEP", 0.0)
    container = worker.engine.add("olgas", owner="olga")
    socket = await opened(browser, "olga", "containers")
    await until(socket, "containers")
    olga.is_active = False
    await olga.asave()
    visitors.forget()
    worker.engine.change(container.id, state="exited")
    assert (await socket.receive_output())["code"] == 4401
    await socket.disconnect()


async def test_a_lost_role_shows_less_from_the_next_event_on(browser, staff, worker, monkeypatch):
    monkeypatch.setattr(visitors, "KEEP", 0.0)
    worker.engine.add("olgas", owner="olga")
    socket = await opened(browser, "staff", "containers")
    assert len((await until(socket, "containers"))["items"]) == 1
    staff.is_staff = False
    await staff.asave()
    visitors.forget()
    worker.engine.add("more", owner="olga")
    assert (await until(socket, "containers"))["items"] == []
    await socket.disconnect()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"type":"x"}', '{"type":"subscribe","topics":["nope"]}', '{"type":"subscribe","topics":5}', "[" * 5000]
)
async def test_nonsense_ends_the_socket_and_nothing_else(browser, staff, worker, text):
    await browser.log_in("staff")
    socket = websocket("/ws/live/", cookie=browser.cookie, origin=ORIGIN)
    await socket.connect()
    await socket.receive_json_from()
    await socket.send_to(text_data=text)
    assert (await socket.receive_output())["type"] == "websocket.close"
    assert (await browser.get("/containers/")).status_code == 200


async def held_back(browser):
    """(socket, what it has sent, a queue of what it receives, the task of it) for a browser that takes nothing."""
    from containers_app.consumers.live import LiveSocket

    await browser.log_in("staff")
    visitor = await visitors.by_session(browser.session)
    assert visitor is not None
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    await mirror.current().ready()
    socket = LiveSocket(visitor, send)
    socket._flow.pauseProducing()
    arrived: asyncio.Queue = asyncio.Queue()
    running = asyncio.create_task(socket.run(arrived.get))
    return socket, sent, arrived, running


async def test_a_browser_that_does_not_keep_up_gets_the_newest_only(browser, staff, worker):
    socket, sent, arrived, running = await held_back(browser)
    arrived.put_nowait({"type": "websocket.receive", "text": json.dumps({"type": "subscribe", "topics": ["containers"]})})
    await asyncio.sleep(0)
    for number in range(50):
        worker.engine.add(f"web-{number}")
        await asyncio.sleep(0.001)
    while len(list(mirror.current().all())) < 50:
        await asyncio.sleep(0.001)
    assert len(sent) == 1  # hello
    socket._flow.resumeProducing()
    while len(sent) < 2:
        await asyncio.sleep(0.001)
    assert len(json.loads(sent[1]["text"])["items"]) == 50
    arrived.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await running


async def test_a_limit_is_changed_over_the_socket_and_answered_with_the_kernels_word(browser, staff, worker):
    container = worker.engine.add("web-1")
    socket = await opened(browser, "staff")
    for request, pids in ((1, 7), (2, 9)):
        await socket.send_json_to({"type": "update_limits", "request": request, "id": container.id, "limits": {"pids": pids}})
        answer = await until(socket, "reply")
        assert answer["request"] == request
        assert list(answer["limits"]) == ["pids"] and answer["limits"]["pids"]["requested"] == pids
    assert worker.engine.read_limits(container.id)["pids"].requested == 9
    await socket.disconnect()


@pytest.mark.parametrize(
    "limits",
    [{"pids": -1}, {"pids": "nan"}, {"pids": "1e400"}, {"pids": "٣"}, {"nonsense": 1}, {"memory": {"vda": 1}}],
)
async def test_a_hostile_value_over_the_socket_is_refused_and_the_socket_goes_on(browser, staff, worker, limits):
    container = worker.engine.add("web-1")
    socket = await opened(browser, "staff")
    await socket.send_json_to({"type": "update_limits", "request": 1, "id": container.id, "limits": limits})
    assert set((await until(socket, "reply"))["error"]) == {"code", "message", "hint"}
    assert not worker.engine.read_limits(container.id)
    await socket.send_json_to({"type": "update_limits", "request": 2, "id": container.id, "limits": {"pids": 5}})
    assert (await until(socket, "reply"))["limits"]["pids"]["requested"] == 5
    await socket.disconnect()


async def test_nobody_changes_what_is_not_theirs_over_the_socket(browser, olga, worker):
    other = worker.engine.add("staffs", owner="staff")
    mine = worker.engine.add("olgas", owner="olga")
    socket = await opened(browser, "olga")
    await socket.send_json_to({"type": "update_limits", "request": 1, "id": other.id, "limits": {"pids": 5}})
    assert (await until(socket, "reply"))["error"]["code"] == "not_found"
    await socket.send_json_to({"type": "update_limits", "request": 2, "id": mine.id, "limits": {"pids": 5}})
    assert "limits" in await until(socket, "reply")
    assert not worker.engine.read_limits(other.id)
    await socket.disconnect()


async def test_a_visit_that_has_ended_changes_nothing_over_the_socket(browser, staff, worker):
    container = worker.engine.add("web-1")
    socket = await opened(browser, "staff")
    await staff.adelete()
    visitors.forget()
    await socket.send_json_to({"type": "update_limits", "request": 1, "id": container.id, "limits": {"pids": 5}})
    while (message := await socket.receive_output(timeout=30))["type"] != "websocket.close":
        assert "reply" not in message.get("text", "")
    assert message["code"] == 4401
    assert not worker.engine.read_limits(container.id)


async def test_a_list_that_no_frame_holds_comes_in_pieces_with_the_numbers_between(browser, staff, worker):
    names = [worker.engine.add(f"web-{number}", labels={"fill": "x" * 4000}).name for number in range(400)]
    socket = await opened(browser, "staff", "containers", "stats")
    first, found, sizes = None, [], []
    while len(found) < 400:
        text = (await socket.receive_output())["text"]
        message = json.loads(text)
        if message["type"] == "containers":
            sizes.append(len(text))
            first = first or message
            found += message["items"]
    assert first["reset"] and sorted(first["ids"]) == sorted(item["id"] for item in found)
    assert sorted(item["name"] for item in found) == sorted(names)
    assert len(sizes) > 4 and max(sizes) < 512 << 10
    await until(socket, "stats")
    change = worker.engine.change(worker.engine.add("last").id, state="exited")
    assert (await until(socket, "containers", lambda m: m["items"][0]["id"] == change.id))["items"][0]["state"] == "exited"
    await socket.disconnect()


async def test_many_changes_at_once_come_in_pieces_too(browser, staff, worker):
    containers = [worker.engine.add(f"web-{number}") for number in range(400)]
    socket = await opened(browser, "staff", "containers")
    await until(socket, "containers")
    for container in containers:
        worker.engine.change(container.id, labels={"fill": "x" * 4000})
    known = {}
    while len(known) < 400:
        text = (await socket.receive_output())["text"]
        assert len(text) < 512 << 10
        known |= {item["id"]: item for item in json.loads(text)["items"] if item["labels"]}
    await socket.disconnect()


async def test_one_container_that_no_frame_holds_is_told_without_its_labels(browser, staff, worker):
    large = worker.engine.add("large", labels={str(number): "x" * 4096 for number in range(300)})
    small = worker.engine.add("small", labels={"a": "b"})
    socket = await opened(browser, "staff", "containers", "stats")
    items = {item["id"]: item for item in (await until(socket, "containers"))["items"]}
    assert items[large.id]["labels"] == {} and items[small.id]["labels"] == {"a": "b"}
    await until(socket, "stats")
    await socket.disconnect()


async def test_an_answer_waits_until_the_browser_takes_it(browser, staff, worker):
    container = worker.engine.add("web-1")
    socket, sent, arrived, running = await held_back(browser)
    for pids in range(1, 10):
        change = {"type": "update_limits", "request": pids, "id": container.id, "limits": {"pids": pids}}
        arrived.put_nowait({"type": "websocket.receive", "text": json.dumps(change)})
    while "pids" not in worker.engine.read_limits(container.id):
        await asyncio.sleep(0.001)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(sent) == 1  # hello
    socket._flow.resumeProducing()
    while len(sent) < 10:
        await asyncio.sleep(0.001)
    assert [json.loads(message["text"])["request"] for message in sent[1:]] == list(range(1, 10))
    arrived.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await running
