"""Commands and terminals inside a Docker container."""

from __future__ import annotations

import asyncio
import os

import pytest

from containers_app.engines import docker_exec
from containers_app.engines.docker import DockerEngine
from containers_app.errors import Conflict, KernelRefused, Unsupported
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec


async def said(fd: int, word: bytes, seconds: float = 20.0) -> bytes:
    """What comes until ``word`` has come."""
    os.set_blocking(fd, False)
    got, ready, loop = b"", asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(fd, ready.set)
    try:
        async with asyncio.timeout(seconds):
            while word not in got:
                await ready.wait()
                ready.clear()
                try:
                    got += os.read(fd, 65536)
                except BlockingIOError:
                    continue
        return got
    finally:
        loop.remove_reader(fd)


async def test_outputs_and_exit_code_come_apart(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web"), "ann")
    result = await docker.execute("web", ("sh", "-c", "echo out; echo err >&2; exit 5"), 10)
    assert (result.exit_code, result.stdout, result.stderr, result.truncated) == (5, "out\n", "err\n", False)
    missing = await docker.execute("web", ("no-such-program",), 10)
    assert missing.exit_code in (126, 127) and "no-such-program" in missing.stdout + missing.stderr


async def test_output_is_cut_at_a_mebibyte_and_the_exit_code_is_true(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web"), "ann")
    result = await docker.execute("web", ("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; exit 4"), 20)
    assert (result.exit_code, len(result.stdout), result.truncated) == (4, docker_exec.MAX_OUTPUT, True)


async def test_what_takes_too_long_is_killed(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web"), "ann")
    with pytest.raises(KernelRefused, match=r"did not end within 0\.3 seconds") as raised:
        await docker.execute("web", ("sleep", "777"), 0.3)
    assert raised.value.code == "timed_out"
    async with asyncio.timeout(20):
        while len(docker._cgroups.pids(made.cgroups)) > 1:
            await asyncio.sleep(0.02)


async def test_what_it_leaves_in_the_background_holds_up_the_answer_no_longer_than_the_time_out(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web"), "ann")
    result = await docker.execute("web", ("sh", "-c", "sleep 1000 & echo done"), 3)
    assert (result.exit_code, result.stdout) == (0, "done\n")


async def test_nothing_runs_in_one_that_is_stopped_or_paused(docker: DockerEngine) -> None:
    await docker.create(docker_spec("idle", start=False), "ann")
    with pytest.raises(Conflict, match="can't be entered"):
        await docker.execute("idle", ("true",), 20)
    await docker.create(docker_spec("held"), "ann")
    await docker.pause("held")
    with pytest.raises(Conflict, match="paused"):
        await docker.open_terminal("held", (), 24, 80)


async def test_a_terminal_is_a_shell_with_a_tty_of_the_size_asked_for(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web", hostname="inside"), "ann")
    terminal = await docker.open_terminal("web", (), 30, 100)
    try:
        await said(terminal.fd, b"# ")
        os.write(terminal.fd, b'echo "$(hostname) $TERM $(stty size)"\n')
        assert b"inside xterm-256color 30 100" in await said(terminal.fd, b"30 100\r\n")
        await terminal.resize(40, 120)
        os.write(terminal.fd, b"stty size\n")
        await said(terminal.fd, b"40 120\r\n")
    finally:
        os.close(terminal.fd)


async def test_nothing_that_a_program_says_at_once_is_lost(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web"), "ann")
    for _ in range(5):
        terminal = await docker.open_terminal("web", ("sh", "-c", "echo first; seq 1 2000; echo last; sleep 5"), 24, 80)
        try:
            got = await said(terminal.fd, b"last\r\n")
            assert got == b"".join(b"%s\r\n" % word for word in (b"first", *(b"%d" % n for n in range(1, 2001)), b"last"))
        finally:
            os.close(terminal.fd)


async def test_a_program_that_ends_at_once_still_shows_what_it_said(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web"), "ann")
    terminal = await docker.open_terminal("web", ("echo", "bye"), 24, 80)
    try:
        assert await said(terminal.fd, b"bye\r\n") == b"bye\r\n"
    finally:
        os.close(terminal.fd)


async def test_sizing_a_terminal_whose_program_has_ended_is_no_error(docker: DockerEngine) -> None:
    await docker.create(docker_spec("web"), "ann")
    terminal = await docker.open_terminal("web", ("sh", "-c", "read line; echo bye"), 24, 80)
    try:
        os.write(terminal.fd, b"\n")
        await said(terminal.fd, b"bye\r\n")
        for _ in range(20):  # from just before to well after the daemon has noted the end
            await terminal.resize(30, 90)
    finally:
        os.close(terminal.fd)


async def test_neither_is_one_whose_container_has_stopped_or_gone(docker: DockerEngine, daemon: Dockerd) -> None:
    await docker.create(docker_spec("web"), "ann")
    terminal = await docker.open_terminal("web", (), 24, 80)
    try:
        daemon.docker("stop", "-t", "0", "web")
        await terminal.resize(30, 90)
        daemon.docker("rm", "web")
        await terminal.resize(40, 90)
    finally:
        os.close(terminal.fd)


async def test_closing_the_terminal_ends_its_shell_even_when_another_process_held_it(docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("web"), "ann")
    kept = os.dup((terminal := await docker.open_terminal("web", (), 24, 80)).fd)
    stubborn = await docker.open_terminal("web", ("sh", "-c", "trap '' HUP; echo ready; while :; do sleep 1; done"), 24, 80)
    await said(stubborn.fd, b"ready")
    os.close(terminal.fd)
    await asyncio.sleep(docker_exec._HANG_UP_SECONDS + 0.2)
    os.write(kept, b"echo still $((40+2))\n")
    await said(kept, b"still 42")  # somebody still has it
    os.close(kept)
    os.close(stubborn.fd)
    async with asyncio.timeout(20):
        while len(docker._cgroups.pids(made.cgroups)) > 1:
            await asyncio.sleep(0.05)


async def test_without_a_shell_it_says_so(docker: DockerEngine, daemon: Dockerd) -> None:
    await docker.create(docker_spec("bare", command=["/bin/busybox", "sleep", "1000"]), "ann")
    await docker.execute("bare", ("/bin/busybox", "rm", "/bin/sh"), 20)
    with pytest.raises(Unsupported, match="has no shell"):
        await docker.open_terminal("bare", (), 24, 80)
    with pytest.raises(Unsupported, match="no-such-program"):
        await docker.open_terminal("bare", ("no-such-program",), 24, 80)
