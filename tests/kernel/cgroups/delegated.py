"""What only a machine can show on which systemd manages the control groups: run by tests/cgroup_v2 in its guest."""

import subprocess
from pathlib import Path

import pytest

MEGABYTE = 1 << 20


def systemctl(*words):
    subprocess.run(["systemctl", *words], check=True, timeout=120)


def test_groups_lie_below_our_unit_whose_own_group_has_no_process(cgroups, group):
    assert Path("/proc/1/comm").read_text().strip() == "systemd"
    paths = cgroups.create(group, {"pids": 5})
    unit = Path(paths[""]).parents[1]
    assert unit.parent == Path("/sys/fs/cgroup") and unit.suffix == ".scope"
    assert (unit / "cgroup.procs").read_text() == "" != (unit / "daemons/cgroup.procs").read_text()
    assert cgroups.read(paths)["pids"] == (5, 5)


@pytest.mark.parametrize("word", ["daemon-reload", "daemon-reexec"])
def test_systemd_reads_its_units_anew_and_leaves_our_groups_and_limits_alone(cgroups, group, spawn, word):
    limits = {"cpu": 0.5, "cpu_weight": 350, "cpuset": "0", "memory": 64 * MEGABYTE, "memory_low": 8 * MEGABYTE, "pids": 20}
    paths = cgroups.create(group, limits)
    process = spawn("sleep", "1000", paths=paths)
    before = cgroups.read(paths)
    systemctl(word)
    subprocess.run(["systemd-run", "--quiet", "--scope", "true"], check=True, timeout=120)  # a neighbour comes and goes
    assert cgroups.read(paths) == before
    assert {name: kernel for name, (kernel, _) in before.items() if name in limits} == limits
    assert process.pid in cgroups.pids(paths) and process.poll() is None


def test_a_tighter_limit_that_an_admin_gives_the_unit_is_the_effective_one(cgroups, group):
    paths = cgroups.create(group, {"memory": 512 * MEGABYTE})
    unit = Path(paths[""]).parents[1].name
    systemctl("set-property", "--runtime", unit, "MemoryMax=256M")
    assert cgroups.read(paths)["memory"] == (512 * MEGABYTE, 256 * MEGABYTE)
    systemctl("set-property", "--runtime", unit, "MemoryMax=infinity")
    assert cgroups.read(paths)["memory"] == (512 * MEGABYTE, 512 * MEGABYTE)
