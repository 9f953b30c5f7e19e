"""A Docker daemon in trouble, seen from above the engines: the raw half goes on untouched, the Docker half says so and heals."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from containers_app.engines import docker_list
from containers_app.engines.docker import DockerEngine
from containers_app.engines.policy import Peers, Policy
from containers_app.errors import EngineUnavailable, Unsupported
from containers_app.kernel import cgroups
from containers_app.spec import ContainerSpec
from containers_app.worker import protocol, registry
from containers_app.worker.client import WorkerClient
from containers_app.worker.protocol import Container
from tests.dockerd import Dockerd
from tests.engines.docker_engine import daemon as daemon
from tests.engines.docker_engine import docker_spec
from tests.worker.conftest import ProcessEngine, Site


async def until(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("trouble", ["hung at the start", "hangs", "killed"])
async def test_the_raw_half_goes_on_and_the_docker_half_heals(
    daemon: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(docker_list, "HEALTH_SECONDS", 0.2)
    monkeypatch.setattr(registry, "OPEN_PATIENCE", 0.2)
    daemon.docker("run", "-d", "--name", "theirs", "busybox", "sleep", "1000")
    if trouble == "hung at the start":
        daemon.pause()
    docker = DockerEngine("docker", daemon.url, "here", cgroups.choose(), "/nowhere/kept")
    site = Site(tmp_path, ProcessEngine(), Policy(peers=Peers((0,))), {"docker": docker})
    await site.open()
    client = WorkerClient(site.path)

    async def listed() -> dict[str, Container]:
        return {one.name: one for one in await client.call(protocol.ListContainers(), list[Container])}

    async def healed() -> bool:
        theirs = (await listed()).get("theirs")
        return theirs is not None and theirs.state == "running" and not theirs.stale

    async def lost() -> bool:
        theirs = (await listed()).get("theirs")
        return theirs is None or (theirs.state == "unknown" and theirs.stale)

    try:
        if trouble == "hangs":
            await until(healed)
            daemon.pause()
        elif trouble == "killed":
            await until(healed)
            daemon.kill()
        await until(lost)
        made = await client.call(protocol.CreateContainer(ContainerSpec("ours", command=("sleep", "1000")), "ann"), Container)
        assert made.state == "running"
        assert (await client.call(protocol.StopContainer(made.id, 1.0), Container)).state == "exited"
        host = await client.call(protocol.ReadHost(), dict)
        assert {one["name"]: one["available"] for one in host["engines"]} == {"raw": True, "docker": False}
        with pytest.raises(EngineUnavailable):
            await client.call(protocol.CreateContainer(docker_spec("no"), "ann"), Container)
        with pytest.raises(Unsupported):
            await client.call(protocol.CreateVolume("raw", "no-volume", "ann"), dict)
        with pytest.raises(Unsupported):
            await client.call(protocol.CreateVolume("elsewhere", "no-volume", "ann"), dict)
        assert await client.call(protocol.ListVolumes(), list) == []
        if trouble == "killed":
            daemon.restart()
        else:
            daemon.resume()
        await until(healed)
        assert "ours" in await listed()
    finally:
        if not daemon.pid:
            daemon.start()
        daemon.resume()
        client.close()
        await site.close()
