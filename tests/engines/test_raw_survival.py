"""Killed at any moment, the worker and the keeper find everything again."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.raw import RawEngine
from containers_app.engines.raw_removal import remove_everything
from containers_app.engines.raw_store import Store
from containers_app.kernel import cgroups
from tests.kernel.test_endings import kernel_keeps_endings

from .conftest import Home, spec, until


async def again(home: Home) -> RawEngine:
    """A new worker over the same directories, as after a crash."""
    engine = home.engine()
    await engine.open(home.changes.append)
    return engine


async def test_a_new_worker_finds_running_sandboxes_running(home: Home) -> None:
    first = await again(home)
    box = await first.create(spec(), "alice")
    await first.close()
    second = await again(home)
    found = second.get(box.id)
    assert (found.state, found.pid, found.owner, found.started_at) == ("running", box.pid, "alice", box.started_at)
    assert (await second.execute(box.id, ("hostname",), 20)).stdout == "box\n"
    await second.remove(box.id, force=True)
    await second.close()


async def test_what_ended_while_no_worker_watched_is_told_with_its_code(home: Home) -> None:
    first = await again(home)
    box = await first.create(spec(command=["sh", "-c", "sleep 0.3; exit 9"]), "")
    await first.close()
    await until(lambda: not os.path.exists(f"/proc/{box.pid}"))
    second = await again(home)
    assert (second.get(box.id).state, second.get(box.id).exit_code) == ("exited", 9)
    assert not [path for path in box.cgroups.values() if os.path.exists(path)]
    await second.remove(box.id, force=False)
    await second.close()


async def test_sandboxes_outlive_the_keeper_and_their_end_is_still_told(home: Home) -> None:
    engine = await again(home)
    box = await engine.create(spec(), "")
    home.kill_keeper()
    assert os.path.exists(f"/proc/{box.pid}")
    os.kill(box.pid, signal.SIGTERM)  # ignored by pid 1 without a handler: it lives
    os.kill(box.pid, signal.SIGKILL)
    await until(lambda: engine.get(box.id).state == "exited")
    home.start_keeper()
    async with asyncio.timeout(30):
        await engine.start(box.id)
    assert engine.get(box.id).state == "running"
    await engine.remove(box.id, force=True)
    await engine.close()


@pytest.mark.parametrize("keeper", ["gone", "another"])
async def test_what_ends_without_its_keeper_is_told_with_its_code_and_signal(home: Home, keeper: str) -> None:
    """By the kernel: for good from 6.15 on, before that for as long as init has not reaped it. Else it is said to be unknown."""
    engine = await again(home)
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 1 & wait; done"
    leaves = await engine.create(spec("leaves", command=["sh", "-c", script]), "")
    killed = await engine.create(spec("killed"), "")
    await until(lambda: (home.data / "sandboxes" / leaves.id / "log").read_text() == "ready\n")
    home.kill_keeper()
    if keeper == "another":
        home.start_keeper()
        await until(lambda: engine.status().available)
    os.kill(leaves.pid, signal.SIGTERM)
    os.kill(killed.pid, signal.SIGKILL)
    for box, code, number in ((leaves, 7, 0), (killed, 137, 9)):
        await until(lambda box=box: engine.get(box.id).state == "exited")
        ending = engine._find(box.id).record.ending
        assert ending is not None
        if kernel_keeps_endings() or ending.code is not None:
            assert (engine.get(box.id).exit_code, ending.signal) == (code, number)
        else:
            assert "unknown" in engine.get(box.id).reason
        await engine.remove(box.id, force=False)
    await engine.close()


async def test_what_has_ended_without_worker_and_keeper_is_told_as_ended_at_once(home: Home) -> None:
    first = await again(home)
    box = await first.create(spec(), "")
    pidfd = os.pidfd_open(box.pid)
    await first.close()
    home.kill_keeper()
    os.kill(box.pid, signal.SIGKILL)
    await asyncio.to_thread(select.select, [pidfd], [], [], 30)
    os.close(pidfd)
    home.start_keeper()
    second = await again(home)
    found = second.get(box.id)  # its code is known as long as init has not reaped it
    assert found.state == "exited" and (found.exit_code == 137 or "unknown" in found.reason)
    await second.remove(box.id, force=False)
    await second.close()


@pytest.mark.parametrize("half", ["made", "removed"])
async def test_half_made_and_half_removed_ones_are_undone(home: Home, half: str) -> None:
    first = await again(home)
    box = await first.create(spec(start=False), "")
    await first.close()
    record = home.data / "sandboxes" / box.id / "record.json"
    if half == "made":  # the record comes last
        record.unlink()
    else:
        record.write_text(record.read_text().replace('"phase":"ready"', '"phase":"removing"'))
    second = await again(home)
    assert second.all() == [] and os.listdir(home.data / "sandboxes") == []
    await second.close()


async def test_where_a_record_is_cut_short_the_version_before_counts_and_what_runs_runs_on(home: Home) -> None:
    first = await again(home)
    box = await first.create(spec(), "alice")
    await first.update_limits(box.id, {"pids": 40})
    await first.close()
    record = home.data / "sandboxes" / box.id / "record.json"
    record.write_bytes(record.read_bytes()[:40])
    second = await again(home)
    found = second.get(box.id)
    assert (found.state, found.pid, found.owner) == ("running", box.pid, "alice")
    await second.remove(box.id, force=True)
    await second.close()


async def test_the_newer_of_two_versions_counts_wherever_it_lies(home: Home) -> None:
    first = await again(home)
    box = await first.create(spec(start=False), "alice")
    await first.update_limits(box.id, {"pids": 40})
    await first.update_limits(box.id, {"pids": 41})
    await first.close()
    record = home.data / "sandboxes" / box.id / "record.json"
    before = record.with_name("record.json.new")
    newer, older = record.read_bytes(), before.read_bytes()
    assert b'"pids":41' in newer and b'"pids":40' in older
    record.write_bytes(older)
    before.write_bytes(newer)
    (found,), half_made, spoilt = Store(str(home.data)).load()
    assert (found.requested["pids"], half_made, spoilt) == (41, [], {})


async def test_a_launch_of_which_the_worker_never_heard_is_adopted(home: Home) -> None:
    first = await again(home)
    box = await first.create(spec(), "")
    await first.close()
    path = home.data / "sandboxes" / box.id / "record.json"
    text = path.read_text().replace('"phase":"running"', '"phase":"starting"').replace(f'"pid":{box.pid},', '"pid":0,')
    path.write_text(text)
    second = await again(home)
    assert (second.get(box.id).state, second.get(box.id).pid) == ("running", box.pid)
    await second.remove(box.id, force=True)
    await second.close()


async def test_remove_everything_leaves_nothing(home: Home) -> None:
    engine = await again(home)
    boxes = [await engine.create(spec(f"box-{number}"), "") for number in range(3)]
    await engine.close()
    left = await remove_everything(tag=home.tag, data=str(home.data), run=str(home.run), cgroups=cgroups.choose())
    assert left == []
    await until(lambda: not [box for box in boxes if os.path.exists(f"/proc/{box.pid}")])
    assert not [name for name in os.listdir("/sys/class/net") if name.startswith(f"tr{home.tag}")]
    assert not list(Path("/sys/fs/cgroup").glob(f"*/terrarium-{home.tag}*"))
    assert os.listdir(home.data / "sandboxes") == []


async def test_without_a_keeper_a_launch_is_refused_and_leaves_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await again(home)
    home.kill_keeper()
    monkeypatch.setattr("containers_app.engines.keeper_client.WAIT_SECONDS", 0.2)
    with pytest.raises(errors.WorkerUnavailable):
        await engine.create(spec(), "")
    assert engine.all() == [] and os.listdir(home.data / "sandboxes") == []
    await engine.close()


async def test_a_control_group_without_a_sandbox_is_removed_with_its_processes_at_the_next_start(home: Home) -> None:
    groups = cgroups.choose()
    paths = groups.create(f"terrarium-{home.tag}/0123456789ab", {})
    orphan = subprocess.Popen(["sleep", "1000"])
    for file in groups.procs_files(paths):
        Path(file).write_text(str(orphan.pid))
    engine = await again(home)
    assert orphan.wait(30) == -signal.SIGKILL
    await until(lambda: not [path for path in paths.values() if os.path.exists(path)])
    await engine.close()


async def test_the_end_of_a_sandbox_is_told_even_when_its_control_group_cannot_be_removed(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await again(home)
    box = await engine.create(spec(), "")
    inside = Path(box.cgroups["pids"], "somebody-elses")
    inside.mkdir()
    lodger = subprocess.Popen(["sleep", "1000"])
    (inside / "cgroup.procs").write_text(str(lodger.pid))  # in this hierarchy alone
    try:
        async with asyncio.timeout(30):
            await engine.stop(box.id, 1)
        assert engine.get(box.id).state == "exited" and "cgroups not removed" in caplog.text
    finally:
        lodger.kill()
        lodger.wait()
    await engine.remove(box.id, force=False)
    await engine.close()


async def test_a_record_cut_short_anywhere_is_spoilt_without_another_version(home: Home) -> None:
    """A power cut may leave any part of it; the rename that puts it there leaves no part to a kill. Of two, one is enough."""
    first = await again(home)
    box = await first.create(spec(start=False, limits={}), "alice")
    await first.close()
    place = home.data / "sandboxes" / box.id
    whole = (place / "record.json").read_bytes()
    for length in range(len(whole)):
        (place / "record.json").write_bytes(whole[:length])
        records, half_made, spoilt = Store(str(home.data)).load()
        assert (records, half_made, list(spoilt)) == ([], [], [box.id]), length
        (place / "record.json.new").write_bytes(whole)
        (loaded,), half_made, spoilt = Store(str(home.data)).load()
        assert (loaded.id, half_made, spoilt) == (box.id, [], {}), length
        (place / "record.json.new").unlink()


async def test_a_first_record_that_was_never_in_its_place_is_that_of_a_half_made_one(home: Home) -> None:
    first = await again(home)
    box = await first.create(spec(start=False), "alice")
    await first.close()
    place = home.data / "sandboxes" / box.id
    (place / "record.json").rename(place / "record.json.new")  # the first save of all was killed before its rename
    engine = await again(home)
    assert engine.all() == [] and os.listdir(home.data / "sandboxes") == []
    await engine.close()


async def test_after_a_restart_of_the_host_each_says_how_it_ended_or_that_nobody_knows(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is gone but the disk, and the kernel's boot id is another; a stranger may have the pid of old."""
    first = await again(home)
    running = await first.create(spec("running"), "")
    paused = await first.create(spec("paused"), "")
    await first.pause(paused.id)
    ended = await first.create(spec("ended", command=["sh", "-c", "exit 9"]), "")
    await until(lambda: first.get(ended.id).state == "exited")
    never = await first.create(spec("never", start=False), "")
    await first.close()
    home.kill_keeper()
    groups = cgroups.choose()
    for box in (running, paused):
        groups.kill(box.cgroups)
        await until(lambda box=box: not os.path.exists(f"/proc/{box.pid}"))
        groups.remove(box.cgroups)
    monkeypatch.setattr("containers_app.kernel.procfs.boot_id", lambda: "another")
    for box in (running, paused):
        path = home.data / "sandboxes" / box.id / "record.json"
        path.write_text(path.read_text().replace(f'"pid":{box.pid},', f'"pid":{os.getpid()},'))
    home.start_keeper()
    second = await again(home)
    states = {box.name: (second.get(box.id).state, second.get(box.id).exit_code) for box in (running, paused, ended, never)}
    assert states == {
        "running": ("exited", None),
        "paused": ("exited", None),
        "ended": ("exited", 9),
        "never": ("created", None),
    }
    assert "unknown" in second.get(running.id).reason.lower() + second.get(paused.id).reason.lower()
    await second.start(paused.id)
    assert second.get(paused.id).state == "running"
    for box in (running, paused, ended, never):
        await second.remove(box.id, force=True)
    await second.close()


async def test_a_worker_killed_before_a_start_was_written_leaves_no_control_group(home: Home) -> None:
    """The groups of a launch are made before the record says "starting"."""
    first = await again(home)
    box = await first.create(spec(), "")
    await first.stop(box.id, 0)
    await first.close()
    groups = cgroups.choose()
    paths = groups.create(f"terrarium-{home.tag}/{box.id}", {})
    second = await again(home)
    assert not [path for path in paths.values() if os.path.exists(path)]
    await second.start(box.id)
    assert second.get(box.id).state == "running"
    await second.remove(box.id, force=True)
    await second.close()
