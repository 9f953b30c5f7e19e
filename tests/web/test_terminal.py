import asyncio
import json
import signal

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
