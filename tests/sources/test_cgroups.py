"""cgroup-manager.sh ("Container isolation"), the cgroups lab and the table of Docker's resource flags, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Lab

MEGABYTE = 1 << 20


@pytest.fixture
def team(lab: Lab) -> Iterator[str]:
    """create: a group with the script's default limits."""
    limits = {"cpu": 0.5, "memory": "100M", "pids": 100, "cpu_weight": 100}
    answer = lab.client.post("groups", json={"name": "managed", "limits": limits})
    assert answer.status_code == 201, answer.text
    yield "managed"
    lab.remove()
    assert lab.client.delete("groups/managed").status_code in (204, 404)


def test_cgroup_manager_create_limits_run_monitor_and_cleanup(lab: Lab, team: str) -> None:
    box = lab.create("worker-1", group=team)
    assert lab.get(f"containers/{box['id']}/limits")["memory"]["effective"] == 100 * MEGABYTE
    disk = lab.get(f"groups/{team}/limits")["io_write_bytes"]["parts"][0]
    changes = {"cpu": 0.25, "memory": "64M", "pids": 50, "io_write_bytes": {disk: 1048576}}
    changed = lab.client.patch(f"groups/{team}/limits", json=changes)
    assert changed.status_code == 200, changed.text
    kernel = {name: changed.json()[name]["kernel"] for name in changes}
    assert kernel == {"cpu": 0.25, "memory": 64 * MEGABYTE, "pids": 50, "io_write_bytes": {disk: 1048576}}
    assert lab.get(f"containers/{box['id']}/limits")["io_write_bytes"]["effective"] == {disk: 1048576}
    usage = lab.get(f"groups/{team}")["usage"]
    assert usage["cpu"] >= 0 and usage["memory"] > 0 and usage["pids"] >= 1
    refused = lab.client.delete(f"groups/{team}")
    assert refused.status_code == 409  # rmdir of a cgroup in use
    lab.remove()
    assert lab.client.delete(f"groups/{team}").status_code == 204
    assert not any(Path(path).parent.exists() for path in box["cgroups"].values())


def test_the_lab_halves_a_core_and_the_kernel_files_say_so(lab: Lab) -> None:
    """cpu.cfs_quota_us 50000 of cpu.cfs_period_us 100000, or cpu.max where that is what there is."""
    box = lab.create("half", limits={"cpu": 0.5})
    group = Path(box["cgroups"]["cpu"])
    if (group / "cpu.max").exists():
        assert (group / "cpu.max").read_text() == "50000 100000\n"
    else:
        assert [(group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")] == ["50000\n", "100000\n"]
    assert str(box["pid"]) in (group / "cgroup.procs").read_text().split()


@pytest.mark.parametrize(
    ("limits", "flag", "recorded"),
    [
        ({"cpu": 0.5}, "NanoCpus", 500_000_000),
        ({"cpu_weight": 100}, "CpuShares", 1024),
        ({"cpuset": "0"}, "CpusetCpus", "0"),
        ({"memory": "64M"}, "Memory", 64 * MEGABYTE),
        ({"memory_low": "32M"}, "MemoryReservation", 32 * MEGABYTE),
        ({"pids": 30}, "PidsLimit", 30),
        ({"io_read_bytes": "4M"}, "BlkioDeviceReadBps", 4 * MEGABYTE),
        ({"io_write_bytes": "4M"}, "BlkioDeviceWriteBps", 4 * MEGABYTE),
        ({"io_read_ops": 100}, "BlkioDeviceReadIOps", 100),
        ({"io_write_ops": 100}, "BlkioDeviceWriteIOps", 100),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_of_dockers_resource_flags(lab: Lab, dockerd, limits, flag, recorded) -> None:
    """--cpus, --cpu-shares, --cpuset-cpus, --memory, --memory-reservation, --pids-limit, --device-…-bps and -iops."""
    box = lab.docker("flagged", limits=limits)
    told = dockerd.docker("inspect", "--format", f"{{{{json .HostConfig.{flag}}}}}", box["id"])
    assert str(recorded) in told
    [name] = limits
    reading = lab.get(f"containers/{box['id']}/limits")[name]
    assert reading["kernel"] == reading["requested"] and not reading["drift"]
