"""Start, stop, kill, restart, pause, resume, remove, logs: each against a real container."""

from __future__ import annotations

import asyncio

import pytest

from containers_app.engines.base import LogQuery
from containers_app.engines.docker import DockerEngine
from containers_app.errors import Conflict, NotFound, Unsupported
from containers_app.kernel import cgroups
from containers_app.spec import Changes, Restart
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec

OBEYS = ["sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done"]


async def listens(docker: DockerEngine, lines: int = 1) -> None:
    """``OBEYS`` has its trap; before that, as process 1, it takes no signal. It says so once in each run."""
    async with asyncio.timeout(30):
        while (await docker.logs("web", LogQuery(100))).text != "ready\n" * lines:
            await asyncio.sleep(0.02)


async def test_stop_and_start_and_restart(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web", command=OBEYS), "ann")
    await listens(docker)
    await docker.stop("web", 60)
    stopped = docker.get("web")
    assert (stopped.state, stopped.exit_code, stopped.pid) == ("exited", 3, 0)
    with pytest.raises(Conflict, match="web is exited and can't be stopped"):
        await docker.stop("web", 5)
    await docker.start("web")
    started = docker.get("web")
    assert started.state == "running" and started.pid not in (0, made.pid) and started.exit_code is None
    with pytest.raises(Conflict, match="running already"):
        await docker.start("web")
    await listens(docker, 2)
    await docker.restart("web", 60)
    assert docker.get("web").state == "running" and docker.get("web").pid != started.pid


async def test_kill_sends_the_signal_that_is_asked_for(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web", command=OBEYS), "ann")
    await listens(docker)
    await docker.kill("web", 15)
    async with asyncio.timeout(30):
        while docker.get("web").state != "exited":
            await asyncio.sleep(0.01)
    assert docker.get("web").exit_code == 3


async def test_pause_stops_it_and_resume_lets_it_run_on(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web"), "ann")
    groups = cgroups.choose()
    await docker.pause("web")
    assert docker.get("web").state == "paused" and groups.frozen(made.cgroups) and docker.get("web").pid == made.pid
    with pytest.raises(Conflict, match="paused"):
        await docker.pause("web")
    await docker.resume("web")
    assert docker.get("web").state == "running" and not groups.frozen(made.cgroups)
    with pytest.raises(Conflict, match="can't be resumed"):
        await docker.resume("web")


async def test_a_running_one_is_removed_only_by_force(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web"), "ann")
    with pytest.raises(Conflict, match="web is running") as raised:
        await docker.remove("web", force=False)
    assert "force" in raised.value.hint
    await docker.remove("web", force=True)
    assert not docker.owns(made.id)
    with pytest.raises(NotFound):
        await docker.remove(made.id, force=True)
    idle = await docker.create(docker_spec("idle", start=False), "ann")
    assert idle.state == "created" and idle.limits["memory"].kernel is None
    await docker.remove(idle.id, force=False)
    assert docker.all() == []


async def test_a_stop_that_takes_long_does_not_hold_up_others(docker: DockerEngine) -> None:
    for number in range(3):
        await docker.create(docker_spec(f"deaf{number}"), "ann")  # sleep as process 1 ignores SIGTERM
    await docker.create(docker_spec("quick", start=False), "ann")
    stops = [asyncio.create_task(docker.stop(f"deaf{number}", 60)) for number in range(2)]
    stops.append(asyncio.create_task(docker.stop("deaf2", 1)))
    await asyncio.sleep(0.05)
    await docker.start("quick")
    assert not any(stop.done() for stop in stops[:2])
    for number in range(2):
        await docker.kill(f"deaf{number}", 9)
    await asyncio.gather(*stops)
    assert {docker.get(f"deaf{number}").reason for number in range(3)} == {"killed by SIGKILL"}


async def test_logs_are_the_last_lines_of_both_outputs(docker: DockerEngine) -> None:
    await docker.create(
        docker_spec("chatty", command=["sh", "-c", "for i in 1 2 3; do echo line $i; done; echo oops >&2"]), "ann"
    )
    async with asyncio.timeout(30):
        while docker.get("chatty").state != "exited":
            await asyncio.sleep(0.01)
    text = (await docker.logs("chatty", LogQuery(100))).text
    assert sorted(text.splitlines()) == ["line 1", "line 2", "line 3", "oops"]
    assert len((await docker.logs("chatty", LogQuery(2))).text.splitlines()) == 2
    read = await docker.logs("chatty", LogQuery(100, timestamps=True))
    stamps = sorted(line.split(" ")[0] for line in read.text.splitlines())
    assert len(stamps) == 4 and all(stamp.endswith("Z") for stamp in stamps)
    assert (await docker.logs("chatty", LogQuery(after=read.next))).text == ""


async def test_a_container_is_renamed_and_gets_a_restart_policy_live(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("before", command=["sleep", "1000"]), "ann")
    await docker.update(made.id, Changes(name="after", restart=Restart("on-failure", 3)))
    found = docker.get("after")
    assert (found.id, found.restart_policy, found.restart_count, found.state) == (made.id, "on-failure", 0, "running")
    with pytest.raises(Unsupported):
        await docker.update(made.id, Changes(labels={"a": "b"}))


async def test_a_container_that_its_daemon_starts_again_and_again_can_be_stopped_and_removed(
    docker: DockerEngine, daemon: Dockerd
) -> None:
    daemon.docker("run", "-d", "--restart", "always", "--name", "loop", "busybox", "sh", "-c", "exit 7")
    async with asyncio.timeout(60):
        while not docker.owns("loop") or not docker.get("loop").restarting:
            await asyncio.sleep(0.01)
    assert docker.get("loop").state == "exited" and docker.get("loop").reason == "exited 7; Docker will start it again"
    with pytest.raises(Conflict):
        await docker.remove("loop", force=False)
    await docker.stop("loop", 1)
    stopped = docker.get("loop")
    assert (stopped.state, stopped.restarting) == ("exited", False)
    daemon.docker("start", "loop")
    async with asyncio.timeout(60):
        while not docker.get("loop").restarting:
            await asyncio.sleep(0.01)
    await docker.remove("loop", force=True)
    assert not docker.owns("loop")
