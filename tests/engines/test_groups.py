"""A group's own control group, on whichever version of control groups this host has: what was put into it, and its limits."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.engines.groups import Groups
from containers_app.engines.policy import Policy
from containers_app.engines.raw_removal import remove_everything
from containers_app.errors import Conflict, InvalidInput, KernelRefused, NotFound, Unsupported
from containers_app.kernel import block
from containers_app.kernel.cgroups import Cgroups, choose, files
from containers_app.worker import adding
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec

MEGABYTE = 1 << 20


@pytest.fixture
def cgroups() -> Cgroups:
    return choose()


@pytest.fixture
def groups(cgroups: Cgroups, tmp_path: Path) -> Iterator[Groups]:
    tag = f"{os.getpid() & 0xFFFFFF:06x}"
    groups = Groups(tag, str(tmp_path), cgroups)
    groups.open()
    yield groups
    cgroups.remove(cgroups.paths(f"terrarium-{tag}"))
    for root in cgroups.elsewhere:
        files.remove(f"{root}/terrarium-{tag}")


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


def test_a_limit_that_would_hold_no_member_is_locked_and_changes_nothing(groups: Groups, cgroups: Cgroups) -> None:
    locked = {"net_in", "net_out", *cgroups.unshared()}
    assert ("io_write_bytes" in locked) == (cgroups.controllers.keys() >= {"blkio"})
    disk = block.list_disks()[0]
    for limit in locked:
        with pytest.raises(InvalidInput, match="can't be set") as refused:
            groups.create("team", "ann", {limit: {disk: MEGABYTE} if limit.startswith("io_") else MEGABYTE})
        assert refused.value.code == "limit_locked" and groups.names() == []
    groups.create("team", "ann", {})
    assert locked <= {name for name, reading in groups.read_limits("team").items() if reading.locked}
    groups.remove("team", [])


def test_a_group_with_somebody_elses_control_group_in_it_stays(groups: Groups, cgroups: Cgroups) -> None:
    groups.create("team", "ann", {})
    stray = cgroups.create(f"{groups.place('team')}/0123456789ab", {})
    with pytest.raises(Conflict):
        groups.remove("team", [])
    cgroups.remove(stray)
    groups.remove("team", [])


SPOILT = {"truncated": lambda data: data[:20], "empty": lambda data: b"", "garbage": lambda data: b"\0\xff" * 40}


@pytest.mark.parametrize("how", [*SPOILT, "gone"])
def test_a_group_whose_record_is_lost_is_there_again_and_its_members_run_on(
    groups: Groups, cgroups: Cgroups, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = {"pids": 30, "memory": 64 * MEGABYTE, "cpu": 0.5}
    groups.create("team", "ann", {"pids": 20})
    groups.update_limits("team", {**asked})
    process = subprocess.Popen(["sleep", "1000"])
    try:
        adding.add_to_group(lambda: groups.prepare_processes("team"), [], process.pid, ("cgroup",), "", Policy(), cgroups)
        for path in (tmp_path / "groups").iterdir():
            path.unlink() if how == "gone" else path.write_bytes(SPOILT[how](path.read_bytes()))
        for _ in range(2):  # once lost it is told of, and then it is written
            again = Groups(groups.place("team").split("/")[0].removeprefix("terrarium-"), str(tmp_path), cgroups)
            again.open()
            assert again.names() == ["team"] and again.processes("team") == [process.pid] and process.poll() is None
            assert (again.get("team").owner, again.get("team").requested) == ("", asked)
            assert again.places() == groups.places()
        assert caplog.text.count("the record of the group team is lost") == 1
    finally:
        process.kill()
        process.wait()
    groups.remove("team", [])
    assert list((tmp_path / "groups").iterdir()) == []


@pytest.mark.parametrize("how", SPOILT)
def test_where_the_last_version_of_a_groups_record_is_spoilt_the_one_before_counts(
    groups: Groups, cgroups: Cgroups, tmp_path: Path, how: str
) -> None:
    groups.create("team", "ann", {"pids": 30})
    groups.update_limits("team", {"memory": 64 * MEGABYTE})
    record = tmp_path / "groups" / "team.json"
    record.write_bytes(SPOILT[how](record.read_bytes()))
    groups.open()
    assert (groups.get("team").owner, groups.get("team").requested) == ("ann", {"pids": 30})
    assert groups.read_limits("team")["memory"].drift  # what was asked for last is seen as what it is: unknown
    groups.remove("team", [])


def test_on_a_full_disk_a_group_is_refused_in_words_and_nothing_has_changed(
    groups: Groups, cgroups: Cgroups, tmp_path: Path
) -> None:
    place = tmp_path / "groups"
    groups.create("team", "ann", {"pids": 30})
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True)
    try:
        with pytest.raises(OSError):
            (place / "filler").write_bytes(b"x" * (1 << 20))
        with pytest.raises(KernelRefused, match="No space left"):
            groups.create("other", "ann", {"pids": 30})
        with pytest.raises(KernelRefused, match="No space left"):
            groups.update_limits("team", {"pids": 40, "memory": 64 * MEGABYTE})
        assert groups.names() == ["team"] and not os.path.exists(groups.paths("other")["pids"])
        limits = groups.read_limits("team")
        assert [(limits[name].requested, limits[name].kernel) for name in ("pids", "memory")] == [(30, 30), (None, None)]
    finally:
        subprocess.run(["umount", str(place)], check=True)
    groups.remove("team", [])


@pytest.fixture
async def docker(groups: Groups, cgroups: Cgroups, daemon: Dockerd, tmp_path: Path) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine("docker", daemon.url, "test", cgroups, f"{tmp_path}/kept", groups=groups)
    await engine.open(lambda _: None)
    yield engine
    await engine.close()


async def test_the_end_of_an_instance_is_the_end_of_dockers_containers_in_its_groups(
    docker: DockerEngine, groups: Groups, cgroups: Cgroups, daemon: Dockerd, tmp_path: Path
) -> None:
    groups.create("team", "ann", {"pids": 30})
    made = await docker.create(docker_spec("web", group="team"), "ann")
    assert made.group == "team" and docker.read_limits("web")["pids"].effective == 30
    tag = groups.place("team").split("/")[0].removeprefix("terrarium-")
    assert await remove_everything(tag=tag, data=str(tmp_path), run=str(tmp_path), cgroups=cgroups) == []
    assert daemon.docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web") == "exited 137"
    assert [str(path) for path in Path("/sys/fs/cgroup").rglob(f"terrarium-{tag}")] == []


async def test_a_group_that_was_removed_from_the_host_has_its_limits_again_when_docker_starts_one_in_it(
    docker: DockerEngine, groups: Groups, cgroups: Cgroups
) -> None:
    groups.create("team", "ann", {"pids": 30})
    await docker.create(docker_spec("web", group="team", start=False), "ann")
    cgroups.remove(groups.paths("team"))
    await docker.start("web")
    assert docker.read_limits("web")["pids"].effective == groups.read_limits("team")["pids"].kernel == 30
    await docker.remove("web", force=True)
    groups.remove("team", [])


async def test_a_group_stays_for_a_container_that_docker_is_making_in_it(docker: DockerEngine, groups: Groups) -> None:
    groups.create("team", "ann", {"pids": 30})
    made = asyncio.create_task(docker.create(docker_spec("web", group="team", start=False), "ann"))
    await asyncio.sleep(0)  # the daemon has been asked
    with pytest.raises(Conflict, match="being made"):
        groups.remove("team", [])
    await made
    await docker.remove("web", force=True)
    groups.remove("team", [])


async def test_a_daemon_whose_groups_are_somebody_elses_refuses_by_name_and_makes_nothing(
    docker: DockerEngine, groups: Groups
) -> None:
    groups.create("team", "ann", {})
    docker._list.groups.driver = "systemd"
    with pytest.raises(Unsupported, match="systemd"):
        await docker.create(docker_spec("web", group="team"), "ann")
    docker._list.groups.driver = "cgroupfs"
    with pytest.raises(NotFound):
        await docker.create(docker_spec("web", group="nobody"), "ann")
    assert docker.all() == []
    groups.remove("team", [])
