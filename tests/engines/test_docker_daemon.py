"""A daemon in trouble: absent, late, killed, restarted, hung. The engine says so and heals by itself."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from containers_app.engines import docker_list
from containers_app.engines.docker import DockerEngine
from containers_app.errors import EngineUnavailable, InvalidInput, NotFound, Unsupported
from containers_app.kernel import cgroups
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec, opened


async def until(condition: object, seconds: float) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_without_a_daemon_it_opens_and_says_so(tmp_path: Path) -> None:
    async with opened(f"unix://{tmp_path}/none.sock") as (engine, _):
        status = engine.status()
        assert not status.available and f"{tmp_path}/none.sock" in status.detail and status.hint
        assert engine.all() == [] and await engine.images() == [] and await engine.networks() == []
        with pytest.raises(EngineUnavailable):
            await engine.create(docker_spec("x"), "ann")


async def test_without_a_url_it_waits_for_docker_to_be_installed(
    daemon: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_list, "DEFAULT_URL", f"unix://{tmp_path}/docker.sock")
    async with opened("") as (engine, _):
        assert engine.status().detail == "There is no Docker on this host." and "docker.io" in engine.status().hint
        os.symlink(daemon.url.removeprefix("unix://"), tmp_path / "docker.sock")
        await until(lambda: engine.status().available, 20.0)


async def test_a_stale_socket_is_no_daemon(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{tmp_path}/stale.sock")
    async with opened(f"unix://{tmp_path}/stale.sock") as (engine, _):
        assert not engine.status().available and "does not answer" in engine.status().detail


async def test_a_daemon_that_appears_later_is_found(daemon: Dockerd, tmp_path: Path) -> None:
    daemon.docker("run", "-d", "--name", "early", "busybox", "sleep", "1000")
    async with opened(f"unix://{tmp_path}/late.sock") as (engine, _):
        os.symlink(daemon.url.removeprefix("unix://"), tmp_path / "late.sock")
        await until(lambda: engine.status().available, 20.0)
        assert engine.get("early").state == "running"


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput):
        DockerEngine("docker", "ftp://x", "test", cgroups.choose(), "/nowhere")


async def test_a_killed_daemon_leaves_the_last_known_list_and_heals(daemon: Dockerd) -> None:
    container_id = daemon.docker("run", "-d", "--name", "survivor", "--memory", "64m", "busybox", "sleep", "1000")
    daemon.docker("create", "--name", "idle", "busybox", "true")
    async with opened(daemon.url) as (engine, changes):
        before = engine.get("survivor")
        changes.ids.clear()
        daemon.kill()
        try:
            await changes.until(lambda: engine.get("survivor").state == "unknown")
            lost = engine.get("survivor")
            assert (lost.pid, lost.cgroups, lost.namespaces) == (before.pid, before.cgroups, before.namespaces)
            idle = engine.get("idle")
            assert (lost.stale, idle.state, idle.stale) == (True, "created", True) and set(changes.ids) == {container_id, idle.id}
            assert not engine.status().available and engine.status().hint
            assert engine.read_limits("survivor")["memory"].kernel == 64 << 20  # the kernel still knows
            began = time.monotonic()
            with pytest.raises(EngineUnavailable):
                await engine.stop("survivor", 5)
            assert time.monotonic() - began < 0.2
        finally:
            daemon.restart()
        await changes.until(lambda: engine.get("survivor").state == "running", 60.0)
        assert engine.get("survivor") == before and not engine.get("idle").stale and engine.status().available
        daemon.docker("rm", "-f", "idle")  # events flow again
        await changes.until(lambda: not engine.owns("idle"))


async def test_what_went_while_the_daemon_was_away_is_noticed(daemon: Dockerd) -> None:
    daemon.docker("run", "-d", "--name", "gone", "busybox", "sleep", "1000")
    async with opened(daemon.url) as (engine, changes):
        pid = engine.get("gone").pid
        daemon.kill()
        try:
            await changes.until(lambda: engine.get("gone").state == "unknown")
            os.kill(pid, 9)
        finally:
            daemon.restart()
        await changes.until(lambda: engine.get("gone").state == "exited", 60.0)
        assert engine.get("gone").pid == 0


async def test_a_hung_daemon_never_blocks_the_loop(daemon: Dockerd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_list, "HEALTH_SECONDS", 0.2)
    daemon.docker("run", "-d", "--name", "calm", "busybox", "sleep", "1000")
    async with opened(daemon.url) as (engine, changes):
        daemon.pause()
        try:
            slow = asyncio.create_task(engine.pause("calm"))
            longest, last = 0.0, time.monotonic()
            while engine.status().available:
                await asyncio.sleep(0.01)
                now = time.monotonic()
                longest, last = max(longest, now - last), now
                assert engine.get("calm").name == "calm"
            assert longest < 0.5 and "answer" in engine.status().detail
            assert engine.get("calm").state == "unknown"
        finally:
            daemon.resume()
        await asyncio.gather(slow, return_exceptions=True)
        await changes.until(lambda: engine.get("calm").state in ("running", "paused"), 60.0)
        assert engine.status().available


async def test_one_that_hangs_at_the_start_shows_up_when_it_answers(daemon: Dockerd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_list, "CALL_SECONDS", 0.5)  # so long the opening waits
    daemon.docker("run", "-d", "--name", "calm", "busybox", "sleep", "1000")
    daemon.pause()
    try:
        async with opened(daemon.url) as (engine, changes):
            assert engine.all() == [] and not engine.status().available
            with pytest.raises(EngineUnavailable):
                await engine.create(docker_spec("x"), "ann")
            daemon.resume()
            await changes.until(lambda: engine.owns("calm") and engine.get("calm").state == "running", 60.0)
    finally:
        daemon.resume()


async def test_a_slow_call_holds_up_no_other(daemon: Dockerd) -> None:
    daemon.docker("run", "-d", "--name", "stubborn", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    async with opened(daemon.url) as (engine, _):
        stops = [asyncio.create_task(engine.stop("stubborn", 5)) for _ in range(4)]
        await asyncio.sleep(0)
        await engine.create(docker_spec("quick"), "ann")
        assert (await engine.execute("quick", ("echo", "hi"), 10)).stdout == "hi\n"
        await engine.remove("quick", force=True)
        assert not any(stop.done() for stop in stops)
        await engine.kill("stubborn", 9)
        await asyncio.gather(*stops, return_exceptions=True)
        assert engine.get("stubborn").state == "exited"


async def test_refusals_carry_the_engines_own_name(docker: DockerEngine) -> None:
    docker._client.product = "Podman"  # which speaks the same API
    with pytest.raises(Unsupported, match="Podman has no time namespaces"):
        await docker.create(docker_spec("x", time_offsets={"boottime": 5}), "ann")
    with pytest.raises(InvalidInput, match="Podman takes no memory limit below"):
        await docker.create(docker_spec("x", limits={"memory": "4M"}), "ann")
    with pytest.raises(NotFound, match="Podman: ") as missing:
        await docker.create(docker_spec("x", image="nowhere.invalid/nothing:v1"), "ann")
    assert "podman pull" in missing.value.hint
    with pytest.raises(NotFound, match="no Podman container"):
        docker.get("nothing")
