"""Looks and changes of limits that meet at one container: none undoes what a newer one has done, whichever ends first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from containers_app.engines import docker_limits, docker_list
from containers_app.engines.docker import DockerEngine
from containers_app.errors import EngineUnavailable
from containers_app.spec import Changes, LimitReading
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec, opened

FIRST, NEWER = 1 << 20, 2 << 20  # bytes a second


class Gate:
    """The first call waits in its thread until it is let through; those after it go on at once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._first = function, True
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        if self._first:
            self._first = False
            self.reached.set()
            assert self._open.wait(60)
        return self._function(*args)

    async def until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 60)

    def let_through(self) -> None:
        self._open.set()


def disk_of(engine: DockerEngine) -> str:
    """One that stays: others may come and go with what is mounted."""
    return next(disk for disk in engine.read_limits("web")["io_read_bytes"].parts if not disk.startswith("loop"))


def read(engine: DockerEngine) -> tuple[object, object]:
    """Of the disk, for which Docker's record has no words: (requested, kernel)."""
    reading: LimitReading = engine.read_limits("web")["io_read_bytes"]
    return reading.requested, reading.kernel


def look_at_nothing_by_itself(engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine._list, "_touch", lambda _: None)


async def overtaken(docker: DockerEngine, look: asyncio.Task[None], gate: Gate) -> None:
    """By another look and a change of the limits, as far as these get beside it. In the end it is as the change has it."""
    disk = disk_of(docker)

    async def newer() -> None:
        await docker._list.look(docker.get("web").id)
        await docker.update_limits("web", {"io_read_bytes": {disk: NEWER}})

    task = asyncio.create_task(newer())
    await asyncio.wait({task}, timeout=1)
    gate.let_through()
    await asyncio.gather(look, task)
    await docker._list.look(docker.get("web").id)
    assert read(docker) == ({disk: NEWER}, {disk: NEWER})


async def test_a_look_that_is_about_to_put_limits_back_leaves_those_of_a_change_that_overtakes_it(
    docker: DockerEngine, daemon: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at_nothing_by_itself(docker, monkeypatch)
    made = await docker.create(docker_spec("web"), "ann")
    await docker.update_limits("web", {"io_read_bytes": {disk_of(docker): FIRST}})
    gate = Gate(docker._list.rates.look)
    monkeypatch.setattr(docker._list.rates, "look", gate)
    daemon.docker("restart", "-t", "0", "web")
    late = asyncio.create_task(docker._list.look(made.id))
    await gate.until_reached()
    await overtaken(docker, late, gate)


async def test_a_late_look_at_an_earlier_run_takes_no_limits_from_one_that_is_to_have_them_once(
    docker: DockerEngine, daemon: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at_nothing_by_itself(docker, monkeypatch)
    made = await docker.create(docker_spec("web"), "ann")
    await docker.update_limits("web", {"io_read_bytes": {disk_of(docker): FIRST}})
    await docker.update("web", Changes(keep_limits=False))
    gate = Gate(docker_limits.requested)
    monkeypatch.setattr(docker_limits, "requested", gate)
    late = asyncio.create_task(docker._list.look(made.id))
    await gate.until_reached()  # the daemon has told of the run that ends now
    daemon.docker("restart", "-t", "0", "web")
    await overtaken(docker, late, gate)


async def test_limits_asked_for_while_somebody_restarts_it_are_those_of_the_new_run(
    docker: DockerEngine, daemon: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at_nothing_by_itself(docker, monkeypatch)
    await docker.create(docker_spec("web"), "ann")
    disk, before = disk_of(docker), docker.get("web").pid
    await docker.update_limits("web", {"io_read_bytes": {disk: FIRST}})
    daemon.docker("restart", "-t", "0", "web")
    assert docker.get("web").pid == before  # nobody has told yet
    readings = await docker.update_limits("web", {"pids": 40})
    assert (readings["pids"].requested, readings["pids"].kernel) == (40, 40)
    assert read(docker) == ({disk: FIRST}, {disk: FIRST}) and docker.get("web").pid != before


async def test_limits_of_one_run_only_that_are_asked_for_while_it_is_restarted_hold_for_the_new_one(
    docker: DockerEngine, daemon: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at_nothing_by_itself(docker, monkeypatch)
    await docker.create(docker_spec("web"), "ann")
    disk = disk_of(docker)
    await docker.update("web", Changes(keep_limits=False))
    gate = Gate(docker._cgroups.paths_of)
    monkeypatch.setattr(docker._cgroups, "paths_of", lambda pid: gate(pid))
    first = asyncio.create_task(docker.update_limits("web", {"pids": 40}))
    await gate.until_reached()
    second = asyncio.create_task(docker.update_limits("web", {"io_read_bytes": {disk: NEWER}}))
    await asyncio.sleep(0)  # it waits for the first
    daemon.docker("restart", "-t", "0", "web")
    gate.let_through()
    await asyncio.gather(first, second)
    assert read(docker) == ({disk: NEWER}, {disk: NEWER})


async def test_what_somebody_else_writes_during_a_look_is_shown_after_it(
    docker: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_at_nothing_by_itself(docker, monkeypatch)
    made = await docker.create(docker_spec("web", limits={"pids": 40}), "ann")
    gate = Gate(docker._list.groups.named_by)
    monkeypatch.setattr(docker._list.groups, "named_by", gate)
    look = asyncio.create_task(docker._list.look(made.id))
    await gate.until_reached()  # it has read the limits
    docker._cgroups.update(made.cgroups, {"pids": 33})
    docker.look_again("web")
    assert docker.get("web").limits["pids"].kernel == 33
    gate.let_through()
    await look
    assert docker.get("web").limits["pids"].kernel == 33


async def test_a_look_that_takes_too_long_is_tried_again(daemon: Dockerd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_list, "MOST_WAIT", 0.01)
    container_id = daemon.docker("create", "--name", "before", "busybox")
    async with opened(daemon.url) as (engine, changes):
        looked_at, slow = engine._list._looked_at, [True, True]

        async def late(wanted: str) -> Any:
            if slow:
                slow.pop()
                raise EngineUnavailable("Docker did not answer within 10 seconds.")
            return await looked_at(wanted)

        monkeypatch.setattr(engine._list, "_looked_at", late)
        daemon.docker("rename", "before", "after")
        await changes.until(lambda: engine.get(container_id).name == "after")
        assert not slow
