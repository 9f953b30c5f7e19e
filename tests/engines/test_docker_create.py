"""Making a Docker container from a spec: what Docker gets, what the kernel has then, what is refused."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.errors import Conflict, InvalidInput, NotFound, Unsupported
from containers_app.spec import ContainerSpec
from tests.dockerd import Dockerd
from tests.engines.conftest import until
from tests.engines.docker_engine import docker_spec


def inspected(daemon: Dockerd, name: str) -> Any:
    return json.loads(daemon.docker("inspect", name))[0]


async def test_a_spec_becomes_a_running_container_with_its_owner(docker: DockerEngine, daemon: Dockerd) -> None:
    made = await docker.create(docker_spec("web", env={"A": "b c"}, cwd="/tmp", hostname="inside"), "ann")
    assert (made.name, made.state, made.owner, made.hostname) == ("web", "running", "ann", "inside") and made.pid > 0
    await until(lambda: b"A=b c" in Path(f"/proc/{made.pid}/environ").read_bytes().split(b"\0"))  # runc's until it is sleep's
    assert Path(f"/proc/{made.pid}/cwd").resolve() == Path("/tmp")
    assert inspected(daemon, "web")["Config"]["Labels"] == {"terrarium.owner": "ann"}
    assert docker.get("web") == made


async def test_limits_reach_the_kernel(docker: DockerEngine) -> None:
    asked = {"cpu": 0.5, "cpu_weight": 200, "cpuset": "0", "memory": "64M", "memory_low": "32M", "swap": "16M", "pids": 50}
    made = await docker.create(docker_spec("limited", limits=asked), "ann")
    expected = {"cpu": 0.5, "cpu_weight": 200, "cpuset": "0", "memory": 64 << 20, "memory_low": 32 << 20, "pids": 50}
    if not made.limits["swap"].locked:
        expected["swap"] = 16 << 20
    assert {name: made.limits[name].kernel for name in expected} == expected
    assert {name: made.limits[name].requested for name in expected} == expected


async def test_namespaces_are_shared_with_the_host_and_with_another_container(docker: DockerEngine) -> None:
    first = await docker.create(docker_spec("first"), "ann")
    shared = {"pid": "container:first", "net": f"container:{first.id[:12]}", "uts": "host", "cgroup": "host"}
    second = await docker.create(docker_spec("second", namespaces=shared), "ann")
    for kind in ("pid", "net"):
        assert second.namespaces[kind].inode == first.namespaces[kind].inode
        assert second.namespaces[kind].mode == f"container:{first.id}"
    assert second.namespaces["uts"].initial and second.namespaces["mnt"].inode != first.namespaces["mnt"].inode
    alone = await docker.create(docker_spec("alone", namespaces={"net": "none", "cgroup": "private"}), "ann")
    assert alone.addresses == () and alone.namespaces["net"].mode == "none" and not alone.namespaces["cgroup"].initial


@pytest.mark.parametrize(
    "namespaces",
    [{"uts": "container:x"}, {"mnt": "host"}, {"time": "container:x"}, {"net": "path:/run/netns/x"}, {"user": "container:x"}],
    ids=str,
)
async def test_what_docker_has_no_word_for_is_unsupported(docker: DockerEngine, namespaces: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="Docker") as raised:
        await docker.create(docker_spec("odd", namespaces=namespaces), "ann")
    assert raised.value.hint and docker.all() == []


async def test_mounts_and_confinement_reach_the_kernel(docker: DockerEngine, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("hello")
    mounts = [
        {"type": "bind", "source": str(tmp_path), "target": "/data", "read_only": True},
        {"type": "tmpfs", "target": "/scratch", "size": "1M"},
    ]
    security = {"capabilities": ["CAP_CHOWN"], "read_only_root": True, "no_new_privs": True}
    made = await docker.create(docker_spec("firm", mounts=mounts, security=security), "ann")
    result = await docker.execute(
        "firm", ("sh", "-c", "cat /data/word; touch /data/x; touch /x; touch /scratch/x; ls /scratch"), 10
    )
    assert result.stdout == "hellox\n" and result.stderr.count("Read-only file system") == 2
    facts = docker.security(made.id)
    assert facts["kernel"]["capabilities"] == ["CAP_CHOWN"] and facts["kernel"]["no_new_privs"]
    assert facts["kernel"]["seccomp"] == "filter" and facts["asked"]["read_only_root"]


async def test_a_missing_image_is_not_found_and_says_how_to_get_it(docker: DockerEngine) -> None:
    with pytest.raises(NotFound) as raised:
        await docker.create(docker_spec("x", image="nowhere:none"), "ann")
    assert "nowhere:none" in raised.value.message and "docker pull" in raised.value.hint


async def test_a_taken_name_is_a_conflict(docker: DockerEngine) -> None:
    await docker.create(docker_spec("twin", start=False), "ann")
    with pytest.raises(Conflict) as raised:
        await docker.create(docker_spec("twin"), "ann")
    assert raised.value.code == "name_taken"


async def test_one_that_cannot_start_is_removed_again(docker: DockerEngine, daemon: Dockerd) -> None:
    with pytest.raises(InvalidInput, match="no-such-program"):
        await docker.create(docker_spec("broken", command=["no-such-program"]), "ann")
    assert daemon.docker("ps", "-aq") == "" and docker.all() == []


EVERYTHING: dict[str, Any] = {
    "limits": {"cpu": 0.5, "cpu_weight": 200, "cpuset": "0", "memory": "64M", "memory_low": "32M", "swap": "16M", "pids": 50},
    "env": {"A": "b c"}, "cwd": "/tmp", "user": "7:8", "hostname": "inside",
    "rlimits": {"nofile": {"soft": 64, "hard": 128}, "core": {"soft": -1, "hard": -1}},
    "oom_score_adj": 300, "init": True, "restart": {"policy": "on-failure", "retries": 3},
    "stop_signal": "INT", "stop_timeout": 3, "dns": ["10.9.8.7", "10.9.8.6"], "extra_hosts": {"db": "10.0.0.9"},
    "ports": [
        {"container_port": 80, "host_port": 18480, "host_ip": "127.0.0.1"}, {"container_port": 53, "protocol": "udp"},
        {"container_port": 81, "host_ip": "127.0.0.1"},
    ],
    "health": {"test": ["sh", "-c", "test -e / && true"], "interval": 1.5, "timeout": 2, "retries": 4, "start_period": 0.25},
    "labels": {"tier": "a b", "empty": ""},
    "security": {"capabilities": ["CAP_CHOWN", "CAP_KILL"], "read_only_root": True},
    "mounts": [
        {"type": "tmpfs", "target": "/scratch", "size": "1M"}, {"type": "volume", "source": "kept-here", "target": "/kept"},
        {"type": "volume", "source": "kept-here", "target": "/look", "read_only": True},
    ],
}  # fmt: skip


async def same_by_its_commands(engine: DockerEngine, daemon: Dockerd, spec: ContainerSpec) -> None:
    """Make it; then make it by each command line that is shown: all that Docker records is the same."""
    previews = engine.preview(spec)
    made = await engine.create(spec, "ann")
    record = inspected(daemon, made.id)
    for shown in (*engine.commands(made.id), *previews):
        await engine.remove(spec.name, force=True)
        daemon.docker(*shlex.split(shown)[1:])
        again = inspected(daemon, spec.name)
        await engine._list.look(again["Id"])
        if shown in previews:  # made by nobody, and with a host name of its own
            record["Config"]["Labels"].pop("terrarium.owner", None)
            again["Config"]["Hostname"] = record["Config"]["Hostname"]
        for part in ("Config", "HostConfig"):
            differ = {
                key for key in record[part] | again[part] if (record[part].get(key) or None) != (again[part].get(key) or None)
            }
            assert not differ - {"AttachStdout", "AttachStderr", "ConsoleSize"}, (
                shown, {key: (record[part].get(key), again[part].get(key)) for key in differ},
            )  # fmt: skip
        assert (again["Path"], again["Args"]) == (record["Path"], record["Args"])


@pytest.fixture
def volume(daemon: Dockerd) -> Iterator[None]:
    yield
    daemon.remove_containers()
    daemon.docker("volume", "rm", "-f", "kept-here")


@pytest.mark.usefixtures("volume")
async def test_the_commands_shown_make_the_same_container(docker: DockerEngine, daemon: Dockerd) -> None:
    await same_by_its_commands(docker, daemon, docker_spec("shown", **EVERYTHING))


async def test_the_commands_of_shared_namespaces_make_the_same_container(docker: DockerEngine, daemon: Dockerd) -> None:
    await docker.create(docker_spec("first"), "ann")
    shared = {"pid": "container:first", "net": "container:first", "ipc": "container:first", "user": "host", "cgroup": "host"}
    await same_by_its_commands(docker, daemon, docker_spec("joined", namespaces=shared))
    host = {"pid": "host", "net": "host", "ipc": "host", "uts": "host", "cgroup": "private"}
    await same_by_its_commands(docker, daemon, docker_spec("hosted", namespaces=host, start=False))


@contextmanager
def mounted(place: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def shared_mount(daemon: Dockerd, tmp_path: Path) -> Iterator[Path]:
    """Docker passes mounts on only below a shared one."""
    with mounted(tmp_path):
        subprocess.run(["mount", "--make-shared", tmp_path], check=True)
        yield tmp_path
        daemon.remove_containers()


async def test_the_commands_of_binds_make_the_same_container(docker: DockerEngine, daemon: Dockerd, shared_mount: Path) -> None:
    odd = shared_mount / 'a,"b'
    odd.mkdir()
    mounts = [
        {"source": str(shared_mount), "target": "/data", "read_only": True},
        {"source": str(odd), "target": "/odd", "propagation": "slave"},
        {"source": str(odd), "target": "/both", "propagation": "shared"},
    ]
    spec = docker_spec("bound", mounts=mounts, restart="unless-stopped")
    await same_by_its_commands(docker, daemon, spec)
    with mounted(odd):
        (odd / "later").touch()
        seen = await docker.execute("bound", ("sh", "-c", "ls -d /odd/later /both/later /data/*/later"), 10)
        assert seen.stdout == "/both/later\n/odd/later\n"


@pytest.mark.usefixtures("volume")
async def test_words_of_docker_run_reach_the_kernel(docker: DockerEngine, daemon: Dockerd) -> None:
    made = await docker.create(docker_spec("full", **EVERYTHING), "ann")
    await until(lambda: Path(f"/proc/{made.pid}/comm").read_text() in ("docker-init\n", "tini\n"))
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{made.pid}/status").read_text().splitlines())
    assert status["Uid"].split()[0] == "7" and status["Gid"].split()[0] == "8"
    limits = Path(f"/proc/{made.pid}/limits").read_text()
    assert re.search(r"Max open files +64 +128 ", limits) and re.search(r"Max core file size +unlimited +unlimited ", limits)
    assert Path(f"/proc/{made.pid}/oom_score_adj").read_text() == "300\n"
    hosts = await docker.execute("full", ("sh", "-c", "cat /etc/hosts /etc/resolv.conf; grep -c /kept /proc/mounts"), 10)
    assert "10.0.0.9\tdb" in hosts.stdout and "nameserver 10.9.8.7" in hosts.stdout and hosts.stdout.endswith("1\n")
    record = inspected(daemon, "full")
    assert record["Config"]["Labels"] == {"tier": "a b", "empty": "", "terrarium.owner": "ann"}


@pytest.mark.parametrize(
    "fields",
    [
        {"id_map": [{"inside": 0, "outside": 100000, "count": 1000}]},
        {"rlimits": {"as": {"soft": 1, "hard": 1}}},
        {"stop_timeout": 1.5},
        {"time_offsets": {"boottime": 5}},
        {"mounts": [{"type": "tmpfs", "target": "/x", "propagation": "shared"}]},
    ],
    ids=str,
)
async def test_words_that_docker_has_not_are_unsupported(docker: DockerEngine, fields: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="Docker") as raised:
        docker.preview(docker_spec("odd", **fields))
    assert raised.value.hint


async def test_the_label_of_the_owner_is_not_anyones_to_set(docker: DockerEngine) -> None:
    with pytest.raises(InvalidInput, match=r"terrarium\.owner"):
        await docker.create(docker_spec("sly", labels={"terrarium.owner": "root"}), "ann")


async def test_images_and_networks_are_listed(docker: DockerEngine) -> None:
    (image,) = await docker.images()
    assert image["name"] == "busybox" and image["size"] > 100_000 and image["created_at"] > 1e9
    networks = {network.name: network for network in await docker.networks()}
    assert networks["bridge"].subnet.startswith("10.213.") and networks["bridge"].bridge.startswith("tr")
