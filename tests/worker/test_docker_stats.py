"""A Docker container's numbers, from its control group, against the daemon's own (`docker stats`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import docker as sdk
import pytest

from containers_app.engines.base import LogQuery
from containers_app.engines.docker import DockerEngine
from containers_app.kernel import cgroups
from containers_app.worker import metrics
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec, opened

WORK = "head -c 20000000 /dev/zero > /file; cat /file >/dev/null; for i in 1 2 3; do sleep 1000 & done; echo ready; sleep 1000"


@pytest.fixture
def daemon(dockerd: Dockerd) -> Iterator[Dockerd]:
    yield dockerd
    dockerd.remove_containers()


async def settled(engine: DockerEngine, name: str) -> None:
    async with asyncio.timeout(20):
        while "ready" not in (await engine.logs(name, LogQuery(5))).text:
            await asyncio.sleep(0.05)


async def test_they_agree_and_the_network_is_counted_once(daemon: Dockerd) -> None:
    groups = cgroups.choose()
    async with opened(daemon.url) as (engine, _):
        made = await engine.create(docker_spec("web", command=["sh", "-c", WORK]), "")
        await engine.create(docker_spec("side", namespaces={"net": "container:web"}), "")
        await settled(engine, "web")
        theirs = sdk.APIClient(daemon.url).stats(made.id, stream=False, one_shot=True)
        told = {one.name: one for one in metrics.read(engine.all(), groups).groups}
        ours = told["web"]
    assert ours.cpu == pytest.approx(theirs["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, abs=0.02)
    memory = theirs["memory_stats"]
    cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
    assert ours.working_set == pytest.approx(memory["usage"] - cache, abs=1 << 20)
    assert (ours.threads or ours.processes) == theirs["pids_stats"]["current"]
    network = {one.interface: one for one in ours.networks}["eth0"]
    assert network.received == pytest.approx(theirs["networks"]["eth0"]["rx_bytes"], abs=2000)
    assert network.sent == pytest.approx(theirs["networks"]["eth0"]["tx_bytes"], abs=2000)
    disk = theirs["blkio_stats"]["io_service_bytes_recursive"] or []
    written = sum(row["value"] for row in disk if row["op"].lower() == "write")
    assert sum(one.written for one in ours.disks) == pytest.approx(written, abs=1 << 20)
    assert told["side"].networks == (), "its network namespace is counted for the one that made it"
