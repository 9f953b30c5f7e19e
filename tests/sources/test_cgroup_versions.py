"""Each row of the table "Cgroups v1 vs v2" ("Container isolation") as this host has it, through the API.

A host may have both: each controller is looked at where it is mounted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from containers_app.kernel.cgroups import values
from tests.engines.conftest import wait_until

from .conftest import Json, Lab

MEGABYTE = 1 << 20
UNLIMITED_V1 = 0x7FFFFFFFFFFFF000


@pytest.fixture
def host(lab: Lab) -> Json:
    found: Json = lab.get("host")
    return found


def mounted() -> dict[str, str]:
    """Mount point → cgroup | cgroup2, in the kernel's own word."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return {words[1]: words[2] for words in map(str.split, lines) if words[2] in ("cgroup", "cgroup2")}


def kernel_file(box: Json, controller: str, *names: str) -> str:
    """The first of these files that is there: the one of v1 or of v2."""
    paths = [Path(box["cgroups"][controller], name) for name in names]
    return next(path for path in paths if path.exists()).read_text().strip()


def change(lab: Lab, box: Json, **limits: object) -> dict[str, Any]:
    answer = lab.client.patch(f"containers/{box['id']}/limits", json=limits)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_hierarchy_and_controllers(lab: Lab, host: Json) -> None:
    """Multiple hierarchies with a mount point each, or one with all in one place."""
    box = lab.create("placed")
    kinds = {directory: mounted()[directory] for directory in host["controllers"].values()}
    of_no_use = {"devices"} if host["cgroups"] == "v1" else {"devices", "freezer", "cpuacct"}  # nothing is limited there
    for controller in set(host["controllers"]) - of_no_use:
        directory = host["controllers"][controller]
        assert box["cgroups"][controller].startswith(directory + "/terrarium-")
        if kinds[directory] == "cgroup2":
            assert controller in Path(directory, "cgroup.controllers").read_text().split()
            assert box["cgroups"][controller] == box["cgroups"][""]
    if set(kinds.values()) == {"cgroup2"}:
        assert len(set(box["cgroups"].values())) == 1
    else:
        assert len(set(box["cgroups"].values())) > 1


def test_default(host: Json) -> None:
    """Which one a host has is told, and nobody is asked."""
    assert host["cgroups"] == {("cgroup",): "v1", ("cgroup2",): "v2"}.get(tuple(sorted(set(mounted().values()))), "hybrid")


def test_cpu(lab: Lab) -> None:
    """cpu, cpuacct and cpuset of their own, or one cpu controller: the same three names here."""
    box = lab.create("counted", command=["sh", "-c", "while :; do :; done"])
    change(lab, box, cpu=0.5, cpu_weight=50, cpuset="0")
    assert kernel_file(box, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert kernel_file(box, "cpu", "cpu.shares", "cpu.weight") in (str(values.shares(50)), "50")
    assert kernel_file(box, "cpuset", "cpuset.cpus") == "0"
    accounted = "cpuacct" if "cpuacct" in box["cgroups"] else ""
    first = kernel_file(box, accounted, "cpuacct.usage", "cpu.stat")
    wait_until(lambda: kernel_file(box, accounted, "cpuacct.usage", "cpu.stat") != first)


def test_memory_and_swap(lab: Lab, host: Json) -> None:
    """Swap of its own in v2; in v1 the kernel knows the sum of both, and the panel's two limits stay two."""
    if host["limits"]["swap"]["locked"]:
        pytest.skip(host["limits"]["swap"]["locked"])
    box = lab.create("swapped")
    change(lab, box, memory="64M", swap="16M")
    assert int(kernel_file(box, "memory", "memory.limit_in_bytes", "memory.max")) == 64 * MEGABYTE
    both = int(kernel_file(box, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"))
    assert both == (16 if "memory.swap.max" in files_of(box, "memory") else 80) * MEGABYTE
    assert change(lab, box, memory="32M")["swap"]["kernel"] == 16 * MEGABYTE


def files_of(box: Json, controller: str) -> set[str]:
    return {path.name for path in Path(box["cgroups"][controller]).iterdir()}


def test_io(lab: Lab, host: Json) -> None:
    """The blkio controller or the io controller."""
    box = lab.create("throttled")
    disk = next(part for part in host["limits"]["io_read_bytes"]["parts"] if not part.startswith("loop"))
    change(lab, box, io_read_bytes={disk: 4 * MEGABYTE}, io_write_ops={disk: 100})
    number = Path(f"/sys/class/block/{disk}/dev").read_text().strip()
    if "io" in box["cgroups"]:
        assert f"{number} rbps={4 * MEGABYTE} wbps=max riops=max wiops=100" in kernel_file(box, "io", "io.max")
    else:
        assert kernel_file(box, "blkio", "blkio.throttle.read_bps_device") == f"{number} {4 * MEGABYTE}"
        assert kernel_file(box, "blkio", "blkio.throttle.write_iops_device") == f"{number} 100"


def test_write_interface(lab: Lab) -> None:
    """-1, a huge number, an empty file or "max": "no limit" is null here, whatever the file calls it."""
    box = lab.create("freed", limits={"cpu": 0.5, "memory": "64M", "pids": 50})
    cleared = change(lab, box, cpu=None, memory=None, pids=None)
    assert [cleared[name]["kernel"] for name in ("cpu", "memory", "pids")] == [None] * 3
    assert kernel_file(box, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] in ("-1", "max")
    assert kernel_file(box, "memory", "memory.limit_in_bytes", "memory.max") in (str(UNLIMITED_V1), "max")
    assert kernel_file(box, "pids", "pids.max") == "max"


def test_pressure(lab: Lab) -> None:
    """Where there is a v2 hierarchy and the kernel counts it; unknown elsewhere, never 0."""
    box = lab.create("pressed", command=["sh", "-c", "while :; do :; done"], limits={"cpu": 0.1})
    events = lab.get(f"containers/{box['id']}/limits/events")
    for resource in ("cpu", "memory", "io"):
        counted = "" in box["cgroups"] and Path(box["cgroups"][""], f"{resource}.pressure").exists()
        assert (events[f"{resource}_pressure"] is not None) == counted
