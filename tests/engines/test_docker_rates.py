"""Network rates of Docker's containers: real traffic over the host's end of their veths, kept over a restart, gone with them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.engines.docker_rates import DockerRates, Values, remove_rates
from containers_app.errors import KernelRefused, Unsupported
from containers_app.kernel import cgroups, peers, shaping
from containers_app.spec import Changes
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec
from tests.engines.test_raw_network import RATE, SINK, SOURCE, holds
from tests.flow import flow
from tests.kernel.netns import run

TAG = "d0c4e7"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path


async def opened(daemon: Dockerd, data: Path) -> DockerEngine:
    engine = DockerEngine("docker", daemon.url, "test", cgroups.choose(), f"{data}/state/docker_limits.json", "", TAG)
    await engine.open(lambda _: None)
    return engine


async def closed(engine: DockerEngine) -> None:
    for container in engine.all():
        await engine.remove(container.id, True)
    await engine.close()


@pytest.fixture
async def docker(daemon: Dockerd, data: Path) -> AsyncIterator[DockerEngine]:
    engine = await opened(daemon, data)
    yield engine
    await closed(engine)


@pytest.fixture(autouse=True)
def leaves_no_device() -> Iterator[None]:
    yield
    assert ifbs() == 0


def ifbs() -> int:
    return run("ip", "-br", "link", "show", "type", "ifb").stdout.count(f"tr{TAG}-i")


def kernel(engine: DockerEngine, name: str = "web") -> tuple[Any, Any]:
    found = engine.read_limits(name)
    return found["net_in"].kernel, found["net_out"].kernel


@pytest.mark.parametrize(("name", "command"), [("net_in", SINK), ("net_out", SOURCE)])
async def test_a_rate_holds_a_flow_and_is_changed_and_cleared_live(docker: DockerEngine, name: str, command: list[str]) -> None:
    made = await docker.create(docker_spec("web", command=command, limits={name: RATE}), "ann")
    reading = docker.read_limits("web")[name]
    assert (reading.requested, reading.kernel, reading.effective, reading.locked) == (RATE, RATE, RATE, "")
    await holds(made.addresses[0], RATE, to_sandbox=name == "net_in")
    assert (await docker.update_limits("web", {name: 3 * RATE, "pids": 40}))[name].kernel == 3 * RATE
    await holds(made.addresses[0], 3 * RATE, to_sandbox=name == "net_in")
    readings = await docker.update_limits("web", {name: None})
    assert readings[name].kernel is None and readings["pids"].kernel == 40 and ifbs() == 0


async def test_it_is_kept_over_restarts_of_container_and_panel(daemon: Dockerd, data: Path) -> None:
    docker = await opened(daemon, data)
    await docker.create(docker_spec("web"), "ann")
    await docker.update_limits("web", {"net_in": RATE, "net_out": 2 * RATE})
    before = peers.links_to(docker.get("web").pid)
    await docker.restart("web", 0)
    assert peers.links_to(docker.get("web").pid) != before and kernel(docker) == (RATE, 2 * RATE) and ifbs() == 1
    await docker.stop("web", 0)
    assert ifbs() == 0
    readings = await docker.update_limits("web", {"net_out": None})
    assert (readings["net_in"].requested, readings["net_in"].kernel, readings["net_out"].requested) == (RATE, None, None)
    await docker.start("web")
    assert kernel(docker) == (RATE, None)
    await docker.close()
    daemon.docker("restart", "-t", "0", "web")
    again = await opened(daemon, data)
    assert kernel(again) == (RATE, None)
    await closed(again)


async def test_what_is_made_not_to_keep_its_limits_has_them_in_its_first_run_only(docker: DockerEngine) -> None:
    asked = docker_spec("web", limits={"net_in": RATE, "pids": 40}, keep_limits=False, start=False)
    made = await docker.create(asked, "ann")
    assert not made.keep_limits and docker.read_limits("web")["net_in"].requested == RATE
    await docker.start("web")
    assert kernel(docker) == (RATE, None)
    await docker.update_limits("web", {"net_out": RATE})
    await docker.restart("web", 0)
    assert kernel(docker) == (None, None) and docker.read_limits("web")["pids"].kernel == 40
    await docker.update("web", Changes(keep_limits=True))
    await docker.update_limits("web", {"net_in": RATE})
    await docker.restart("web", 0)
    assert docker.get("web").keep_limits and kernel(docker) == (RATE, None)


async def test_looks_at_the_same_time_all_see_what_the_first_has_set(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web"), "ann")
    begin = threading.Barrier(4)

    def look(rates: DockerRates) -> Values:
        begin.wait()
        return rates.look(made.id, 1, made.pid, {}, {"net_out": RATE})

    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            rates = DockerRates(TAG)
            assert list(threads.map(look, [rates] * 4)) == [{"net_in": None, "net_out": RATE}] * 4
            assert ifbs() == 1
            rates.change(made.id, {"net_out": None})


async def test_a_look_that_comes_late_with_the_pid_of_an_earlier_run_leaves_it(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web", limits={"net_out": RATE}), "ann")
    rates, late, pid = docker._list.rates, docker._list.turns.number(), docker.get("web").pid
    await docker.restart("web", 0)
    assert rates.look(docker.get("web").id, late, pid, {}, {}) == {"net_in": None, "net_out": RATE}
    assert kernel(docker) == (None, RATE) and ifbs() == 1


async def test_a_look_that_ends_after_the_removal_touches_nobody_elses_link(docker: DockerEngine) -> None:
    gone = await docker.create(docker_spec("web"), "ann")
    other = await docker.create(docker_spec("other"), "ann")
    rates, late = docker._list.rates, docker._list.turns.number()
    await docker.remove("web", True)
    rates.look(gone.id, late, other.pid, {}, {"net_out": RATE})  # its pid is another's by now
    assert kernel(docker, "other") == (None, None) and ifbs() == 0


async def test_it_holds_on_a_network_that_is_connected_later(docker: DockerEngine, daemon: Dockerd) -> None:
    await docker.create(docker_spec("web"), "ann")
    await docker.update_limits("web", {"net_in": RATE, "net_out": RATE})
    daemon.docker("network", "create", "--subnet", "10.231.9.0/24", "later")
    try:
        await docker.network_store.connect("later", docker.get("web").id)
        await docker._list.look(docker.get("web").id)
        assert kernel(docker) == (RATE, RATE) and ifbs() == len(peers.links_to(docker.get("web").pid)) == 2
        await docker.network_store.disconnect("later", docker.get("web").id)
        await docker._list.look(docker.get("web").id)
        assert kernel(docker) == (RATE, RATE) and ifbs() == 1
    finally:
        await docker.remove("web", True)
        daemon.docker("network", "rm", "later")


@pytest.mark.parametrize(("net", "why"), [("none", "no network"), ("host", "host's own"), ("container", "another container's")])
async def test_without_a_link_of_its_own_it_is_locked_and_says_why(docker: DockerEngine, net: str, why: str) -> None:
    if net == "container":
        net = f"container:{(await docker.create(docker_spec('other'), 'ann')).id}"
    await docker.create(docker_spec("web", namespaces={"net": net}), "ann")
    assert why in docker.read_limits("web")["net_in"].locked and kernel(docker) == (None, None)
    with pytest.raises(Unsupported, match=why):
        await docker.update_limits("web", {"net_in": RATE})


async def test_what_is_refused_beside_it_leaves_it_as_it_was(docker: DockerEngine) -> None:
    hog = ["sh", "-c", "dd if=/dev/zero of=/hold/x bs=1M count=48 2>/dev/null; touch /done; sleep 1000"]
    mounts = [{"type": "tmpfs", "target": "/hold"}]
    await docker.create(docker_spec("web", command=hog, mounts=mounts, limits={"memory": "96M", "swap": 0}), "ann")
    wait = "while [ ! -e /done ]; do sleep 0.05; done"
    assert (await docker.execute("web", ("sh", "-c", wait), 20)).exit_code == 0
    await docker.update_limits("web", {"net_in": RATE})
    with pytest.raises(KernelRefused):
        await docker.update_limits("web", {"net_in": 5 * RATE, "net_out": RATE, "memory": 16 << 20})
    assert kernel(docker) == (RATE, None) and ifbs() == 0


async def test_when_the_panel_leaves_the_host_traffic_flows_freely_again(
    docker: DockerEngine, daemon: Dockerd, data: Path
) -> None:
    made = await docker.create(docker_spec("web", command=SOURCE, limits={"net_in": RATE, "net_out": RATE}), "ann")
    remove_rates(TAG, str(data))
    link = peers.links_to(made.pid)[0]
    assert shaping.read_rates(TAG, link) == {"net_in": None, "net_out": None} and ifbs() == 0
    async with asyncio.timeout(60):
        while await asyncio.to_thread(flow, made.addresses[0], to_sandbox=False) <= 5 * RATE:
            continue  # the machine is too busy for that at the moment


async def test_disks_are_in_the_record_and_in_the_command(docker: DockerEngine, daemon: Dockerd) -> None:
    parts = cgroups.choose().parts()
    assert parts["io_read_bytes"], "this host has no disk"
    disk = parts["io_read_bytes"][0]
    limits: dict[str, object] = {"io_read_bytes": {disk: "4M"}, "io_write_ops": {disk: 100}}
    made = docker_spec("web", limits=limits)
    words = docker.preview(made)[0]
    assert f"--device-read-bps /dev/{disk}:{4 << 20}" in words and f"--device-write-iops /dev/{disk}:100" in words
    await docker.create(made, "ann")
    host = json.loads(daemon.docker("inspect", "web"))[0]["HostConfig"]
    assert host["BlkioDeviceReadBps"] == [{"Path": f"/dev/{disk}", "Rate": 4 << 20}]
    assert host["BlkioDeviceWriteIOps"] == [{"Path": f"/dev/{disk}", "Rate": 100}]
    assert docker.read_limits("web")["io_read_bytes"].kernel == {disk: 4 << 20}
    assert docker.read_limits("web")["io_read_bytes"].requested == {disk: 4 << 20}
