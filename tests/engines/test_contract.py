"""What every engine promises by ``engines/base.py``: the same tests for each, on the real kernel and a real daemon."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from containers_app.engines.base import Container, Engine, LogQuery
from containers_app.errors import Conflict, NotFound, TerrariumError
from containers_app.spec import LIMITS, NAMESPACE_TYPES, Changes, ContainerSpec, parse_container
from tests.dockerd import Dockerd

from .conftest import new_home, until
from .docker_engine import opened

MEMORY = 64 << 20  # bytes
SLEEP = ["sleep", "1000"]
OBEYS = ["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"]


@dataclass
class Under:
    """An engine under test, and what it told of changes."""

    engine: Engine
    changes: list[str] = field(default_factory=list)

    def spec(self, name: str = "box", **fields: object) -> ContainerSpec:
        body = {"engine": self.engine.name, "name": name, "image": "busybox", "command": SLEEP, "namespaces": {"net": "none"}}
        return parse_container(body | {"limits": {"memory": MEMORY, "pids": 50}} | fields)

    async def create(self, name: str = "box", **fields: object) -> Container:
        return await self.engine.create(self.spec(name, **fields), "ann")

    async def create_obedient(self) -> Container:
        """One that ends with 3 at SIGTERM, and has said that it is ready to."""
        made = await self.create(command=OBEYS)
        async with asyncio.timeout(30):
            while "ready" not in (await self.engine.logs(made.id, LogQuery())).text:
                await asyncio.sleep(0.01)
        return made


@pytest.fixture(scope="session", params=["raw", "dockerd", "podman"])
def behind(request: pytest.FixtureRequest) -> Dockerd | None:
    """The daemon behind the engine: the session's own, there before any test that could leave something of it."""
    daemon: Dockerd | None = None if request.param == "raw" else request.getfixturevalue(request.param)
    return daemon


@pytest.fixture
async def under(behind: Dockerd | None, tmp_path: Path) -> AsyncIterator[Under]:
    if behind is not None:
        try:
            async with opened(behind.url, f"{tmp_path}/kept") as (docker, told):
                yield Under(docker, told.ids)
        finally:
            behind.remove_containers()
        return
    with new_home() as home:
        raw = home.engine()
        await raw.open(home.changes.append)
        try:
            yield Under(raw, home.changes)
        finally:
            for container in raw.all():
                await raw.remove(container.id, force=True)
            await raw.close()


async def test_one_that_was_made_runs_and_is_in_the_list_as_it_was_asked_for(under: Under) -> None:
    made = await under.create()
    assert under.engine.all() == [made] and under.engine.get(made.id) == under.engine.get("box") == made
    assert (made.engine, made.name, made.state, made.owner) == (under.engine.name, "box", "running", "ann")
    assert made.command == tuple(SLEEP)  # a daemon says so just before it is the program
    await until(lambda: Path(f"/proc/{made.pid}/cmdline").read_text() == "sleep\x001000\x00")
    assert under.engine.owns(made.id) and not under.engine.owns("0" * 64) and made.id in under.changes
    assert {kind: view.inode for kind, view in made.namespaces.items()} == {
        kind: os.stat(f"/proc/{made.pid}/ns/{kind}").st_ino for kind in NAMESPACE_TYPES
    }


async def test_the_engine_says_that_it_is_there(under: Under) -> None:
    status = under.engine.status()
    assert status.available and status.name == under.engine.name and status.detail


async def test_a_name_is_given_once(under: Under) -> None:
    await under.create()
    with pytest.raises(Conflict) as raised:
        await under.create()
    assert raised.value.code == "name_taken" and len(under.engine.all()) == 1


async def test_one_that_is_not_to_start_is_created_and_starts_when_told(under: Under) -> None:
    made = await under.create(start=False)
    assert (made.state, made.pid, made.started_at) == ("created", 0, None)
    await under.engine.start(made.id)
    started = under.engine.get(made.id)
    assert started.state == "running" and started.pid and started.started_at
    with pytest.raises(Conflict):
        await under.engine.start(made.id)


async def test_a_stop_lets_it_end_by_itself(under: Under) -> None:
    made = await under.create_obedient()
    await under.engine.stop(made.id, 10)
    ended = under.engine.get(made.id)
    assert (ended.state, ended.exit_code, ended.pid) == ("exited", 3, 0) and ended.reason and ended.finished_at
    assert not os.path.exists(f"/proc/{made.pid}")
    with pytest.raises(Conflict):
        await under.engine.stop(made.id, 10)


async def test_a_kill_sends_the_signal_that_was_asked_for(under: Under) -> None:
    made = await under.create_obedient()
    await under.engine.kill(made.id, signal.SIGTERM)
    await until(lambda: under.engine.get(made.id).state == "exited")
    assert under.engine.get(made.id).exit_code == 3
    await under.engine.start(made.id)
    await under.engine.kill(made.id, signal.SIGKILL)
    await until(lambda: under.engine.get(made.id).state == "exited")
    assert under.engine.get(made.id).exit_code == 128 + signal.SIGKILL


async def test_a_restart_is_another_process_with_the_same_files(under: Under) -> None:
    made = await under.create()
    await under.engine.execute(made.id, ("sh", "-c", "echo kept > /root/note"), 10)
    await under.engine.restart(made.id, 0)
    again = under.engine.get(made.id)
    assert again.state == "running" and again.pid not in (0, made.pid) and again.id == made.id
    assert (await under.engine.execute(made.id, ("cat", "/root/note"), 10)).stdout == "kept\n"


async def test_a_paused_one_stands_still_until_it_is_resumed(under: Under) -> None:
    made = await under.create()
    await under.engine.pause(made.id)
    assert under.engine.get(made.id).state == "paused" and under.engine.get(made.id).pid == made.pid
    for refused in (under.engine.pause(made.id), under.engine.execute(made.id, ("true",), 20)):
        with pytest.raises(Conflict):
            await refused
    await under.engine.resume(made.id)
    assert under.engine.get(made.id).state == "running"
    with pytest.raises(Conflict):
        await under.engine.resume(made.id)


async def test_one_that_is_renamed_is_found_by_its_new_name_alone(under: Under) -> None:
    made, _ = await under.create(), await under.create("other", start=False)
    await under.engine.update(made.id, Changes(name="web"))
    assert under.engine.get("web").id == made.id and under.engine.get("web").pid == made.pid
    with pytest.raises(NotFound):
        under.engine.get("box")
    with pytest.raises(Conflict):
        await under.engine.update(made.id, Changes(name="other"))
    assert under.engine.get(made.id).name == "web"


async def test_every_limit_is_told_and_one_that_is_changed_is_the_kernels(under: Under) -> None:
    made = await under.create()
    assert set(under.engine.read_limits(made.id)) == set(LIMITS)
    memory = made.limits["memory"]
    assert memory.requested == memory.kernel == memory.effective == MEMORY
    told = await under.engine.update_limits(made.id, {"memory": 2 * MEMORY})
    assert told["memory"].requested == told["memory"].kernel == 2 * MEMORY and told["pids"].kernel == 50
    assert under.engine.get(made.id).limits["memory"].kernel == 2 * MEMORY
    cleared = await under.engine.update_limits(made.id, {"memory": None, "swap": None, "pids": None})
    assert all(cleared[name].requested is None and cleared[name].kernel is None for name in ("memory", "swap", "pids"))


async def test_a_limit_that_cannot_be_changes_nothing(under: Under) -> None:
    made = await under.create()
    with pytest.raises(TerrariumError) as raised:
        await under.engine.update_limits(made.id, {"pids": 60, "memory": 4096})
    assert 400 <= raised.value.status < 500 and raised.value.hint
    limits = under.engine.read_limits(made.id)
    assert (limits["memory"].kernel, limits["pids"].kernel) == (MEMORY, 50)


async def test_a_command_runs_inside_and_tells_how_it_ended(under: Under) -> None:
    made = await under.create(hostname="inside")
    result = await under.engine.execute(made.id, ("sh", "-c", "hostname; echo bad >&2; exit 7"), 10)
    assert (result.exit_code, result.stdout, result.stderr) == (7, "inside\n", "bad\n")


async def test_a_terminal_is_a_pty_inside_with_the_size_that_was_asked_for(under: Under) -> None:
    made = await under.create()
    terminal = await under.engine.open_terminal(made.id, ("sh", "-c", "while read line; do stty size; done"), 30, 100)

    async def until_it_says(size: bytes) -> None:
        """Asked again and again: Podman answers a resize before it has done it."""
        got = b""
        async with asyncio.timeout(30):
            while size not in got:
                os.write(terminal.fd, b"\n")
                got += await asyncio.to_thread(os.read, terminal.fd, 1024)

    try:
        os.set_blocking(terminal.fd, True)
        await until_it_says(b"30 100")
        await terminal.resize(40, 120)
        await until_it_says(b"40 120")
    finally:
        os.close(terminal.fd)


async def test_logs_go_on_where_the_last_look_ended(under: Under) -> None:
    says = "trap 'echo line 4' USR1; for n in 1 2 3; do echo line $n; done; while :; do sleep 0.05; done"
    made = await under.create(command=["sh", "-c", says])
    async with asyncio.timeout(30):
        while "line 3" not in (first := await under.engine.logs(made.id, LogQuery(tail=2))).text:
            await asyncio.sleep(0.01)
    assert first.text == "line 2\nline 3\n"
    nothing = await under.engine.logs(made.id, LogQuery(after=first.next))
    assert nothing.text == "" and nothing.next == first.next
    os.kill(made.pid, signal.SIGUSR1)
    async with asyncio.timeout(30):
        while not (more := await under.engine.logs(made.id, LogQuery(after=first.next))).text:
            await asyncio.sleep(0.01)
    assert more.text == "line 4\n" and (await under.engine.logs(made.id, LogQuery(after=more.next))).text == ""


async def test_a_running_one_is_removed_by_force_only_and_leaves_nothing(under: Under) -> None:
    made = await under.create()
    with pytest.raises(Conflict) as raised:
        await under.engine.remove(made.id, force=False)
    assert "force" in raised.value.hint and under.engine.get(made.id).state == "running"
    await under.engine.remove(made.id, force=True)
    assert under.engine.all() == [] and not under.engine.owns(made.id)
    assert not os.path.exists(f"/proc/{made.pid}") and not any(map(os.path.exists, made.cgroups.values()))


async def test_what_is_not_there_is_not_found(under: Under) -> None:
    engine, query = under.engine, LogQuery()
    for act in (
        engine.start("nobody"), engine.stop("nobody", 1), engine.kill("nobody", 9), engine.restart("nobody", 1),
        engine.pause("nobody"), engine.resume("nobody"), engine.remove("nobody", True), engine.logs("nobody", query),
        engine.execute("nobody", ("true",), 20), engine.update("nobody", Changes(name="somebody")),
        engine.update_limits("nobody", {"pids": 5}),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await act


async def test_the_commands_that_do_the_same_are_told_before_and_after(under: Under) -> None:
    before = under.engine.preview(under.spec())
    made = await under.create()
    assert any("sleep 1000" in line for line in before) and any("sleep 1000" in line for line in under.engine.commands(made.id))
