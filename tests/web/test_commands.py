"""manage.py's own commands, each as its own process would run it."""

import asyncio
import io
import json
import sys

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command

from containers_app.models import ApiToken, User, hash_token

from .conftest import Api


def run(monkeypatch, *words, stdin=""):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


def test_create_admin_makes_one_with_a_one_time_password_and_prints_nothing(monkeypatch):
    assert run(monkeypatch, "create_admin", "--username", "root", "--password-stdin", "--one-time", stdin="a quiet pond\n") == ""
    user = User.objects.get(username="root")
    assert user.check_password("a quiet pond") and user.is_superuser and user.is_staff and user.must_change_password


def test_create_admin_without_one_time_lets_the_password_stay(monkeypatch):
    run(monkeypatch, "create_admin", "--password-stdin", stdin="a quiet pond\n")
    assert not User.objects.get(username="admin").must_change_password


def test_create_admin_does_nothing_when_there_is_one(monkeypatch, staff):
    before = staff.password
    assert "already" in run(monkeypatch, "create_admin", "--username", "staff", "--password-stdin", stdin="other password\n")
    staff.refresh_from_db()
    assert staff.password == before and User.objects.count() == 1


@pytest.mark.parametrize(("name", "password"), [("admin", "short"), ("admin", ""), ("a b!", "a quiet pond")])
def test_create_admin_refuses_what_cannot_be(monkeypatch, name, password):
    with pytest.raises(CommandError):
        run(monkeypatch, "create_admin", "--username", name, "--password-stdin", stdin=password)
    assert not User.objects.exists()


def test_a_password_set_on_the_command_line_is_no_one_time_password(monkeypatch, olga):
    olga.must_change_password = True
    olga.set_password("another quiet pond")
    olga.save()
    assert not User.objects.get(username="olga").must_change_password


async def test_create_token_prints_a_token_that_works_and_keeps_only_its_hash(monkeypatch, olga, worker):
    token = (await sync_to_async(run)(monkeypatch, "create_token", "olga", "--name", "ci")).strip()
    row = await ApiToken.objects.aget()
    assert (row.hash, row.name) == (hash_token(token), "ci")
    assert (await Api(token).get("/me")).body["username"] == "olga"


def test_create_token_for_nobody_is_refused(monkeypatch):
    with pytest.raises(CommandError, match="There is no user nobody"):
        run(monkeypatch, "create_token", "nobody")


async def sandbox(monkeypatch, *words):
    return await asyncio.to_thread(run, monkeypatch, "sandbox", *words)


async def test_sandbox_runs_lists_executes_limits_and_removes(monkeypatch, staff, worker):
    assert "running" in await sandbox(monkeypatch, "run", "--limit", "pids=50", "web-1", "sleep", "1000")
    table = (await sandbox(monkeypatch, "list")).splitlines()
    assert table[0].split()[:3] == ["ID", "NAME", "ENGINE"] and table[1].split()[1:4] == ["web-1", "raw", "running"]
    listed = json.loads(await sandbox(monkeypatch, "--json", "list"))
    assert (listed["items"][0]["owner"], listed["next"]) == ("staff", None)
    assert await sandbox(monkeypatch, "exec", "web-1", "echo", "hi") == "hi\n"
    assert "67108864" in await sandbox(monkeypatch, "limits", "web-1", "memory=64M")
    assert json.loads(await sandbox(monkeypatch, "--json", "limits", "web-1", "memory="))["memory"]["requested"] is None
    assert json.loads(await sandbox(monkeypatch, "inspect", "web-1"))["name"] == "web-1"
    assert "exited" in await sandbox(monkeypatch, "stop", "web-1")
    assert await sandbox(monkeypatch, "remove", "web-1") == ""
    assert worker.engine.containers == {}


async def test_sandbox_exec_hands_on_the_exit_code(monkeypatch, staff, worker):
    await sandbox(monkeypatch, "run", "web-1", "sleep", "1000")
    with pytest.raises(SystemExit) as ended:
        await sandbox(monkeypatch, "exec", "web-1", "sh", "-c", "exit 7")
    assert ended.value.code == 7


async def test_sandbox_renames_pauses_signals_and_removes_by_force(monkeypatch, staff, worker):
    await sandbox(monkeypatch, "run", "web-1", "sleep", "1000")
    assert "web-2" in await sandbox(monkeypatch, "rename", "web-1", "web-2")
    assert "paused" in await sandbox(monkeypatch, "pause", "web-2")
    assert "running" in await sandbox(monkeypatch, "resume", "web-2")
    assert "running" in await sandbox(monkeypatch, "set-restart", "web-2", "on-failure:3")
    assert "running" in await sandbox(monkeypatch, "restart", "--timeout", "1", "web-2")
    assert json.loads(await sandbox(monkeypatch, "--json", "kill", "--signal", "INT", "web-2"))["exit_code"] == 130
    assert await sandbox(monkeypatch, "rm", "--force", "web-2") == ""
    assert worker.engine.containers == {}


async def test_sandbox_acts_with_the_rights_of_a_user(monkeypatch, staff, olga, worker):
    worker.engine.add("staffs", owner="staff")
    with pytest.raises(CommandError, match="There is no container staffs"):
        await sandbox(monkeypatch, "--as", "olga", "stop", "staffs")


async def test_sandbox_says_what_is_wrong(monkeypatch, staff, worker):
    for words in (
        ("stop", "nothing"),
        ("limits", "nothing", "memory"),
        ("run", "--limit", "memory=lots", "x"),
        ("--as", "nobody", "list"),
        ("set-restart", "nothing", "sometimes"),
        ("logs", "--since", "soon", "nothing"),
        ("kill", "--signal", "NOPE", "nothing"),
    ):
        with pytest.raises(CommandError):
            await sandbox(monkeypatch, *words)


async def test_sandbox_without_a_worker_says_so(monkeypatch, staff, no_worker):
    with pytest.raises(CommandError, match="worker does not answer"):
        await sandbox(monkeypatch, "list")
