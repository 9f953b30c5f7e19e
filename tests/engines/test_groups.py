"""A group's own control group, on whichever version of control groups this host has: what was put into it, and its limits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app.engines.groups import Groups
from containers_app.engines.policy import Policy
from containers_app.errors import Conflict
from containers_app.kernel.cgroups import Cgroups, choose
from containers_app.worker import adding

MEGABYTE = 1 << 20


@pytest.fixture
def cgroups() -> Cgroups:
    return choose()


@pytest.fixture
def groups(cgroups: Cgroups, tmp_path: Path) -> Iterator[Groups]:
    tag = f"g{os.getpid():x}"
    groups = Groups(tag, str(tmp_path), cgroups)
    groups.open()
    yield groups
    cgroups.remove(cgroups.paths(f"terrarium-{tag}"))


def member_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_a_process_of_the_host_shares_the_budget_and_goes_back_when_the_group_goes(groups: Groups, cgroups: Cgroups) -> None:
    groups.create("team", "ann", {"pids": 30, "memory": 64 * MEGABYTE})
    process = subprocess.Popen(["sleep", "1000"])
    try:
        adding.add_to_group(lambda: groups.prepare_processes("team"), [], process.pid, ("cgroup",), "", Policy(), cgroups)
        assert groups.processes("team") == [process.pid] and groups.read_usage("team").pids == 1
        assert cgroups.read(cgroups.paths_of(process.pid))["memory"] == (None, 64 * MEGABYTE)
        groups.remove("team", [])
        assert "group.team" not in member_of(process.pid) and process.poll() is None
        assert not any(map(os.path.exists, cgroups.paths(groups.place("team")).values()))
    finally:
        process.kill()
        process.wait()


def test_a_group_that_is_there_without_its_limits_gets_them_after_a_restart_of_the_host(
    groups: Groups, cgroups: Cgroups, tmp_path: Path
) -> None:
    """Docker was there first, and has made the parent of its container's control group, as the cgroup parent says."""
    groups.create("team", "ann", {"pids": 30})
    record = tmp_path / "groups" / "team.json"
    record.write_text(record.read_text().replace(Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "another"))
    cgroups.update(groups.paths("team"), {"pids": None})
    groups.open()
    assert groups.read_limits("team")["pids"].kernel == 30
    cgroups.update(groups.paths("team"), {"pids": 20})
    groups.open()
    assert groups.read_limits("team")["pids"].kernel == 20  # drift is drift: it is put back when somebody says so
    groups.remove("team", [])


def test_a_group_with_somebody_elses_control_group_in_it_stays(groups: Groups, cgroups: Cgroups) -> None:
    groups.create("team", "ann", {})
    stray = cgroups.create(f"{groups.place('team')}/0123456789ab", {})
    with pytest.raises(Conflict):
        groups.remove("team", [])
    cgroups.remove(stray)
    groups.remove("team", [])
