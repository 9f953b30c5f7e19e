"""Starting, stopping, pausing and removing; how an end is told; what is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.base import Container, LogQuery
from containers_app.engines.raw import RawEngine

from .conftest import Home, spec, until


async def test_a_program_that_ends_is_told_with_its_exit_code(raw: RawEngine) -> None:
    box = await raw.create(spec(command=["sh", "-c", "echo bye; exit 3"]), "")
    await until(lambda: raw.get(box.id).state == "exited")
    box = raw.get(box.id)
    assert (box.exit_code, box.reason, box.pid) == (3, "exited 3", 0)
    assert (await raw.logs(box.id, LogQuery(10))).text == "bye\n"


async def test_a_memory_hog_is_told_as_oom_killed(raw: RawEngine) -> None:
    box = await raw.create(spec(limits={"memory": "16M"}, command=["sh", "-c", "x=aaaaaaaa; while :; do x=$x$x; done"]), "")
    await until(lambda: raw.get(box.id).state == "exited", 20)
    assert raw.get(box.id).reason == "OOM killed at 16 MiB"


async def test_a_memory_hog_that_its_group_holds_is_told_so(raw: RawEngine) -> None:
    raw.groups.create("team", "", {"memory": 24 << 20})
    box = await raw.create(spec(limits={"memory": "64M"}, group="team", command=["tail", "/dev/zero"]), "")
    await until(lambda: raw.get(box.id).state == "exited", 20)
    assert raw.get(box.id).reason == "OOM killed: its group may have 24 MiB"
    await raw.remove(box.id, force=True)
    raw.groups.remove("team", [])


async def test_a_program_that_outlives_its_hog_is_told_with_its_own_end(raw: RawEngine) -> None:
    box = await raw.create(spec(limits={"memory": "16M"}, command=["sh", "-c", "tail /dev/zero; exit 3"]), "")
    await until(lambda: raw.get(box.id).state == "exited", 20)
    assert raw.get(box.id).reason == "exited 3; a process in it was OOM killed"


async def test_stopping_a_program_that_ignores_sigterm_as_pid_1_does_not_wait(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    async with asyncio.timeout(60):
        await raw.stop(box.id, timeout=600)
    assert raw.get(box.id).state == "exited"


async def test_stopping_a_program_with_a_handler_lets_it_finish(raw: RawEngine) -> None:
    script = "trap 'echo finished; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    box = await raw.create(spec(command=["sh", "-c", script]), "")
    log = Path(f"/proc/{box.pid}/fd/1").resolve()
    await until(lambda: "ready" in log.read_text())
    await raw.stop(box.id, timeout=60)
    assert "finished" in (await raw.logs(box.id, LogQuery(10))).text
    assert raw.get(box.id).exit_code == 0


async def test_a_stopped_sandbox_starts_again_with_its_files(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    await raw.execute(box.id, ("sh", "-c", "echo kept > /root/note"), 10)
    await raw.stop(box.id, 1)
    await raw.start(box.id)
    again = raw.get(box.id)
    assert again.state == "running" and again.addresses == box.addresses
    assert (await raw.execute(box.id, ("cat", "/root/note"), 10)).stdout == "kept\n"


async def test_pause_freezes_and_resume_goes_on(raw: RawEngine) -> None:
    box = await raw.create(spec(command=["sh", "-c", "while :; do :; done"]), "")
    await raw.pause(box.id)
    assert raw.get(box.id).state == "paused"
    with pytest.raises(errors.Conflict):
        await raw.execute(box.id, ("true",), 20)
    before = Path(f"/proc/{box.pid}/stat").read_text().split()[13:15]
    await asyncio.sleep(0.1)
    assert Path(f"/proc/{box.pid}/stat").read_text().split()[13:15] == before
    await raw.resume(box.id)
    assert raw.get(box.id).state == "running"


async def test_a_paused_sandbox_can_be_stopped(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    await raw.pause(box.id)
    await raw.stop(box.id, 1)
    assert raw.get(box.id).state == "exited"


async def test_a_running_one_is_not_removed_without_force(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    with pytest.raises(errors.Conflict) as refused:
        await raw.remove(box.id, force=False)
    assert "force" in refused.value.hint
    assert raw.get(box.id).state == "running"


async def test_removing_leaves_no_process_cgroup_directory_or_link(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec(), "")
    link = Path(f"/proc/{box.pid}/root/sys/class/net/eth0/iflink").read_text()
    assert link in indexes()
    await raw.remove(box.id, force=True)
    assert not os.path.exists(f"/proc/{box.pid}")
    assert not [path for path in box.cgroups.values() if os.path.exists(path)]
    assert os.listdir(home.data / "sandboxes") == []
    await until(lambda: link not in indexes())
    with pytest.raises(errors.NotFound):
        raw.get(box.id)


def indexes() -> set[str]:
    """Of the host's links, as in /sys."""
    found = set()
    for path in Path("/sys/class/net").glob("*/ifindex"):
        with contextlib.suppress(OSError):  # it has just gone
            found.add(path.read_text())
    return found


async def test_killed_from_outside_is_told_by_its_signal(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    os.kill(box.pid, signal.SIGKILL)
    await until(lambda: raw.get(box.id).state == "exited")
    assert (raw.get(box.id).exit_code, raw.get(box.id).reason) == (137, "killed by SIGKILL")


async def test_a_limit_moves_live_and_clears(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    read = await raw.update_limits(box.id, {"memory": 128 << 20, "pids": None})
    assert (read["memory"].requested, read["memory"].kernel) == (128 << 20, 128 << 20)
    assert (read["pids"].requested, read["pids"].kernel) == (None, None)
    await raw.restart(box.id, 1)
    assert raw.read_limits(box.id)["memory"].kernel == 128 << 20


async def test_exec_gives_both_streams_and_the_exit_code(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    result = await raw.execute(box.id, ("sh", "-c", "echo out; echo err >&2; exit 7"), 10)
    assert (result.exit_code, result.stdout, result.stderr) == (7, "out\n", "err\n")


async def test_exec_of_a_program_that_is_not_there_says_so(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    with pytest.raises(errors.KernelRefused, match="nosuch"):
        await raw.execute(box.id, ("nosuch",), 20)


async def test_exec_that_does_not_end_is_killed(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    with pytest.raises(errors.KernelRefused) as refused:
        await raw.execute(box.id, ("sleep", "100"), 0.2)
    assert refused.value.code == "timed_out"
    await until(lambda: not _others(box))


async def test_a_terminal_is_a_tty_of_the_sandbox(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    terminal = await raw.open_terminal(box.id, (), 33, 101)
    try:
        os.write(terminal.fd, b"tty; stty size; hostname\n")
        seen = b""

        def read() -> bool:
            nonlocal seen
            os.set_blocking(terminal.fd, False)
            with contextlib.suppress(BlockingIOError):
                seen += os.read(terminal.fd, 4096)
            return b"/dev/pts/0" in seen and b"33 101" in seen and b"box\r\n" in seen

        await until(read)
        await terminal.resize(20, 50)
        os.write(terminal.fd, b"stty size\n")
        await until(lambda: read() or b"20 50" in seen)
    finally:
        os.close(terminal.fd)
    await until(lambda: not _others(box))


def _others(box: Container) -> list[int]:
    """Pids in the sandbox's cgroup besides its first process."""
    pids = map(int, Path(box.cgroups["pids"], "cgroup.procs").read_text().split())
    return [pid for pid in pids if pid != box.pid]
