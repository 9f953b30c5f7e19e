"""Several Docker daemons, each an engine of its own name; one of them over TCP; none holds up another."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from containers_app.engines import docker_list
from containers_app.engines.docker import DockerEngine
from containers_app.engines.docker_hosts import parse_hosts
from containers_app.errors import EngineUnavailable, InvalidInput
from containers_app.kernel import cgroups
from tests.dockerd import Dockerd, started
from tests.engines.docker_engine import Changes, docker_spec, opened
from tests.panel import free_port


def test_each_daemon_has_a_name() -> None:
    assert parse_hosts("") == {"docker": ""}
    assert parse_hosts("unix:///a.sock") == {"docker": "unix:///a.sock"}
    assert parse_hosts("unix:///a.sock, tcp://h:2375") == {"docker": "unix:///a.sock", "docker-2": "tcp://h:2375"}
    assert parse_hosts("build=tcp://h:1,unix:///x=y") == {"build": "tcp://h:1", "docker-2": "unix:///x=y"}


@pytest.mark.parametrize("text", ["raw=unix:///a", "a=tcp://x,a=tcp://y", "tcp://x,tcp://x", "tcp://x,", "A b=tcp://x", "x="])
def test_what_names_no_daemon_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_hosts(text)
    assert raised.value.hint


@pytest.fixture(scope="module")
def with_tcp() -> Iterator[tuple[Dockerd, str]]:
    url = f"tcp://127.0.0.1:{free_port()}"
    with started("--host", url, "--tls=false") as daemon:
        yield daemon, url


@pytest.fixture
def over_tcp(with_tcp: tuple[Dockerd, str]) -> Iterator[tuple[Dockerd, str]]:
    yield with_tcp
    with_tcp[0].remove_containers()


@asynccontextmanager
async def named(name: str, url: str) -> AsyncIterator[tuple[DockerEngine, Changes]]:
    engine, changes = DockerEngine(name, url, "test", cgroups.choose(), "/nowhere/kept"), Changes()
    await engine.open(changes)
    try:
        yield engine, changes
    finally:
        await engine.close()


async def test_everything_works_over_tcp(over_tcp: tuple[Dockerd, str]) -> None:
    daemon, url = over_tcp
    async with named("far", url) as (engine, changes):
        assert engine.status().available and engine.status().name == "far"
        made = await engine.create(docker_spec("remote", limits={"memory": "64M"}), "ann")
        assert (made.engine, made.state, made.limits["memory"].kernel) == ("far", "running", 64 << 20)
        assert (await engine.execute("remote", ("echo", "hi"), 10)).stdout == "hi\n"
        terminal = await engine.open_terminal("remote", ("sh",), 33, 77)
        said = b""
        async with asyncio.timeout(10):
            loop = asyncio.get_running_loop()
            with socket.socket(fileno=os.dup(terminal.fd)) as shell:
                shell.setblocking(False)
                await loop.sock_sendall(shell, b"stty size; exit\n")
                while b"33 77" not in said:
                    said += await loop.sock_recv(shell, 4096)
        os.close(terminal.fd)
        daemon.docker("kill", "remote")
        await changes.until(lambda: engine.get("remote").state == "exited")
        await engine.remove("remote", force=True)


async def test_two_daemons_stand_side_by_side_and_one_that_hangs_holds_up_nobody(
    over_tcp: tuple[Dockerd, str], daemon: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_list, "HEALTH_SECONDS", 0.2)
    other, url = over_tcp
    async with opened(daemon.url) as (near, _), named("docker-2", url) as (far, changes):
        await near.create(docker_spec("same-name"), "ann")
        await far.create(docker_spec("same-name"), "ann")
        assert near.get("same-name").engine == "docker" and far.get("same-name").engine == "docker-2"
        other.pause()
        try:
            waiting = asyncio.create_task(far.pause("same-name"))
            await near.stop("same-name", 0)  # done while the other's answer is still awaited
            assert near.get("same-name").state == "exited" and not waiting.done()
            await changes.until(lambda: far.get("same-name").stale, 10.0)
            assert not near.get("same-name").stale
            with pytest.raises(EngineUnavailable):
                await far.start("same-name")
            await near.start("same-name")
        finally:
            other.resume()
        await asyncio.gather(waiting, return_exceptions=True)
        await changes.until(lambda: not far.get("same-name").stale, 10.0)
        await far.remove("same-name", force=True)
