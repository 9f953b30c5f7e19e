"""Limits of Docker containers: the kernel has them, Docker's record has them, and clearing works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.engines.docker_limits import as_put, not_kept, requested
from containers_app.errors import InvalidInput, KernelRefused, NotFound, Unsupported
from containers_app.kernel.cgroups import values
from containers_app.spec import Changes, LimitReading, parse_limits
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec

ALL = {"cpu": 0.25, "cpu_weight": 300, "cpuset": "0", "memory": "96M", "memory_low": "48M", "swap": "32M", "pids": 40}


def settable(docker: DockerEngine, asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parse_limits(asked).items() if name not in docker._cgroups.locked()}


def kernel(docker: DockerEngine, name: str = "web") -> dict[str, Any]:
    return {limit: reading.kernel for limit, reading in docker.read_limits(name).items()}


def record(daemon: Dockerd, name: str = "web") -> Any:
    return json.loads(daemon.docker("inspect", name))[0]["HostConfig"]


async def test_each_limit_is_set_live_and_recorded(docker: DockerEngine, daemon: Dockerd) -> None:
    await docker.create(docker_spec("web", limits={"memory": "32M"}), "ann")
    for name, value in settable(docker, ALL).items():
        readings = await docker.update_limits("web", {name: value})
        assert (readings[name].requested, readings[name].kernel) == (value, value), name
    wanted = settable(docker, ALL)
    assert {name: value for name, value in kernel(docker).items() if name in wanted} == wanted
    found = record(daemon)
    assert (found["NanoCpus"], found["Memory"], found["PidsLimit"], found["CpusetCpus"]) == (250_000_000, 96 << 20, 40, "0")
    await docker.restart("web", 0)
    assert {name: value for name, value in kernel(docker).items() if name in wanted} == wanted


async def test_all_at_once_and_cleared_again_for_good(docker: DockerEngine, daemon: Dockerd) -> None:
    await docker.create(docker_spec("web"), "ann")
    none = kernel(docker)
    wanted = settable(docker, ALL)
    await docker.update_limits("web", wanted)
    readings = await docker.update_limits("web", dict.fromkeys(wanted))
    assert kernel(docker) == none and all(reading.requested is None for reading in readings.values())
    await docker.restart("web", 0)
    assert kernel(docker) == none and all(reading.requested is None for reading in docker.read_limits("web").values())
    await docker.update_limits("web", wanted)
    await docker.restart("web", 0)
    assert {name: value for name, value in kernel(docker).items() if name in wanted} == wanted
    assert record(daemon)["Memory"] == 96 << 20


async def test_a_limit_of_docker_run_is_cleared_too(docker: DockerEngine, daemon: Dockerd) -> None:
    flags = "--memory 64m --cpu-quota 50000 --cpu-period 100000 --cpuset-cpus 0"
    container_id = daemon.docker("run", "-d", "--name", "web", *flags.split(), "busybox", "sleep", "1000")
    await docker._list.look(container_id)
    readings = docker.read_limits("web")
    assert (readings["cpu"].requested, readings["memory"].requested, readings["swap"].requested) == (0.5, 64 << 20, 64 << 20)
    await docker.update_limits("web", {"cpu": None, "memory": None, "swap": None, "cpuset": None})
    assert (kernel(docker)["cpu"], kernel(docker)["memory"]) == (None, None)
    await docker.update_limits("web", {"cpu": 0.3})
    assert kernel(docker)["cpu"] == 0.3 and record(daemon)["CpuQuota"] == 30000


async def test_clearing_memory_alone_clears_the_swap_limit_that_docker_set_beside_it(
    docker: DockerEngine, daemon: Dockerd
) -> None:
    await docker.create(docker_spec("web", limits={"memory": "64M"}), "ann")
    assert docker.read_limits("web")["swap"].requested == kernel(docker)["swap"] == 64 << 20
    readings = await docker.update_limits("web", {"memory": None})
    for name in ("memory", "swap"):
        assert (readings[name].requested, readings[name].kernel, readings[name].drift) == (None, None, False), name
    assert record(daemon)["MemorySwap"] == -1
    await docker.restart("web", 0)
    assert not any(reading.drift for reading in docker.read_limits("web").values())
    assert (kernel(docker)["memory"], kernel(docker)["swap"]) == (None, None)


async def test_a_swap_limit_that_was_asked_for_stands_in_the_way_of_clearing_memory_alone(
    docker: DockerEngine, daemon: Dockerd
) -> None:
    await docker.create(docker_spec("web", limits={"memory": "64M", "swap": "16M"}), "ann")
    assert (kernel(docker)["swap"], record(daemon)["MemorySwap"]) == (16 << 20, 80 << 20)
    before, recorded = kernel(docker), record(daemon)
    with pytest.raises(InvalidInput, match="together with memory"):
        await docker.update_limits("web", {"memory": None})
    assert kernel(docker) == before and record(daemon) == recorded
    readings = await docker.update_limits("web", {"memory": None, "swap": None})
    assert (readings["memory"].kernel, readings["swap"].kernel) == (None, None)


async def test_what_dockers_record_cannot_say_comes_back_only_where_it_is_to(docker: DockerEngine, daemon: Dockerd) -> None:
    made = await docker.create(docker_spec("web", limits={"memory": "64M"}), "ann")
    disk = docker.read_limits("web")["io_read_bytes"].parts[0]
    asked = {"io_read_bytes": {disk: 1 << 20}, "pids": 40}

    async def restarted() -> tuple[Any, Any]:
        daemon.docker("restart", "-t", "0", "web")
        await docker._list.look(made.id)
        readings = docker.read_limits("web")
        assert not any(reading.drift for reading in readings.values())
        assert readings["pids"].kernel == 40  # Docker's record says it
        return readings["io_read_bytes"].requested, readings["io_read_bytes"].kernel

    await docker.update_limits("web", asked)
    assert await restarted() == ({disk: 1 << 20}, {disk: 1 << 20})
    await docker.update("web", Changes(keep_limits=False))
    assert not docker.get("web").keep_limits and kernel(docker)["io_read_bytes"] == {disk: 1 << 20}
    assert await restarted() == (None, None)
    await docker.update("web", Changes(keep_limits=True))
    await docker.update_limits("web", asked)
    assert docker.get("web").keep_limits and await restarted() == ({disk: 1 << 20}, {disk: 1 << 20})


async def test_what_is_asked_of_one_that_does_not_run_is_there_at_its_next_start_and_no_later(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web", start=False), "ann")
    disk = docker.read_limits("web")["io_read_bytes"].parts[0]
    await docker.update("web", Changes(keep_limits=False))
    await docker.update_limits("web", {"io_read_bytes": {disk: 1 << 20}})
    await docker.start("web")
    assert kernel(docker)["io_read_bytes"] == {disk: 1 << 20}
    await docker.restart("web", 0)
    assert kernel(docker)["io_read_bytes"] is None


async def test_memory_moves_up_and_down_and_swap_stays(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web", limits={"memory": "64M"}), "ann")
    swap = kernel(docker)["swap"]
    for size in (256 << 20, 32 << 20, 128 << 20):
        await docker.update_limits("web", {"memory": size})
        assert (kernel(docker)["memory"], kernel(docker)["swap"]) == (size, swap)


async def test_memory_below_its_use_is_refused_whole(docker: DockerEngine, daemon: Dockerd) -> None:
    hog = "dd if=/dev/zero of=/hold/x bs=1M count=48 2>/dev/null; sleep 1000"
    mounts = [{"type": "tmpfs", "target": "/hold"}]
    await docker.create(
        docker_spec("web", command=["sh", "-c", hog], mounts=mounts, limits={"memory": "96M", "pids": 30, "swap": 0}), "ann"
    )
    result = await docker.execute("web", ("sh", "-c", "while [ $(stat -c %s /hold/x) -lt 50331648 ]; do sleep 0.1; done"), 10)
    assert result.exit_code == 0
    before, recorded = kernel(docker), record(daemon)
    with pytest.raises(KernelRefused):
        await docker.update_limits("web", {"pids": 20, "memory": 16 << 20})
    assert kernel(docker) == before and record(daemon) == recorded


async def test_what_docker_refuses_is_put_back(docker: DockerEngine, daemon: Dockerd) -> None:
    await docker.create(docker_spec("web", limits={"memory": "64M"}), "ann")
    before = kernel(docker)
    with pytest.raises(InvalidInput, match="6 MB"):
        await docker.update_limits("web", {"memory": 4 << 20})
    with pytest.raises((InvalidInput, KernelRefused)):
        await docker.update_limits("web", {"pids": 10, "cpu": 1000.0})
    assert kernel(docker) == before and docker.read_limits("web")["pids"].requested is None


async def test_a_change_from_outside_is_read_back_and_not_undone_by_the_next(docker: DockerEngine, daemon: Dockerd) -> None:
    made = await docker.create(docker_spec("web", limits={"memory": "64M"}), "ann")
    docker._cgroups.update(made.cgroups, {"memory": 256 << 20})
    reading = docker.read_limits("web")["memory"]
    assert (reading.requested, reading.kernel) == (64 << 20, 256 << 20)
    await docker.update_limits("web", {"pids": 30})
    assert kernel(docker)["memory"] == 256 << 20 and kernel(docker)["pids"] == 30
    daemon.docker("update", "--memory", "96m", "--memory-swap", "128m", "web")
    await docker._list.look(made.id)
    reading = docker.read_limits("web")["memory"]
    assert (reading.requested, reading.kernel) == (96 << 20, 96 << 20)


async def test_one_that_does_not_run_has_them_from_its_next_start(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web", start=False), "ann")
    readings = await docker.update_limits("web", {"memory": 64 << 20, "pids": 30})
    assert (readings["memory"].requested, readings["memory"].kernel) == (64 << 20, None)
    await docker.start("web")
    assert (kernel(docker)["memory"], kernel(docker)["pids"]) == (64 << 20, 30)


async def test_what_this_host_cannot_limit_is_unsupported_and_an_unknown_container_not_found(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web", start=False), "ann")
    for name in docker._cgroups.locked():
        with pytest.raises(Unsupported):
            await docker.update_limits("web", {name: 64 << 20})
    with pytest.raises(NotFound):
        await docker.update_limits("nothing", {"pids": 1})


def test_what_others_gave_a_container_is_read_in_the_kernels_words(tmp_path: Path) -> None:
    disk = tmp_path / "by-id"
    disk.symlink_to("/dev/vdx")
    asked = requested({"BlkioWeight": 300, "BlkioDeviceReadBps": [{"Path": str(disk), "Rate": 1000}]}, 2)
    assert asked["io_read_bytes"] == {"vdx": 1000}
    assert values.same("io_weight", asked["io_weight"], values.weight_of_bfq(300))


def test_what_an_older_runtime_makes_of_shares_is_what_others_asked_for() -> None:
    def weight(kernel: int, shares: int) -> LimitReading:
        asked = requested({"CpuShares": shares}, 2)["cpu_weight"]
        reading = LimitReading(asked, kernel, kernel, "", drift=not values.same("cpu_weight", asked, kernel))
        return as_put({"cpu_weight": reading}, {"CpuShares": shares})["cpu_weight"]

    assert values.weight_by_older_runtimes(512) == 20 and values.weight_by_older_runtimes(1024) == 39
    assert (weight(20, 512).requested, weight(20, 512).drift) == (20, False)
    assert (weight(59, 512).requested, weight(59, 512).drift) == (59, False)
    assert weight(500, 512).drift


def test_a_weight_that_a_new_start_has_made_another_one_is_put_back() -> None:
    limits = {"cpu_weight": LimitReading(200, 91, 91, ""), "pids": LimitReading(10, 10, 10, "")}
    assert not_kept(limits, {"cpu_weight": 200, "pids": 10}, recorded=True) == {"cpu_weight": 200}


def test_swap_beside_memory_is_rounded_twice_and_still_the_same() -> None:
    fifth = int(0.2 * (1 << 30))
    both = 2 * fifth // values.PAGE - fifth // values.PAGE
    assert values.same("swap", fifth, both * values.PAGE)
    assert not values.same("swap", fifth, fifth + 2 * values.PAGE) and not values.same("memory", fifth, fifth + values.PAGE)
