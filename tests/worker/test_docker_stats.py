"""A Docker container's numbers, from its control group, against the daemon's own (`docker stats`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import docker as sdk
import pytest

from containers_app.engines.base import LogQuery
from containers_app.engines.docker import DockerEngine
from containers_app.kernel import cgroups
from containers_app.worker import metrics
from containers_app.worker.protocol import Totals
from containers_app.worker.sampler import Sampler
from tests.dockerd import Dockerd
from tests.engines.conftest import new_home, spec
from tests.engines.docker_engine import docker_spec, opened

WORK = "dd if=/dev/zero of=/file bs=1M count=4 oflag=direct; cat /file >/dev/null; for i in 1 2; do sleep 1000 & done; echo ready; sleep 1000; :"


@pytest.fixture
def daemon(dockerd: Dockerd) -> Iterator[Dockerd]:
    yield dockerd
    dockerd.remove_containers()


async def settled(engine: DockerEngine, name: str) -> None:
    async with asyncio.timeout(20):
        while "ready" not in (await engine.logs(name, LogQuery(5))).text:
            await asyncio.sleep(0.05)


def by_docker(told: dict[str, Any]) -> dict[str, float]:
    """As `docker stats` works it out: seconds, bytes, processes and threads (docker/cli, stats_helpers.go)."""
    memory, networks = told["memory_stats"], told.get("networks") or {}
    cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
    disk = told["blkio_stats"]["io_service_bytes_recursive"] or []
    return {
        "cpu": told["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        "memory": memory["usage"] - cache,
        "pids": told["pids_stats"]["current"],
        "received": sum(one["rx_bytes"] for one in networks.values()),
        "sent": sum(one["tx_bytes"] for one in networks.values()),
        "written": sum(row["value"] for row in disk if row["op"].lower() == "write"),
        "read": sum(row["value"] for row in disk if row["op"].lower() == "read"),
    }


def by_us(told: Totals) -> dict[str, float | None]:
    return {
        "cpu": told.cpu,
        "memory": told.working_set,
        "pids": told.threads or told.processes,
        "received": sum(one.received for one in told.networks),
        "sent": sum(one.sent for one in told.networks),
        "written": sum(one.written for one in told.disks),
        "read": sum(one.read for one in told.disks),
    }


async def test_they_agree_with_docker_stats_to_rounding(daemon: Dockerd) -> None:
    """Read between two answers of the daemon: where those are the same nothing can differ."""
    api, groups = sdk.APIClient(daemon.url), cgroups.choose()

    def ask() -> dict[str, float]:
        return by_docker(api.stats("web", stream=False, one_shot=True))

    async with opened(daemon.url) as (engine, _):
        await engine.create(docker_spec("web", command=["sh", "-c", WORK]), "")
        await settled(engine, "web")
        compared: set[str] = set()
        async with asyncio.timeout(20):
            while compared < {"cpu", "memory", "pids", "received", "sent", "written", "read"}:
                before = ask()
                ours = by_us({one.name: one for one in metrics.read(engine.all(), groups).groups}["web"])
                after = ask()
                same = {name for name, value in before.items() if after[name] == value}
                assert {name: ours[name] for name in same} == pytest.approx({name: before[name] for name in same}, rel=1e-9)
                compared |= same
                await asyncio.sleep(0.1)
    assert ours["memory"] and ours["cpu"] and ours["written"] and ours["written"] >= 4 << 20 and ours["pids"] == 4


async def test_a_network_that_containers_of_both_engines_share_is_counted_once(daemon: Dockerd) -> None:
    groups = cgroups.choose()
    with new_home() as home:
        async with opened(daemon.url) as (docker, _):
            raw = home.engine()
            raw._joiner._resolve = lambda wanted: docker.get(wanted).pid
            await raw.open(lambda _: None)
            try:
                await docker.create(docker_spec("web"), "")
                await docker.create(docker_spec("side", namespaces={"net": "container:web"}), "")
                box = await raw.create(spec("box", namespaces={"net": "container:web"}), "")
                everybody = [*raw.all(), *docker.all()]
                told = {one.name: one.networks for one in metrics.read(everybody, groups).groups}
                assert "eth0" in {one.interface for one in told["web"]} and told["side"] == told["box"] == ()
                sampler = Sampler(groups)
                try:
                    for one in everybody:
                        sampler.track(one.id, one.cgroups, one.pid)
                    sampler.sample()
                    await asyncio.sleep(0.05)
                    rows = sampler.sample().rows
                    counted = [one.id for one in everybody if rows[one.id].net_in is not None]
                    assert len(counted) == 1
                    sampler.forget(counted[0])  # what shared it goes on counting it
                    sampler.sample()
                    await asyncio.sleep(0.05)
                    assert sum(row.net_in is not None for row in sampler.sample().rows.values()) == 1
                finally:
                    sampler.close()
                await raw.remove(box.id, force=True)
            finally:
                await raw.close()
