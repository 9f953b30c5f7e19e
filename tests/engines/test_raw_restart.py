"""Restart policies on real sandboxes: what starts again, when, how often, and what ends it."""

from __future__ import annotations

import asyncio
import os
import signal

import msgspec
import pytest

from containers_app import errors
from containers_app.engines import raw_restart
from containers_app.engines.raw import RawEngine
from containers_app.engines.raw_removal import remove_everything
from containers_app.engines.raw_store import Ending, Record, Run
from containers_app.kernel import cgroups, procfs
from containers_app.spec import Changes, Restart

from .conftest import Home, spec, until

FAILS = ["sh", "-c", "echo run; exit 3"]
ENDS = ["sh", "-c", "echo run; exit 0"]


async def opened(home: Home) -> RawEngine:
    engine = home.engine()
    await engine.open(home.changes.append)
    return engine


async def dispose(engine: RawEngine) -> None:
    for container in engine.all():
        await engine.remove(container.id, force=True)
    await engine.close()


async def test_on_failure_tries_as_often_as_asked_and_says_so(raw: RawEngine) -> None:
    box = await raw.create(spec(command=FAILS, restart={"policy": "on-failure", "retries": 2}), "")
    await until(lambda: "given up" in raw.get(box.id).reason)
    after = raw.get(box.id)
    assert (after.reason, after.restart_count, after.exit_code) == ("exited 3; given up after 2 attempts", 2, 3)
    assert (after.restart_policy, after.state) == ("on-failure", "exited")


async def test_on_failure_leaves_a_success_alone(raw: RawEngine) -> None:
    box = await raw.create(spec(command=ENDS, restart="on-failure"), "")
    await until(lambda: raw.get(box.id).state == "exited")
    assert (raw.get(box.id).reason, raw.get(box.id).restart_count) == ("exited 0", 0)


@pytest.mark.parametrize("policy", ["unless-stopped", "always"])
async def test_the_others_start_again_after_a_success_too_with_growing_pauses(raw: RawEngine, policy: str) -> None:
    box = await raw.create(spec(command=ENDS, restart=policy), "")
    await until(lambda: raw.get(box.id).restart_count >= 2)
    reasons: set[str] = set()

    def waits() -> bool:
        reasons.add(raw.get(box.id).reason)
        return any("attempt 4" in reason for reason in reasons)

    await until(waits)
    assert "exited 0; restarting after 0.8 s, attempt 4" in reasons


async def test_a_stop_by_a_user_ends_it_also_while_it_waits(raw: RawEngine) -> None:
    lives = await raw.create(spec("lives", command=["sleep", "1000"], restart="always"), "")
    await raw.stop(lives.id, 1)
    waits = await raw.create(spec("waits", command=FAILS, restart="always"), "")
    await until(lambda: "attempt 3" in raw.get(waits.id).reason)
    await raw.stop(waits.id, 1)
    await asyncio.sleep(0.6)  # longer than the pause that it was in
    assert (raw.get(lives.id).reason, raw.get(lives.id).state) == ("stopped with SIGKILL", "exited")
    assert (raw.get(waits.id).reason, raw.get(waits.id).state) == ("exited 3", "exited")
    with pytest.raises(errors.Conflict):
        await raw.stop(waits.id, 1)


async def test_a_kill_by_a_user_ends_it_and_one_from_outside_does_not(raw: RawEngine) -> None:
    box = await raw.create(spec(command=["sleep", "1000"], restart="unless-stopped"), "")
    os.kill(box.pid, signal.SIGKILL)
    await until(lambda: raw.get(box.id).restart_count == 1 and raw.get(box.id).state == "running")
    await raw.kill(box.id, 9)
    await asyncio.sleep(0.3)
    assert (raw.get(box.id).state, raw.get(box.id).reason) == ("exited", "killed by SIGKILL")


async def test_the_policy_changes_live(raw: RawEngine) -> None:
    box = await raw.create(spec(command=["sleep", "1000"]), "")
    await raw.update(box.id, Changes(restart=Restart("always")))
    os.kill(box.pid, signal.SIGKILL)
    await until(lambda: raw.get(box.id).restart_count == 1 and raw.get(box.id).state == "running")
    await raw.update(box.id, Changes(restart=Restart("no")))
    os.kill(raw.get(box.id).pid, signal.SIGKILL)
    await until(lambda: raw.get(box.id).state == "exited")
    assert raw.get(box.id).reason == "killed by SIGKILL"


async def test_removing_one_that_waits_leaves_nothing_that_starts_it(raw: RawEngine) -> None:
    box = await raw.create(spec(command=FAILS, restart="always"), "")
    await until(lambda: "attempt 3" in raw.get(box.id).reason)
    await raw.remove(box.id, force=False)
    await asyncio.sleep(0.6)
    assert raw.all() == []


async def test_a_new_worker_goes_on_with_what_was_due(home: Home) -> None:
    first = await opened(home)
    waits = await first.create(spec("waits", command=FAILS, restart="always"), "")
    await until(lambda: "attempt 2" in first.get(waits.id).reason)
    before = first.get(waits.id).restart_count
    lives = await first.create(spec("lives", command=["sleep", "1000"], restart="always"), "")
    await first.close()
    os.kill(lives.pid, signal.SIGKILL)  # while no worker watches
    second = await opened(home)
    await until(lambda: second.get(waits.id).restart_count > before)
    await until(lambda: second.get(lives.id).state == "running" and second.get(lives.id).restart_count == 1)
    await dispose(second)


async def test_a_keeper_that_is_away_is_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("containers_app.engines.keeper_client.WAIT_SECONDS", 0.2)
    engine = await opened(home)
    box = await engine.create(spec(command=["sleep", "1000"], restart="always"), "")
    home.kill_keeper()
    os.kill(box.pid, signal.SIGKILL)
    await until(lambda: "The keeper is not running" in engine.get(box.id).reason)
    home.start_keeper()
    await until(lambda: engine.get(box.id).state == "running")
    assert engine.get(box.id).reason == ""
    await dispose(engine)


def _rebooted(home: Home, box: str, policy: str, *, stopped: bool) -> None:
    """The record as a restart of the host leaves it: of another boot, "running" or long stopped."""
    path = home.data / "sandboxes" / box / "record.json"
    record = msgspec.json.decode(path.read_bytes(), type=Record)
    assert record.run is not None and record.spec.restart.policy == policy and record.wanted != stopped
    record.run = msgspec.structs.replace(record.run, boot_id="another")
    path.write_bytes(msgspec.json.encode(record))


@pytest.mark.parametrize(
    ("policy", "stopped", "runs"),
    [("no", False, False), ("on-failure", False, False), ("unless-stopped", False, True), ("unless-stopped", True, False),
     ("always", False, True), ("always", True, True)],
)  # fmt: skip
async def test_at_the_hosts_start_begins_what_its_policy_says(home: Home, policy: str, stopped: bool, runs: bool) -> None:
    first = await opened(home)
    box = await first.create(spec(command=["sleep", "1000"], restart=policy), "")
    if stopped:
        await first.stop(box.id, 1)
    await first.close()
    if not stopped:
        os.kill(box.pid, signal.SIGKILL)
        await until(lambda: not os.path.exists(f"/proc/{box.pid}"))
    _rebooted(home, box.id, policy, stopped=stopped)
    second = await opened(home)
    if runs:
        await until(lambda: second.get(box.id).state == "running")
    else:
        await asyncio.sleep(0.4)
        assert second.get(box.id).state == "exited"
    await dispose(second)


async def test_the_end_of_the_instance_ends_what_would_start_again(home: Home) -> None:
    engine = await opened(home)
    box = await engine.create(spec(command=["sleep", "1000"], restart="always"), "")
    await engine.close()
    assert await remove_everything(tag=home.tag, data=str(home.data), run=str(home.run), cgroups=cgroups.choose()) == []
    await until(lambda: not os.path.exists(f"/proc/{box.pid}"))
    again = await opened(home)
    assert again.all() == []
    await again.close()


def test_pauses_double_from_a_tenth_of_a_second_to_a_minute() -> None:
    assert [raw_restart.delay(attempt) for attempt in (1, 2, 3, 10, 11, 500)] == [0.1, 0.2, 0.4, 51.2, 60, 60]


def test_ten_seconds_of_running_begin_the_count_anew() -> None:
    for ran, attempts in ((9.9, 5), (10.0, 1)):
        record = Record(id="x", node="n", spec=spec(restart="always"), owner="", created_at=0.0, uid_base=0, attempts=4)
        record.run = Run("r", procfs.boot_id(), 1, 1, started_at=1000.0)
        raw_restart.decide(record, Ending(1, 0, 1000.0 + ran))
        assert record.attempts == attempts
