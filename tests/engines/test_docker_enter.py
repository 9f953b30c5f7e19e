"""Entering a Docker container by the keeper: what it is given, held against what `docker exec` gives."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from containers_app.engines import docker_exec
from containers_app.engines.docker import DockerEngine
from containers_app.errors import KernelRefused, Unsupported
from containers_app.kernel import cgroups
from tests.dockerd import Dockerd
from tests.engines.conftest import Home
from tests.engines.docker_engine import docker_spec
from tests.engines.test_docker_exec import said

LOOK = (
    "cat /proc/self/cgroup; id; pwd; ulimit -n; env | sort; ls -l /proc/self/ns;"
    "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status"
)


@pytest.fixture
async def entered(daemon: Dockerd, home: Home) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine("docker", daemon.url, "test", cgroups.choose(), str(home.data / "kept"), str(home.run))
    await engine.open(lambda _: None)
    try:
        yield engine
    finally:
        await engine.close()


async def running(engine: DockerEngine, name: str) -> None:
    """Once the engine has seen it run."""
    async with asyncio.timeout(30):
        while not engine.owns(name) or engine.get(name).state != "running" or not engine.get(name).pid:
            await asyncio.sleep(0.02)


def facts(text: str) -> list[str]:
    """What must be the same both ways: not the inode of the process's own links, nor the time they were made."""
    return [line.partition(" -> ")[2] or line for line in text.splitlines() if not line.startswith(("total", "SHLVL="))]


def theirs(daemon: Dockerd, ours: str) -> str:
    """Asked again when it is another: runc sets the soft limit of open files while Go's runtime may still be raising it."""
    for _ in range(10):
        if facts(found := daemon.docker("exec", "web", "sh", "-c", LOOK)) == facts(ours):
            break
    return found


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--user", "1000:1001", "--workdir", "/tmp", "--env", "COLOUR=blue", "--env", "HOME=/nowhere"),
        ("--cap-drop", "ALL", "--cap-add", "NET_RAW", "--security-opt", "no-new-privileges"),
        ("--security-opt", "seccomp=unconfined", "--ulimit", "nofile=123:456"),
        ("--network", "host", "--pid", "host", "--oom-score-adj", "300", "--hostname", "named"),
    ],
)
async def test_it_gets_what_docker_exec_gives(entered: DockerEngine, daemon: Dockerd, options: tuple[str, ...]) -> None:
    daemon.docker("run", "-d", "--name", "web", *options, "busybox", "sleep", "1000")
    await running(entered, "web")
    ours = await entered._entrance.execute(entered._list.find("web"), ("sh", "-c", LOOK), 10)
    assert facts(ours.stdout) == facts(theirs(daemon, ours.stdout))
    score = await entered.execute("web", ("cat", "/proc/self/oom_score_adj"), 10)
    assert score.stdout.strip() == daemon.docker("exec", "web", "cat", "/proc/self/oom_score_adj")


async def test_a_user_by_name_has_its_groups_and_home(entered: DockerEngine, daemon: Dockerd) -> None:
    daemon.docker("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    script = (
        "echo ann:x:700:701:Ann:/home/ann:/bin/sh >>/etc/passwd; printf 'a:x:701:\\nb:x:702:x,ann\\nc:x:703:ann\\n' >>/etc/group"
    )
    daemon.docker("exec", "web", "sh", "-c", script)
    daemon.docker("commit", "--change", "USER ann", "web", "named")
    daemon.docker("run", "-d", "--name", "ann", "named", "sleep", "1000")
    try:
        await running(entered, "ann")
        ours = await entered._entrance.execute(entered._list.find("ann"), ("sh", "-c", LOOK + "; echo x >/dev/stderr"), 10)
        assert facts(ours.stdout) == facts(daemon.docker("exec", "ann", "sh", "-c", LOOK))
        assert "groups=701(a),702(b),703(c)" in ours.stdout and ours.stderr == "x\n"
    finally:
        daemon.remove_containers()
        daemon.docker("rmi", "named")


async def test_its_terminal_is_a_tty_that_ends_with_its_holder(entered: DockerEngine) -> None:
    made = await entered.create(docker_spec("web", hostname="inside"), "ann")
    terminal = await entered.open_terminal("web", (), 30, 100)
    assert os.isatty(terminal.fd)
    await said(terminal.fd, b"# ")
    os.write(terminal.fd, b'echo "$(hostname) $TERM $(stty size)"\n')
    assert b"inside xterm-256color 30 100" in await said(terminal.fd, b"30 100\r\n")
    assert len(entered._cgroups.pids(made.cgroups)) == 2  # it counts against the container's own limits
    os.close(terminal.fd)
    while len(entered._cgroups.pids(made.cgroups)) > 1:
        pass
    with pytest.raises(Unsupported, match="no-such-program"):
        await entered.open_terminal("web", ("no-such-program",), 24, 80)


async def test_outputs_exit_codes_and_time_outs_are_as_in_a_sandbox(entered: DockerEngine) -> None:
    await entered.create(docker_spec("web"), "ann")
    result = await entered.execute("web", ("sh", "-c", "echo out; echo err >&2; kill -9 $$"), 10)
    assert (result.exit_code, result.stdout, result.stderr) == (137, "out\n", "err\n")
    missing = await entered.execute("web", ("no-such-program",), 10)
    assert missing.exit_code == 127 and "no-such-program" in missing.stderr
    flood = await entered.execute("web", ("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"), 20)
    assert flood.truncated and len(flood.stdout) == docker_exec.MAX_OUTPUT
    with pytest.raises(KernelRefused) as raised:
        await entered.execute("web", ("sleep", "777"), 0.3)
    assert raised.value.code == "timed_out"


async def test_devices_of_the_host_stay_shut(entered: DockerEngine) -> None:
    await entered.create(docker_spec("web"), "ann")
    disk = next(f for f in sorted(os.listdir("/sys/block")))
    major, minor = Path(f"/sys/block/{disk}/dev").read_text().strip().split(":")
    result = await entered.execute("web", ("sh", "-c", f"mknod /d b {major} {minor} && head -c1 /d"), 10)
    assert result.exit_code != 0 and "not permitted" in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--cap-add", "SYS_PTRACE"), "SYS_PTRACE"), (("--security-opt", "seccomp={}"), "profile of its own")],
)
async def test_where_it_would_be_less_safe_docker_does_it(
    entered: DockerEngine,
    daemon: Dockerd,
    options: tuple[str, str],
    reason: str,
    caplog: pytest.LogCaptureFixture,
    tmp_path: object,
) -> None:
    if "seccomp={}" in options:
        profile = f"{tmp_path}/profile.json"
        with open(profile, "w") as file:
            json.dump({"defaultAction": "SCMP_ACT_ALLOW"}, file)
        options = ("--security-opt", f"seccomp={profile}")
    daemon.docker("run", "-d", "--name", "web", *options, "busybox", "sleep", "1000")
    with caplog.at_level("INFO"):
        await running(entered, "web")
        assert (await entered.execute("web", ("echo", "here"), 10)).stdout == "here\n"
    assert reason in caplog.text


async def test_a_container_made_anew_behind_our_back_is_never_mistaken(entered: DockerEngine, daemon: Dockerd) -> None:
    await entered.create(docker_spec("web"), "ann")
    for _ in range(3):
        daemon.docker("restart", "-t", "0", "web")
        assert (await entered.execute("web", ("echo", "here"), 10)).stdout == "here\n"
