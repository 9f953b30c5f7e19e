"""What only a machine with cgroup v2 alone can show: run by tests/cgroup_v2 in its guest, hence not called test_*."""

import os
import subprocess
import sys
import time
from pathlib import Path

from containers_app.engines.limit_readings import readings
from containers_app.kernel.cgroups import files
from containers_app.spec import LIMITS, NET_LIMITS
from containers_app.worker.limit_watch import LimitWatch

from .test_limits import HOG

MEGABYTE = 1 << 20


def test_this_machine_has_cgroup_v2_and_nothing_else(cgroups, group):
    assert cgroups.version == "v2"
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(cgroups.controllers)
    [directory] = set(cgroups.create(group, {}).values())
    assert os.path.exists(f"{directory}/cgroup.kill")
    assert set(cgroups.locked()) <= {"io_weight", "hugetlb"}  # those go by the machine's disks and kernel


def test_the_files_of_the_kernel_hold_what_was_asked_for(cgroups, group):
    limits = {
        "cpu": 0.25, "cpu_weight": 350, "cpuset": "0", "memory": 128 * MEGABYTE, "memory_high": 96 * MEGABYTE,
        "memory_low": 8 * MEGABYTE, "swap": 0, "pids": 20,
    }  # fmt: skip
    assert set(limits) == set(LIMITS) - set(cgroups.parts()) - set(NET_LIMITS) - {"io_weight"}  # elsewhere
    paths = cgroups.create(group, limits)
    files = {
        "cpu.max": "25000 100000", "cpu.weight": "350", "cpuset.cpus": "0", "memory.max": "134217728",
        "memory.high": "100663296", "memory.low": "8388608", "memory.swap.max": "0", "pids.max": "20",
    }  # fmt: skip
    assert {name: Path(paths[""], name).read_text().strip() for name in files} == files
    assert {name: kernel for name, (kernel, _) in cgroups.read(paths).items() if name in limits} == limits


def test_a_group_above_its_soft_memory_limit_is_slowed_and_not_killed(cgroups, group, spawn):
    paths = cgroups.create(group, {"memory_high": 24 * MEGABYTE})
    hog = spawn(sys.executable, "-c", HOG, str(64 * MEGABYTE), paths=paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    events = Path(paths[""], "memory.events")
    deadline = time.monotonic() + 30
    while "high 0\n" in events.read_text():
        assert time.monotonic() < deadline, events.read_text()
        time.sleep(0.05)
    assert hog.poll() is None
    assert cgroups.oom_kills(paths) == 0


CACHE = """
import os, sys
with open(sys.argv[1], "wb") as file:
    file.write(bytes(24 << 20))
    os.fsync(file.fileno())
print("held", flush=True)
sys.stdin.read()
"""


def test_protected_memory_stays_when_its_neighbour_is_reclaimed(cgroups, group, spawn, tmp_path):
    """Both hold 24 MB of files, and the group above them gets less and less."""
    protected = cgroups.create(group, {"memory_low": 128 * MEGABYTE})
    plain = cgroups.create(group.replace("/one", "/two"), {})
    assert cgroups.read(protected)["memory_low"] == (128 * MEGABYTE, 128 * MEGABYTE)
    for name, paths in (("one", protected), ("two", plain)):
        program = [sys.executable, "-c", CACHE, str(tmp_path / name)]
        hog = spawn(*program, paths=paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert hog.stdout.readline() == b"held\n"

    def held(paths):
        """Without shared memory: the disk below may itself lie in it."""
        stat = files.read(paths["memory"] + "/memory.stat")
        return files.number(stat, b"inactive_file ") + files.number(stat, b"active_file ")

    before, top = held(protected), os.path.dirname(plain["memory"])
    deadline = time.monotonic() + 60
    while held(plain) > 8 * MEGABYTE:
        assert time.monotonic() < deadline, (held(plain), held(protected), files.read(top + "/memory.stat"))
        files.write(top + "/memory.high", str(files.size(top + "/memory.current") - 2 * MEGABYTE))
    assert held(protected) > before * 0.9


OUTSIDE = {  # limit → what somebody writes into its file, and what it reads as then
    "cpu": ("cpu.max", "10000 100000", 0.1), "cpu_weight": ("cpu.weight", "77", 77), "cpuset": ("cpuset.cpus", "1", "1"),
    "memory": ("memory.max", "67108864", 64 * MEGABYTE), "memory_high": ("memory.high", "33554432", 32 * MEGABYTE),
    "memory_low": ("memory.low", "4194304", 4 * MEGABYTE), "swap": ("memory.swap.max", "max", None),
    "pids": ("pids.max", "10", 10),
}  # fmt: skip


async def test_each_limit_that_somebody_else_changes_is_seen_as_drift_and_put_back(cgroups, group):
    limits = {
        "cpu": 0.25, "cpu_weight": 350, "cpuset": "0", "memory": 128 * MEGABYTE, "memory_high": 96 * MEGABYTE,
        "memory_low": 8 * MEGABYTE, "swap": 0, "pids": 20,
    }  # fmt: skip
    paths = cgroups.create(group, limits)
    noticed: list[str] = []
    watch = LimitWatch(cgroups, noticed.append)
    watch.track("one", paths)
    await watch.look()
    assert not any(reading.drift for reading in readings(limits, paths, cgroups).values())
    for name, (file, text, value) in OUTSIDE.items():
        noticed.clear()
        Path(paths[""], file).write_text(text)
        await watch.look()
        found = readings(limits, paths, cgroups)
        assert (noticed, [one for one, reading in found.items() if reading.drift]) == (["one"], [name])
        assert (found[name].requested, found[name].kernel) == (limits[name], value)
        cgroups.update(paths, {name: limits[name]})
        assert not any(reading.drift for reading in readings(limits, paths, cgroups).values())
        await watch.look()
