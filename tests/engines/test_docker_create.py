"""Making a Docker container from a spec: what Docker gets, what the kernel has then, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.errors import Conflict, InvalidInput, NotFound, Unsupported
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec


def inspected(daemon: Dockerd, name: str) -> Any:
    return json.loads(daemon.docker("inspect", name))[0]


async def test_a_spec_becomes_a_running_container_with_its_owner(docker: DockerEngine, daemon: Dockerd) -> None:
    made = await docker.create(docker_spec("web", env={"A": "b c"}, cwd="/tmp", hostname="inside"), "ann")
    assert (made.name, made.state, made.owner, made.hostname) == ("web", "running", "ann", "inside") and made.pid > 0
    environment = Path(f"/proc/{made.pid}/environ").read_bytes().split(b"\0")
    assert b"A=b c" in environment and Path(f"/proc/{made.pid}/cwd").resolve() == Path("/tmp")
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


async def test_the_commands_shown_make_the_same_container(docker: DockerEngine, daemon: Dockerd) -> None:
    import shlex

    spec = docker_spec("shown", limits={"cpu": 0.5, "memory": "64M", "pids": 50}, env={"A": "b c"}, namespaces={"pid": "host"})
    (preview,) = docker.preview(spec)
    await docker.create(spec, "ann")
    (command,) = docker.commands("shown")
    record = inspected(daemon, "shown")
    for shown in (preview, command):
        await docker.remove("shown", force=True)
        daemon.docker(*shlex.split(shown)[1:])
        again = inspected(daemon, "shown")
        for field in ("NanoCpus", "Memory", "PidsLimit", "PidMode", "NetworkMode", "CgroupnsMode", "SecurityOpt"):
            assert again["HostConfig"][field] == record["HostConfig"][field], field
        assert again["Config"]["Env"] == record["Config"]["Env"] and again["Args"] == record["Args"]
        await docker._list.look(again["Id"])


async def test_images_and_networks_are_listed(docker: DockerEngine) -> None:
    (image,) = await docker.images()
    assert image["name"] == "busybox" and image["size"] > 100_000 and image["created_at"] > 1e9
    networks = {network["name"]: network for network in await docker.networks()}
    assert networks["bridge"]["subnet"].startswith("10.213.") and networks["bridge"]["bridge"].startswith("tr")
