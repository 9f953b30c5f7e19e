"""That the kernel really holds a group to its limits, whichever version of control groups it has."""

import os
import subprocess
import time

import pytest

from containers_app.kernel.cgroups import values
from tests.groups import cpu_and_periods, share

BURN = "echo; while :; do :; done"


def burner(spawn, paths):
    process = spawn("sh", "-c", BURN, paths=paths, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


@pytest.mark.parametrize("cores", [0.2, 0.5])
def test_a_program_that_never_rests_gets_its_share_of_a_cpu(cgroups, group, spawn, cores):
    paths = cgroups.create(group, {"cpu": cores})
    burner(spawn, paths)
    assert share(cgroups, paths, cores) == pytest.approx(cores, rel=0.1)


def test_a_program_gets_more_as_soon_as_its_share_is_raised(cgroups, group, spawn):
    paths = cgroups.create(group, {"cpu": 0.1})
    burner(spawn, paths)
    cgroups.update(paths, {"cpu": 0.4})
    assert share(cgroups, paths, 0.4) == pytest.approx(0.4, rel=0.1)


def test_a_contended_cpu_is_shared_by_weight(cgroups, group, spawn):
    light = cgroups.create(group, {"cpu_weight": 100, "cpuset": "0"})
    heavy = cgroups.create(group.replace("/one", "/two"), {"cpu_weight": 300, "cpuset": "0"})
    for paths in (light, heavy):
        burner(spawn, paths)
    begun = [cpu_and_periods(cgroups, paths)[0] for paths in (light, heavy)]
    while cpu_and_periods(cgroups, light)[0] < begun[0] + 0.6:
        time.sleep(0.02)
    used = [cpu_and_periods(cgroups, paths)[0] - before for paths, before in zip((light, heavy), begun, strict=True)]
    wanted = 3 if cgroups.version == "v2" else values.shares(300) / values.shares(100)  # v1's formula is no straight line
    assert used[1] / used[0] == pytest.approx(wanted, rel=0.15)


def test_a_program_runs_on_its_cpus_alone_and_moves_with_them(cgroups, group, spawn):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("This machine has one CPU.")
    paths = cgroups.create(group, {"cpuset": "1"})
    program = burner(spawn, paths)
    assert os.sched_getaffinity(program.pid) == {1}
    cgroups.update(paths, {"cpuset": "0"})
    assert os.sched_getaffinity(program.pid) == {0}
    cgroups.update(paths, {"cpuset": None})
    assert os.sched_getaffinity(program.pid) >= {0, 1}


def test_a_group_that_forks_stays_within_its_number_and_is_killed_whole(cgroups, group, spawn):
    paths = cgroups.create(group, {"pids": 12})
    forker = spawn("sh", "-c", "while sleep 60 & do :; done", paths=paths, stderr=subprocess.DEVNULL)
    assert forker.wait(20) != 0  # refused the thirteenth
    assert 1 < len(cgroups.pids(paths)) <= 12
    cgroups.kill(paths)
    cgroups.remove(paths)
    assert not cgroups.populated(paths)
