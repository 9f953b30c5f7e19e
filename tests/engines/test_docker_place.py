"""Whose process and control groups a container's are: a daemon's pid is believed only where the id is in the group's name."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from containers_app.engines import docker_place
from containers_app.engines.docker import DockerEngine
from containers_app.engines.docker_place import NOWHERE
from containers_app.errors import Unsupported
from containers_app.kernel import cgroups
from tests.dockerd import Dockerd
from tests.engines.docker_engine import Changes, docker_spec, opened


def test_a_pid_of_another_host_is_not_taken_for_a_process_of_this_one() -> None:
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            told = {"Id": secrets.token_hex(32), "State": {"Status": "running", "Pid": process.pid}}
            assert docker_place.first_pid(told) == process.pid
            assert docker_place.find(told, cgroups.choose()) == NOWHERE
        finally:
            process.kill()


async def test_a_container_that_runs_elsewhere_shows_no_process_and_its_limits_go_to_the_daemon_alone(
    docker: DockerEngine, daemon: Dockerd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's own process stands for one of this host that happens to have the same number."""
    made = await docker.create(docker_spec("far", limits={"memory": "64M"}), "ann")
    held = made.cgroups["memory"]
    inspect = docker._list.client._sdk.inspect_container
    strange = cgroups.choose().paths_of(daemon.pid)
    before = cgroups.choose().read(strange)

    def elsewhere(container_id: str) -> object:
        told = inspect(container_id)
        told["State"]["Pid"] = daemon.pid
        return told

    monkeypatch.setattr(docker._list.client._sdk, "inspect_container", elsewhere)
    await docker._list.look(made.id)
    far = docker.get(made.id)
    assert (far.state, far.pid, far.cgroups, far.user_map) == ("running", 0, {}, "")
    assert far.limits["memory"].requested == 64 << 20 and far.limits["memory"].kernel is None
    assert not any(reading.drift for reading in far.limits.values())
    assert (await docker.execute(made.id, ("echo", "here"), 10)).stdout == "here\n"
    await docker.update_limits(made.id, {"memory": 96 << 20})
    assert (Path(held) / "memory.limit_in_bytes").read_text() == f"{96 << 20}\n", "by the daemon"
    assert cgroups.choose().read(strange) == before
    with pytest.raises(Unsupported, match="not on this host"):
        await docker.update_limits(made.id, {"hugetlb": {"2M": 4 << 20}})


async def test_a_container_that_moves_its_first_process_below_is_measured_and_limited_as_a_whole(daemon: Dockerd) -> None:
    async with opened(daemon.url) as (engine, changes):
        made = await engine.create(docker_spec("moved", limits={"memory": "64M"}), "ann")
        below = Path(made.cgroups["memory"]) / "init"
        below.mkdir()
        (below / "cgroup.procs").write_text(str(made.pid))
        assert cgroups.choose().paths_of(made.pid)["memory"] == str(below)
        await _renamed(engine, daemon, changes)
        moved = engine.get("renamed")
        assert (moved.pid, moved.cgroups) == (made.pid, made.cgroups)
        assert not moved.limits["memory"].drift and moved.limits["memory"].kernel == 64 << 20
        await engine.update_limits(made.id, {"memory": 96 << 20})
        assert engine.read_limits(made.id)["memory"].kernel == 96 << 20
        (Path(made.cgroups["memory"]) / "cgroup.procs").write_text(str(made.pid))
        os.rmdir(below)


async def _renamed(engine: DockerEngine, daemon: Dockerd, changes: Changes) -> None:
    """So that it is looked at anew."""
    daemon.docker("rename", "moved", "renamed")
    await changes.until(lambda: engine.owns("renamed"))


def test_the_group_that_podman_keeps_its_processes_in_is_the_containers() -> None:
    container = "c" * 64
    scope = f"/sys/fs/cgroup/machine.slice/libpod-{container}.scope"
    for path, own in (
        (f"{scope}/container", f"{scope}/container"), (f"{scope}/container/init", f"{scope}/container"), (scope, scope),
        (f"/sys/fs/cgroup/docker/{container}/init.scope", f"/sys/fs/cgroup/docker/{container}"),
        (f"/sys/fs/cgroup/docker/{container}/container", f"/sys/fs/cgroup/docker/{container}"),
    ):  # fmt: skip
        assert docker_place._own_group(path, container) == own
