"""A toolbox beside a container: what it sees, what it may, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.errors import Conflict, NotFound, PolicyRefused
from tests.dockerd import Dockerd
from tests.engines.conftest import Home, in_use, spec, until
from tests.engines.docker_engine import docker_spec
from tests.engines.test_docker_exec import said

SHELL = ["/bin/busybox", "sh", "-c"]


@pytest.fixture
async def both(home: Home, docker: DockerEngine) -> AsyncIterator[RawEngine]:
    """A raw engine that finds Docker's containers too."""
    engine = home.engine()
    own = engine._joiner._resolve
    engine._joiner._resolve = lambda wanted: docker.get(wanted).pid if docker.owns(wanted) else own(wanted)
    async with in_use(engine, home):
        yield engine


async def quiet(fd: int) -> None:
    """A shell that shows neither prompt nor what is typed."""
    os.write(fd, b"stty -echo; PS1=; echo re''ady\n")
    await said(fd, b"ready\r\n")


async def ask(fd: int, command: str) -> str:
    """What a command prints in the shell at ``fd``."""
    os.write(fd, f"{command}; echo e''nd\n".encode())
    text = (await said(fd, b"end\r\n")).decode()
    return text.rpartition("end")[0].replace("\r", "").strip()


def left(home: Home, engine: RawEngine) -> list[str]:
    known = {container.id for container in engine.all()} | set(os.listdir(home.data / "spares"))
    group = engine._cgroups.paths(f"terrarium-{home.tag}")[""]
    found = [entry.name for entry in os.scandir(group) if entry.is_dir()] + os.listdir(home.data / "sandboxes")
    return sorted(set(found) - known)


async def test_beside_a_sandbox_it_is_in_its_namespaces_with_tools_of_its_own(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec("web", hostname="inside", command=["sleep", "1234"]), "ann")
    await raw.execute(box.id, ("sh", "-c", "echo word > /root/file; rm /bin/ls /bin/ps"), 20)
    terminal = await raw.toolboxes.open(box, "busybox", 30, 100)
    await quiet(terminal.fd)
    assert await ask(terminal.fd, "hostname; stty size") == "inside\n30 100"
    assert "sleep 1234" in await ask(terminal.fd, "ps -o args")
    assert await ask(terminal.fd, "cat /target/root/file; ls -n /target/root | tail -1 | awk '{print $3}'") == "word\n0"
    assert await ask(terminal.fd, "cat /proc/1/root/root/file; echo more >> /target/root/file") == "word"
    assert "more" in (await raw.execute(box.id, ("cat", "/root/file"), 20)).stdout
    for kind in ("pid", "net", "ipc", "uts", "user"):
        assert await ask(terminal.fd, f"readlink /proc/self/ns/{kind}") == f"{kind}:[{box.namespaces[kind].inode}]"
    assert "eth0" in await ask(terminal.fd, "ip addr") and len(left(home, raw)) == 1
    os.close(terminal.fd)
    await until(lambda: not left(home, raw))
    assert len(raw._cgroups.pids(box.cgroups)) == 1


async def test_what_it_started_goes_with_it_whatever_it_ignores(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec("web"), "ann")
    terminal = await raw.toolboxes.open(box, "busybox", 24, 80)
    await quiet(terminal.fd)
    await ask(terminal.fd, "trap '' HUP; setsid sleep 4321 & setsid nohup sleep 4322 & true")
    os.write(terminal.fd, b"sleep 4323\n")
    os.close(terminal.fd)
    await until(lambda: not left(home, raw))
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not any(b"432" in line and b"sleep" in line for line in lines)


async def test_its_shell_s_end_is_seen_by_the_holder_of_the_terminal(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec("web"), "ann")
    terminal = await raw.toolboxes.open(box, "busybox", 24, 80)
    await quiet(terminal.fd)
    os.write(terminal.fd, b"exit\n")
    await until(lambda: not left(home, raw))
    os.set_blocking(terminal.fd, True)
    with pytest.raises(OSError):
        while os.read(terminal.fd, 4096):
            pass
    os.close(terminal.fd)


async def test_it_goes_when_the_container_does_and_when_the_worker_was_killed(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec("web"), "ann")
    first = await raw.toolboxes.open(box, "busybox", 24, 80)
    await raw.stop(box.id, 1)
    await until(lambda: not left(home, raw))
    os.close(first.fd)
    await raw.start(box.id)
    second = await raw.toolboxes.open(raw.get(box.id), "busybox", 24, 80)
    for watch in raw.toolboxes._watches.values():  # as if this worker had been killed
        watch.close()
    raw.toolboxes._watches.clear()
    other = home.engine()
    await other.open(lambda _: None)
    try:
        assert left(home, other) == []
    finally:
        await other.close()
        os.close(second.fd)


async def test_beside_a_distroless_docker_container(both: RawEngine, docker: DockerEngine, home: Home) -> None:
    made = await docker.create(docker_spec("bare", hostname="inside", command=["/bin/busybox", "sleep", "1234"]), "ann")
    await docker.execute("bare", (*SHELL, "echo word > /file; rm -rf /bin/[a-z]* 2>/dev/null; true"), 20)
    terminal = await both.toolboxes.open(docker.get("bare"), "busybox", 24, 80)
    await quiet(terminal.fd)
    assert await ask(terminal.fd, "hostname; cat /target/file /proc/1/root/file; id -u") == "inside\nword\nword\n0"
    assert "sleep 1234" in await ask(terminal.fd, "ps -o args")
    assert await ask(terminal.fd, "cat /etc/resolv.conf") == await ask(terminal.fd, "cat /target/etc/resolv.conf")
    for kind in ("pid", "net", "ipc", "uts"):
        assert await ask(terminal.fd, f"readlink /proc/self/ns/{kind}") == f"{kind}:[{made.namespaces[kind].inode}]"
    os.close(terminal.fd)
    await until(lambda: not left(home, both))


async def test_beside_docker_it_is_no_way_out(both: RawEngine, docker: DockerEngine, daemon: Dockerd) -> None:
    disk = next(iter(sorted(os.listdir("/sys/block"))))
    major, minor = Path(f"/sys/block/{disk}/dev").read_text().strip().split(":")
    daemon.docker("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    daemon.docker("exec", "web", "mknod", "/disk", "b", major, minor)
    await until(lambda: docker.owns("web") and docker.get("web").pid)
    terminal = await both.toolboxes.open(docker.get("web"), "busybox", 24, 80)
    await quiet(terminal.fd)
    for path in ("/target/disk", "/proc/1/root/disk"):
        assert "not permitted" in (word := await ask(terminal.fd, f"head -c1 {path}")) or "denied" in word
    for attempt in (
        f"mknod /d b {major} {minor}", "mount -t tmpfs x /tmp", "echo x > /proc/sys/kernel/hostname", "unshare -m true",
        "chroot /proc/1/root /bin/mount -t tmpfs x /tmp", "echo 1 > /proc/sysrq-trigger", "ip link set lo down",
    ):  # fmt: skip
        assert (await ask(terminal.fd, f"( {attempt} ) 2>/dev/null && echo d''one")) == "", attempt
    caps = int((await ask(terminal.fd, "grep CapEff /proc/self/status")).split()[1], 16)
    assert not caps >> 19 & 1 and not caps >> 21 & 1  # neither SYS_PTRACE nor SYS_ADMIN
    os.close(terminal.fd)


async def test_beside_one_in_the_host_s_pid_namespace_it_stays_out_of_that(both: RawEngine, docker: DockerEngine) -> None:
    await docker.create(docker_spec("web", namespaces={"pid": "host"}), "ann")
    terminal = await both.toolboxes.open(docker.get("web"), "busybox", 24, 80)
    await quiet(terminal.fd)
    assert int(await ask(terminal.fd, "ls -d /proc/[0-9]* | wc -l")) < 6
    assert await ask(terminal.fd, "test -e /target/bin/busybox && echo there") == "there"
    os.close(terminal.fd)


async def test_the_hosts_files_are_the_policys_to_show_as_tools_too(home: Home) -> None:
    async with in_use(home.engine(Allow(host_image=True)), home) as first:
        box = await first.create(spec("web"), "ann")
        terminal = await first.toolboxes.open(box, "host", 24, 80)
        await quiet(terminal.fd)
        assert "usr" in (await ask(terminal.fd, "ls /")).split()
        os.close(terminal.fd)
        await until(lambda: not left(home, first))
    assert "host" in os.listdir(home.data / "images")  # it stays when the policy takes it back
    async with in_use(home.engine(), home) as second:
        box = await second.create(spec("web"), "ann")
        with pytest.raises(PolicyRefused, match="own files") as refused:
            await second.toolboxes.open(box, "host", 24, 80)
        assert "host_image" in refused.value.hint and left(home, second) == []


async def test_it_is_refused_in_words(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec("web"), "ann")
    with pytest.raises(NotFound, match="image"):
        await raw.toolboxes.open(box, "no-such-image", 24, 80)
    raw.toolboxes._policy = home.engine(Allow(toolbox=False))._policy
    with pytest.raises(PolicyRefused, match="toolbox"):
        await raw.toolboxes.open(box, "busybox", 24, 80)
    raw.toolboxes._policy = raw._policy
    await raw.stop(box.id, 1)
    with pytest.raises(Conflict, match="exited"):
        await raw.toolboxes.open(raw.get(box.id), "busybox", 24, 80)
    await asyncio.sleep(0)
    assert left(home, raw) == []
