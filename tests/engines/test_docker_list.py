"""The list: what others do with Docker shows up by itself; look-ups by name and prefix."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.errors import Conflict, NotFound
from containers_app.kernel import namespaces
from tests.dockerd import Dockerd
from tests.engines.docker_engine import opened
from tests.panel import free_port


async def test_a_container_started_outside_shows_up_by_itself(daemon: Dockerd) -> None:
    async with opened(daemon.url) as (engine, changes):
        assert engine.status().available and engine.status().detail.startswith("Docker ")
        container_id = daemon.docker("run", "-d", "--name", "outside", "--hostname", "out", "busybox", "sleep", "1000")
        await changes.until(lambda: engine.owns(container_id) and engine.get(container_id).state == "running")
        assert container_id in changes.ids


async def test_it_reads_as_the_kernel_and_docker_have_it(daemon: Dockerd) -> None:
    flags = "--hostname box --label a=b --memory 64m --cpus 0.5 --pids-limit 50 --pid host"
    container_id = daemon.docker("run", "-d", "--name", "facts", *flags.split(), "busybox", "sleep", "1000")
    async with opened(daemon.url) as (engine, _):
        found = engine.get("facts")
        assert (found.id, found.engine, found.node, found.name) == (container_id, "docker", "test", "facts")
        assert (found.image, found.command, found.hostname, found.labels) == ("busybox", ("sleep", "1000"), "box", {"a": "b"})
        assert found.pid == int(daemon.docker("inspect", "-f", "{{.State.Pid}}", "facts"))
        assert found.created_at > 1e9 and found.started_at is not None and found.started_at >= found.created_at
        assert found.exit_code is None and found.finished_at is None and found.owner == "" and len(found.addresses) == 1
        inodes = {kind: int(os.readlink(f"/proc/{found.pid}/ns/{kind}").split("[")[1][:-1]) for kind in namespaces.initial()}
        assert {kind: view.inode for kind, view in found.namespaces.items()} == inodes
        modes = {kind: view.mode for kind, view in found.namespaces.items()}
        assert (modes["pid"], modes["net"], modes["mnt"], modes["ipc"]) == ("host", "bridge", "private", "private")
        assert found.namespaces["pid"].initial and not found.namespaces["mnt"].initial
        limits = found.limits
        assert (limits["memory"].requested, limits["memory"].kernel, limits["memory"].effective) == (64 << 20, 64 << 20, 64 << 20)
        assert (limits["cpu"].requested, limits["cpu"].kernel) == (0.5, 0.5)
        assert (limits["pids"].requested, limits["pids"].kernel) == (50, 50)
        assert limits["memory"].maximum and all(container_id in path for path in found.cgroups.values())


async def test_ports_networks_and_the_restart_policy_are_told_as_they_really_are(daemon: Dockerd) -> None:
    port = free_port()
    flags = f"--publish 127.0.0.1:{port}:80 --publish 127.0.0.1::53/udp --restart on-failure:2"
    daemon.docker("run", "-d", "--name", "told", *flags.split(), "busybox", "sleep", "1000")
    async with opened(daemon.url) as (engine, changes):
        told = engine.get("told")
        ports = {(one.host_ip, one.container_port, one.protocol): one.host_port for one in told.ports}
        chosen = int(daemon.docker("port", "told", "53/udp").rpartition(":")[2])
        assert ports == {("127.0.0.1", 80, "tcp"): port, ("127.0.0.1", 53, "udp"): chosen} and chosen > 1023
        assert (told.networks, told.restart_policy, told.restart_count, told.stale) == (("bridge",), "on-failure", 0, False)
        daemon.docker("update", "--restart", "always", "told")
        await changes.until(lambda: engine.get("told").restart_policy == "always")
        daemon.docker("stop", "-t", "0", "told")
        await changes.until(lambda: engine.get("told").state == "exited")
        assert engine.get("told").ports == ()  # nothing is bound now


async def test_restarts_by_the_policy_are_counted(daemon: Dockerd) -> None:
    async with opened(daemon.url) as (engine, changes):
        daemon.docker("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "sleep 0.1; exit 3")
        await changes.until(lambda: engine.owns("again") and engine.get("again").reason == "exited 3", 60.0)
        assert engine.get("again").restart_count == 2


async def test_a_change_of_health_is_told_as_it_happens(daemon: Dockerd) -> None:
    flags = ["--health-cmd", "test -e /tmp/well", "--health-interval", "0.2s", "--health-retries", "1"]
    async with opened(daemon.url) as (engine, changes):
        daemon.docker("run", "-d", "--name", "patient", *flags, "busybox", "sleep", "1000")
        await changes.until(lambda: engine.owns("patient") and engine.get("patient").health == "unhealthy", 60.0)
        daemon.docker("exec", "patient", "touch", "/tmp/well")
        await changes.until(lambda: engine.get("patient").health == "healthy", 60.0)
        daemon.docker("run", "-d", "--name", "unlooked", "busybox", "sleep", "1000")
        await changes.until(lambda: engine.owns("unlooked") and engine.get("unlooked").state == "running")
        assert engine.get("unlooked").health == ""


async def test_the_end_of_a_container_is_told_with_code_and_cause(daemon: Dockerd) -> None:
    async with opened(daemon.url) as (engine, changes):
        daemon.docker("run", "--name", "seven", "busybox", "sh", "-c", "exit 7", check=False)
        await changes.until(lambda: engine.owns("seven") and engine.get("seven").state == "exited")
        seven = engine.get("seven")
        assert (seven.exit_code, seven.reason, seven.pid) == (7, "exited 7", 0)
        assert seven.finished_at is not None and seven.cgroups == {} and seven.namespaces["net"].inode == 0
        daemon.docker("run", "-d", "--name", "victim", "busybox", "sleep", "1000")
        await changes.until(lambda: engine.owns("victim") and engine.get("victim").state == "running")
        daemon.docker("kill", "victim")
        await changes.until(lambda: engine.get("victim").state == "exited")
        assert (engine.get("victim").exit_code, engine.get("victim").reason) == (128 + signal.SIGKILL, "killed by SIGKILL")
        # The daemon misses what is before its watch or after the group: that waits, and lives a while. It may tell the end first.
        for name, last in (("hog", ""), ("host", "; exit 3")):
            script = f"sleep 1; tail /dev/zero; code=$?; sleep 1{last or '; exit $code'}"
            daemon.docker("run", "--name", name, "--memory", "16m", "busybox", "sh", "-c", script, check=False)
        await changes.until(lambda: engine.owns("hog") and engine.get("hog").reason.startswith("OOM killed"))
        assert engine.get("hog").state == "exited"
        await changes.until(lambda: engine.owns("host") and engine.get("host").reason.endswith("OOM killed"))
        assert engine.get("host").reason == "exited 3; a process in it was OOM killed"


async def test_rename_pause_and_removal_outside_show(daemon: Dockerd) -> None:
    container_id = daemon.docker("run", "-d", "--name", "before", "busybox", "sleep", "1000")
    async with opened(daemon.url) as (engine, changes):
        daemon.docker("rename", "before", "after")
        await changes.until(lambda: engine.get(container_id).name == "after")
        daemon.docker("pause", "after")
        await changes.until(lambda: engine.get("after").state == "paused")
        daemon.docker("unpause", "after")
        await changes.until(lambda: engine.get("after").state == "running")
        changes.ids.clear()
        daemon.docker("rm", "-f", "after")
        await changes.until(lambda: not engine.owns(container_id))
        assert changes.ids[-1] == container_id and engine.all() == []


async def test_look_ups_take_a_name_or_a_prefix_of_four(docker: DockerEngine, daemon: Dockerd) -> None:
    ids = [daemon.docker("create", "--name", f"n{number}", "busybox", "sleep", "1000") for number in range(2)]
    async with opened(daemon.url) as (engine, _):
        assert engine.get("n1").id == ids[1] and engine.get(ids[0][:12]).id == ids[0] and engine.get(ids[0]).state == "created"
        assert engine.owns(ids[0][:4]) and not engine.owns(ids[0][:3]) and not engine.owns("nothing")
        with pytest.raises(NotFound, match="nothing"):
            engine.get("nothing")
        common = "0" * 60
        for end in ("aaaa", "bbbb"):  # ids with a common beginning do not come by themselves
            engine._list.seen[common + end] = engine._list.seen[ids[0]]
        with pytest.raises(Conflict, match="2 containers"):
            engine.get("0000")


async def test_what_confines_it_is_told_as_it_was_asked_for(docker: DockerEngine, daemon: Dockerd, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    options = {
        "plain": (), "off": ("seccomp=unconfined",), "own": (f"seccomp={tmp_path}/profile.json",),
        "modules": ("apparmor=unconfined", "label=disable"),
    }  # fmt: skip
    for name, words in options.items():
        given = [word for option in words for word in ("--security-opt", option)]
        made = daemon.docker("create", "--name", name, *given, "busybox")
        await docker._list.look(made)
    asked = {name: docker.security(name)["asked"] for name in options}
    assert [asked[name]["seccomp"] for name in options] == ["default", "off", "own", "default"]
    assert asked["plain"]["security_module"] == [] and asked["modules"]["security_module"] == [
        "apparmor=unconfined",
        "label=disable",
    ]


async def test_words_without_end_are_cut_and_the_rest_is_told(daemon: Dockerd, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("".join(f"b{number}={'x' * 60_000}\n" for number in range(10)) + "z=last\n")
    flags = ("--name", "wordy", "--label", "a=first", "--label-file", str(tmp_path / "labels"))
    daemon.docker("create", *flags, "busybox", "echo", *["y" * 100_000] * 10)
    async with opened(daemon.url) as (engine, _):
        wordy = engine.get("wordy")
        assert (wordy.labels["a"], wordy.labels["z"], wordy.command[0]) == ("first", "last", "echo")
        assert wordy.labels["b0"].endswith("x…") and wordy.command[-1] == "…"
        assert len(msgspec.json.encode(wordy)) < 64 << 10
