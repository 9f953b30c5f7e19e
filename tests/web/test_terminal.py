import asyncio
import json
import signal

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError

from containers_app import visitors
from containers_app.consumers import terminal
from containers_app.worker import terminals

from .conftest import websocket


async def opened(browser, worker, username="staff", **body):
    """(session, socket past "ready")"""
    await browser.log_in(username)
    if not worker.engine.containers:
        worker.engine.add("web-1", owner=username)
    answer = await browser.client.post(
        "/api/v1/containers/web-1/terminals",
        json.dumps(body),
        content_type="application/json",
        headers={"x-csrftoken": browser.csrf},
    )
    assert answer.status_code == 201, answer.content
    session = answer.json()["session"]
    return session, await attached(browser, session)


async def attached(browser, session):
    socket = websocket(f"/ws/terminal/{session}/", cookie=browser.cookie)
    assert (await socket.connect())[0]
    assert (await socket.receive_json_from())["type"] == "ready"
    return socket


async def shown(socket, wanted: bytes) -> bytes:
    """Output until ``wanted`` is in it; each piece is acknowledged as a browser does."""
    output = b""
    while wanted not in output:
        message = await socket.receive_output(timeout=30)
        assert message["type"] == "websocket.send", message
        output += message.get("bytes") or b""
        await socket.send_json_to({"type": "ack", "bytes": len(output)})
    return output


async def test_what_is_typed_is_run_and_shown(browser, staff, worker):
    _, socket = await opened(browser, worker)
    await socket.send_to(bytes_data=b"echo $((6*7))\n")
    assert b"42" in await shown(socket, b"42")
    await socket.disconnect()


async def test_the_size_reaches_the_program(browser, staff, worker):
    _, socket = await opened(browser, worker, rows=24, columns=80)
    await socket.send_json_to({"type": "resize", "rows": 33, "columns": 101})
    await socket.send_to(bytes_data=b"stty size\n")
    await shown(socket, b"33 101")
    await socket.disconnect()


async def test_a_page_loaded_anew_sees_what_was_there(browser, staff, worker):
    session, socket = await opened(browser, worker)
    await socket.send_to(bytes_data=b"echo be''fore\n")
    await shown(socket, b"before")
    await socket.disconnect()
    again = await attached(browser, session)
    await shown(again, b"before")
    await again.send_to(bytes_data=b"echo af''ter\n")
    await shown(again, b"after")
    await again.disconnect()


async def test_two_windows_show_the_same(browser, staff, worker):
    session, first = await opened(browser, worker)
    second = await attached(browser, session)
    await first.send_to(bytes_data=b"echo bo''th\n")
    await shown(first, b"both")
    await shown(second, b"both")
    await first.disconnect()
    await second.disconnect()


async def test_the_end_of_the_shell_is_told(browser, staff, worker):
    _, socket = await opened(browser, worker)
    await socket.send_to(bytes_data=b"exit\n")
    while (message := await socket.receive_output(timeout=30)).get("text") is None:
        pass
    assert json.loads(message["text"]) == {"type": "exit", "reason": "The shell has ended."}
    assert (await socket.receive_output())["type"] == "websocket.close"
    await socket.disconnect()


async def test_anothers_session_is_not_found(browser, staff, olga, worker):
    from .conftest import Browser

    session, socket = await opened(browser, worker)
    outsider = Browser()
    await outsider.log_in("olga")
    other = websocket(f"/ws/terminal/{session}/", cookie=outsider.cookie)
    await other.connect()
    assert (await other.receive_output())["code"] == 4404
    await socket.disconnect()


async def test_a_foreign_origin_or_no_session_is_refused(browser, staff, worker):
    session, socket = await opened(browser, worker)
    for other in (
        websocket(f"/ws/terminal/{session}/", cookie=browser.cookie, origin="http://evil.example"),
        websocket(f"/ws/terminal/{session}/"),
    ):
        await other.connect()
        assert (await other.receive_output())["code"] == 4401
    await socket.disconnect()


async def demoted(user):
    user.is_staff = False
    await user.asave()
    visitors.forget()


async def closed(socket) -> tuple[int, list[str]]:
    """(close code, the text frames before it)"""
    texts = []
    while (message := await socket.receive_output(timeout=30))["type"] != "websocket.close":
        if message.get("text"):
            texts.append(message["text"])
    return message["code"], texts


async def test_a_lost_role_ends_it_and_its_shell(browser, staff, worker, monkeypatch):
    monkeypatch.setattr(terminal, "CHECK", 0.02)
    worker.engine.add("web-1", owner="somebody-else")
    session, socket = await opened(browser, worker)
    await demoted(staff)
    _, texts = await closed(socket)
    assert json.loads(texts[-1]) == {"type": "exit", "reason": "You may no longer operate this container."}
    await socket.disconnect()
    assert await asyncio.to_thread(worker.engine.shells[0].wait, 30) == -signal.SIGHUP
    assert terminals.table().holder(session) is None


async def test_who_lost_the_role_meanwhile_is_not_let_in_again(browser, staff, worker):
    worker.engine.add("web-1", owner="somebody-else")
    session, socket = await opened(browser, worker)
    await socket.disconnect()
    await demoted(staff)
    again = websocket(f"/ws/terminal/{session}/", cookie=browser.cookie)
    await again.connect()
    assert await again.receive_output() == {"type": "websocket.close", "code": 4404}
    assert await asyncio.to_thread(worker.engine.shells[0].wait, 30) == -signal.SIGHUP


async def test_it_is_known_without_the_worker_who_lost_the_role(browser, staff, worker):
    worker.engine.add("web-1", owner="somebody-else")
    session, socket = await opened(browser, worker)
    await socket.disconnect()
    await worker.server.close()
    await demoted(staff)
    again = websocket(f"/ws/terminal/{session}/", cookie=browser.cookie)
    await again.connect()
    assert (await again.receive_output())["code"] == 4404
    await worker.open()


async def test_who_lost_the_role_keeps_the_terminals_of_what_is_theirs(browser, staff, worker, monkeypatch):
    monkeypatch.setattr(terminal, "CHECK", 0.02)
    session, socket = await opened(browser, worker)
    await demoted(staff)
    await socket.send_to(bytes_data=b"echo sti''ll\n")
    await shown(socket, b"still")
    await socket.disconnect()
    await (await attached(browser, session)).disconnect()


async def test_a_log_out_elsewhere_ends_it_and_its_shell(browser, staff, worker, monkeypatch):
    monkeypatch.setattr(terminal, "CHECK", 0.02)
    session, socket = await opened(browser, worker)
    await Session.objects.filter(session_key=browser.session).adelete()
    visitors.forget()
    assert (await closed(socket))[0] == 4401
    await socket.disconnect()
    assert terminals.table().holder(session) is None


async def test_nobody_stays_on_trust_while_the_database_does_not_answer(browser, staff, worker, monkeypatch, caplog):
    session, socket = await opened(browser, worker)

    def broken(_):
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(terminal, "CHECK", 0.02)
    other = await attached(browser, session)
    monkeypatch.setattr(visitors, "_read_session", broken)
    visitors.forget()
    assert (await closed(other))[0] == 1011
    assert caplog.text.count("could not be told") == terminal.MOST_FAILED
    monkeypatch.undo()
    await other.disconnect()
    await socket.disconnect()
    await (await attached(browser, session)).disconnect()


async def test_nonsense_ends_this_socket_only(browser, staff, worker):
    session, socket = await opened(browser, worker)
    await socket.send_to(text_data='{"type":"resize","rows":"many"}')
    while (message := await socket.receive_output(timeout=30))["type"] != "websocket.close":
        pass
    assert message["code"] == 4400
    await socket.disconnect()
    await (await attached(browser, session)).disconnect()


class Line:
    """A viewer's connection without a server: it takes what it is sent, unless ``flow`` is told to pause."""

    def __init__(self, session, key):
        self.sent = []
        self.messages = asyncio.Queue()
        self.news = asyncio.Event()
        visitor = visitors.Visitor(terminals.table().holder(key).user, "staff", is_staff=True, session="of-the-line")
        self.socket = terminal.TerminalSocket(visitor, session, key, self.take)
        self.flow = self.socket._flow
        self.task = asyncio.create_task(self.socket.run(self.messages.get))

    async def take(self, message):
        self.sent.append(message)
        self.news.set()

    @property
    def bytes(self):
        return sum(len(message.get("bytes") or b"") for message in self.sent)

    def say(self, **message):
        self.messages.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def leave(self):
        self.messages.put_nowait({"type": "websocket.disconnect"})
        await self.task


async def seated(browser, worker):
    """(session, a line whose shell writes without end and waits for an acknowledgement)"""
    key, socket = await opened(browser, worker)
    await socket.disconnect()
    session = terminals.table().get(key, terminals.table().holder(key).user)
    line = Line(session, key)
    await line.until(lambda: line.bytes)
    session.write(b"yes\n")
    await line.until(lambda: session.paused)
    return session, line


async def test_who_acknowledges_without_reading_gets_no_more(browser, staff, worker):
    session, line = await seated(browser, worker)
    line.flow.pauseProducing()  # as the transport does when the client takes nothing
    line.say(type="ack", bytes=line.bytes)  # all of this the connection had taken
    async with asyncio.timeout(30):
        while not session.paused or line.messages.qsize():
            await asyncio.sleep(0.01)
    before = line.bytes
    for total in range(before, before + 4 * terminals.WINDOW, 4096):
        line.say(type="ack", bytes=total)
    async with asyncio.timeout(30):
        while line.messages.qsize():
            await asyncio.sleep(0.01)
    assert session.paused and line.bytes == before
    waiting = sum(len(message.get("bytes") or b"") for message in line.socket._queue._queue)
    assert waiting <= terminals.WINDOW + 2 * terminals.CHUNK
    line.flow.resumeProducing()
    await line.until(lambda: line.bytes > before)
    line.say(type="ack", bytes=line.bytes)
    await line.until(lambda: line.bytes > before + terminals.WINDOW)
    await line.leave()


@pytest.mark.parametrize("why", ["log-out", "nonsense"])
async def test_who_takes_nothing_can_t_hold_up_the_end(browser, staff, worker, why, monkeypatch):
    session, line = await seated(browser, worker)
    typed = []
    monkeypatch.setattr(session, "write", typed.append)
    line.flow.pauseProducing()
    line.say(type="ack", bytes=line.bytes)
    async with asyncio.timeout(30):
        while line.socket._queue.qsize() < 2:
            await asyncio.sleep(0.01)
    if why == "log-out":
        visitors.end("of-the-line")
    else:
        line.say(type="nonsense")
    await line.until(lambda: line.sent[-1]["type"] == "websocket.close")
    line.messages.put_nowait({"type": "websocket.receive", "bytes": b"too late"})
    line.say(type="nonsense")
    await line.leave()
    assert [message["type"] for message in line.sent].count("websocket.close") == 1
    assert (session.viewers, session.alive, typed) == (0, True, [])


async def test_it_goes_on_without_the_worker(browser, staff, worker):
    _, socket = await opened(browser, worker)
    await worker.server.close()
    await socket.send_to(bytes_data=b"echo still-he''re\n")
    await shown(socket, b"still-here")
    await worker.open()
    await socket.disconnect()


async def test_an_unknown_websocket_path_is_closed(browser, staff, worker):
    await browser.log_in("staff")
    socket = websocket("/ws/nowhere/", cookie=browser.cookie)
    await socket.connect()
    assert (await socket.receive_output())["code"] == 4404
