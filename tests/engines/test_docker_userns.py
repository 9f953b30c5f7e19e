"""A daemon with `--userns-remap`: its containers have a user namespace, and everything works on them as on others."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.engines.raw import RawEngine
from containers_app.kernel import cgroups
from containers_app.spec import DockerContainerSource, ImportSpec
from containers_app.worker import metrics
from tests.dockerd import Dockerd, started
from tests.engines.conftest import Home, in_use, spec, until
from tests.engines.docker_engine import docker_spec
from tests.engines.test_docker_exec import said
from tests.engines.test_toolbox import ask, quiet

BASE = 1_850_000_000
SIZE = 65536


class Remapped(Dockerd):
    """Its /etc/subuid and /etc/subgid are its own: it has a mount namespace."""

    def prepare(self) -> None:
        super().prepare()
        self.home.chmod(0o711)  # its containers' root goes through
        for name in ("subuid", "subgid"):
            (self.home / name).write_text(f"nobody:{BASE}:{SIZE}\n")

    def command(self) -> list[str]:
        daemon = shlex.join([*super().command(), "--userns-remap", "nobody:nogroup"])
        mounts = "".join(f"mount --bind {self.home}/{name} /etc/{name} && " for name in ("subuid", "subgid"))
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", f"{mounts}exec {daemon}"]


@pytest.fixture(scope="module")
def remapped() -> Iterator[Dockerd]:
    with started(kind=Remapped) as daemon:
        yield daemon


@pytest.fixture
async def docker(remapped: Dockerd, home: Home) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine("docker", remapped.url, "test", cgroups.choose(), str(home.data / "kept"), str(home.run))
    await engine.open(lambda _: None)
    try:
        yield engine
    finally:
        await engine.close()
        remapped.remove_containers()


@pytest.fixture
async def raw(home: Home, docker: DockerEngine) -> AsyncIterator[RawEngine]:
    engine = home.engine()
    engine._joiner._resolve = lambda wanted: docker.get(wanted).pid
    async with in_use(engine, home):
        yield engine


async def test_it_reads_as_the_kernel_has_it(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web", limits={"memory": "64M", "pids": 50}), "ann")
    assert made.user_map.split() == ["0", str(BASE), str(SIZE)]
    assert made.namespaces["user"].mode == "private" and not made.namespaces["user"].initial
    assert os.stat(f"/proc/{made.pid}").st_uid == BASE and made.limits["memory"].kernel == 64 << 20
    told = await docker.update_limits("web", {"memory": 96 << 20})
    assert told["memory"].kernel == 96 << 20
    host = await docker.create(docker_spec("host", namespaces={"user": "host"}), "ann")
    assert host.namespaces["user"].initial and host.user_map == "" and host.namespaces["user"].mode == "host"


async def test_programs_and_terminals_are_its_own_root(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web"), "ann")
    found = await docker.execute("web", ("sh", "-c", "id -u; cat /proc/self/uid_map; echo x > /root/x; stat -c %u /root/x"), 10)
    assert found.stdout.split() == ["0", "0", str(BASE), str(SIZE), "0"]
    terminal = await docker.open_terminal(made.id, ("sh", "-c", "read go; readlink /proc/self/ns/user; stty size"), 30, 100)
    os.write(terminal.fd, b"\n")
    assert f"user:[{made.namespaces['user'].inode}]".encode() in await said(terminal.fd, b"30 100")
    os.close(terminal.fd)


async def test_a_toolbox_stands_in_its_user_namespace(docker: DockerEngine, raw: RawEngine, home: Home) -> None:
    made = await docker.create(docker_spec("web"), "ann")
    terminal = await raw.toolboxes.open(made, "busybox", 30, 100)
    await quiet(terminal.fd)
    for kind in ("pid", "net", "ipc", "uts", "user"):
        assert await ask(terminal.fd, f"readlink /proc/self/ns/{kind}") == f"{kind}:[{made.namespaces[kind].inode}]"
    assert await ask(terminal.fd, "echo word > /target/root/word; stat -c %u /target/root/word") == "0"
    assert (await docker.execute("web", ("cat", "/root/word"), 10)).stdout == "word\n"
    os.close(terminal.fd)
    await until(lambda: not os.listdir(home.data / "sandboxes"))


async def test_its_numbers_come_from_its_control_groups(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web"), "ann")
    told = {one.name: one for one in metrics.read(docker.all(), cgroups.choose()).groups}["web"]
    assert told.processes == 1 and told.working_set and "eth0" in {one.interface for one in told.networks} and made.cgroups


async def test_what_is_taken_from_it_has_the_ids_that_it_sees(docker: DockerEngine, raw: RawEngine) -> None:
    await docker.create(docker_spec("web"), "ann")
    await docker.execute("web", ("sh", "-c", "echo changed > /root/note; touch /root/ann; chown 1000:1001 /root/ann"), 10)
    archive = await docker.export_container("web")
    source = ImportSpec("taken", DockerContainerSource("web"))
    await raw.images_of.import_image(source, "", lambda _: None, stream=archive.fd, defaults=archive.defaults)
    os.close(archive.fd)
    root = Path(raw.images_of.view_of_image("taken").image)
    assert (root / "root/note").read_text() == "changed\n" and (root / "root/note").stat().st_uid == 0
    assert ((root / "root/ann").stat().st_uid, (root / "root/ann").stat().st_gid) == (1000, 1001)


async def test_a_sandbox_joins_its_namespaces(docker: DockerEngine, raw: RawEngine) -> None:
    made = await docker.create(docker_spec("web", hostname="inside"), "ann")
    joins = dict.fromkeys(("user", "pid", "net", "uts"), "container:web")
    box = await raw.create(spec("box", namespaces=joins), "ann")
    assert {kind: box.namespaces[kind].inode for kind in joins} == {kind: made.namespaces[kind].inode for kind in joins}
    found = await asyncio.wait_for(raw.execute(box.id, ("hostname",), 10), 15)
    assert found.stdout == "inside\n"
