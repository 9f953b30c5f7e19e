"""That the kernel really holds a group to its limits, whichever version of control groups it has."""

import os
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time. proc(5)"""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def test_a_program_that_never_rests_gets_no_more_than_its_share_of_a_cpu(cgroups, group, spawn):
    paths = cgroups.create(group, {"cpu": 0.2})
    burner = spawn("sh", "-c", "echo; while :; do :; done", paths=paths, stdout=subprocess.PIPE)
    burner.stdout.readline()
    began, used = time.monotonic(), cpu_seconds(burner.pid)
    time.sleep(1.5)
    share = (cpu_seconds(burner.pid) - used) / (time.monotonic() - began)
    assert 0 < share < 0.3


def test_a_group_that_forks_stays_within_its_number_and_is_killed_whole(cgroups, group, spawn):
    paths = cgroups.create(group, {"pids": 12})
    forker = spawn("sh", "-c", "while sleep 60 & do :; done", paths=paths, stderr=subprocess.DEVNULL)
    assert forker.wait(20) != 0  # refused the thirteenth
    assert 1 < len(cgroups.pids(paths)) <= 12
    cgroups.kill(paths)
    cgroups.remove(paths)
    assert not cgroups.populated(paths)
