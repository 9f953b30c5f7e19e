"""What the audit log has of limits, one entry for what a slider was left at, and of those who do not wait for an answer."""

import ast
import asyncio
import json
from pathlib import Path

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import OperationalError

from containers_app import audits, database
from containers_app.errors import Conflict
from containers_app.models import ApiToken, AuditEntry, User
from panel.handler import Handler

from .test_handler import asked


async def details():
    return [entry.detail async for entry in AuditEntry.objects.filter(action="update limits").order_by("pk")]


async def test_a_drag_is_one_entry_with_the_last_value_of_each_limit(as_staff, worker):
    worker.engine.add("web-1")
    for pids in range(5, 25):
        await as_staff.patch("/containers/web-1/limits", {"pids": pids})
    await as_staff.patch("/containers/web-1/limits", {"memory": None})
    await audits.settle()
    assert await details() == ["pids 24, memory none"]


async def test_an_entry_is_written_with_the_first_move_and_moves_along(as_staff, worker):
    """Nothing waits for a slider to rest: a web process may be killed at any moment."""
    worker.engine.add("web-1")
    for pids in (9, 10):
        await as_staff.patch("/containers/web-1/limits", {"pids": pids})
        deadline = asyncio.get_running_loop().time() + 10
        while await details() != [f"pids {pids}"]:
            assert asyncio.get_running_loop().time() < deadline, await details()
            await asyncio.sleep(0.005)


async def test_after_a_rest_a_move_is_an_entry_of_its_own(as_staff, worker, monkeypatch):
    worker.engine.add("web-1")
    monkeypatch.setattr(audits, "SETTLED", 0.0)
    for pids in (9, 10):
        await as_staff.patch("/containers/web-1/limits", {"pids": pids})
    await audits.settle()
    assert await details() == ["pids 9", "pids 10"]


async def test_what_waits_is_written_before_the_next_entry_of_anybody(as_staff, worker):
    worker.engine.add("web-1")
    await as_staff.patch("/containers/web-1/limits", {"pids": 9})
    await as_staff.post("/containers/web-1/exec", {"argv": ["true"]})
    assert [entry.action async for entry in AuditEntry.objects.order_by("pk")] == ["update limits", "execute"]


async def test_a_refused_change_is_no_entry(as_staff, worker):
    worker.engine.add("web-1")
    assert (await as_staff.patch("/containers/web-1/limits", {"pids": -9})).status == 400
    await audits.settle()
    assert await details() == []


async def test_a_user_who_is_removed_meanwhile_keeps_the_name(as_staff, staff, worker):
    worker.engine.add("web-1")
    await as_staff.patch("/containers/web-1/limits", {"pids": 9})
    await User.objects.filter(pk=staff.pk).adelete()
    await audits.settle()
    entry = await AuditEntry.objects.aget(action="update limits")
    assert (entry.username, entry.user_id) == ("staff", None)


@pytest.fixture
def token(staff):
    return ApiToken.issue(staff, "test")[1]


class Held:
    """An action of the engine that goes on only once it is let."""

    def __init__(self, engine, name, monkeypatch, refused=False):
        self.begun, self.let = asyncio.Event(), asyncio.Event()
        self.act, self.refused = getattr(engine, name), refused
        monkeypatch.setattr(engine, name, self)

    async def __call__(self, *args):
        self.begun.set()
        await self.let.wait()
        if self.refused:
            raise Conflict("Not now.")
        return await self.act(*args)


async def asked_and_left(held, token, how, method, path, body=None):
    """Who asks leaves as soon as the worker has begun; returns once the act is over too."""
    scope = asked(path, token, method)
    scope["headers"].append((b"content-type", b"application/json"))
    line = ApplicationCommunicator(Handler(), scope)
    await line.send_input({"type": "http.request", "body": b"" if body is None else json.dumps(body).encode()})
    await asyncio.wait_for(held.begun.wait(), 30)
    if how == "hangs up":
        await line.send_input({"type": "http.disconnect"})
    else:  # as the server does with who does not come to an end after that
        line.future.cancel()
    await asyncio.wait([line.future], timeout=30)
    assert line.future.done() and line.output_queue.empty()
    assert await entries() == []
    acts = set(audits._acts)
    held.let.set()
    await asyncio.wait(acts, timeout=30)
    await audits.settle()
    await database.run(lambda: None)  # what the database's thread may be writing just now


async def entries():
    return [(entry.username, entry.action) async for entry in AuditEntry.objects.order_by("pk")]


@pytest.mark.parametrize("how", ["hangs up", "is cancelled"])
@pytest.mark.parametrize(
    ("name", "method", "path", "body", "action"),
    [
        ("remove", "DELETE", "/api/v1/containers/web-1", None, "remove"),
        ("pause", "POST", "/api/v1/containers/web-1/pause", None, "pause"),
        ("update_limits", "PATCH", "/api/v1/containers/web-1/limits", {"pids": 9}, "update limits"),
        ("create", "POST", "/api/v1/containers", {"name": "web-2", "image": "busybox", "start": False}, "create"),
        ("open_terminal", "POST", "/api/v1/containers/web-1/terminals", {"argv": []}, "open terminal"),
    ],
)
async def test_who_leaves_does_not_escape_the_log(token, worker, monkeypatch, how, name, method, path, body, action):
    worker.engine.add("web-1")
    await asked_and_left(Held(worker.engine, name, monkeypatch), token, how, method, path, body)
    assert await entries() == [("staff", action)]


async def test_what_was_refused_after_who_asked_had_left_is_no_entry(token, worker, monkeypatch, caplog):
    worker.engine.add("web-1")
    held = Held(worker.engine, "pause", monkeypatch, refused=True)
    await asked_and_left(held, token, "hangs up", "POST", "/api/v1/containers/web-1/pause")
    assert await entries() == [] and caplog.text == ""


async def test_what_fails_after_who_asked_had_left_is_told_in_the_log(token, worker, monkeypatch, caplog):
    def full(*_):
        raise OperationalError("database or disk is full")

    worker.engine.add("web-1")
    held = Held(worker.engine, "pause", monkeypatch)
    monkeypatch.setattr(audits, "_store", full)
    await asked_and_left(held, token, "hangs up", "POST", "/api/v1/containers/web-1/pause")
    assert "database or disk is full" in caplog.text
    monkeypatch.undo()


def test_every_service_that_writes_an_entry_is_carried_out():
    """But for the part that others have in common."""
    found = {
        (path.name, function.name)
        for path in Path(audits.__file__).parent.glob("*services.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.AsyncFunctionDef) and function.name != "_act"
        if any(ast.unparse(call.func).split(".")[-1] in ("audit", "audit_limits") for call in _calls(function))
        if not any(ast.unparse(decorator).endswith("carried_out") for decorator in function.decorator_list)
    }
    assert found == set()


def _calls(function):
    return (node for node in ast.walk(function) if isinstance(node, ast.Call))
