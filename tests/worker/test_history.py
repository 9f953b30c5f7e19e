"""What is remembered of a container's numbers: from made-up frames, and from a real control group."""

import asyncio
import os
import subprocess
import sys
import time

import pytest

from containers_app.errors import InvalidInput, NotFound
from containers_app.kernel.cgroups import choose
from containers_app.worker import history as histories
from containers_app.worker.history import ROLL_UPS, SECONDS, STEP, History, rolled_up
from containers_app.worker.protocol import History as Remembered
from containers_app.worker.protocol import HostStats, ReadHistory, ReadStats, Stats, StatsFrame
from containers_app.worker.sampler import Sampler

HOST = HostStats(None, 2, None, 0, 0.0, {})
NAMES = Stats.__struct_fields__


def stats(**fields):
    return Stats(*(fields.get(name) for name in NAMES))


def never():
    raise AssertionError("nobody asked for a sample")


@pytest.fixture
def history():
    return History(never)


def fill(history, count, step=1.0, end=None, **fields):
    """``count`` frames with one container, the last at ``end`` (now)."""
    end = time.time() if end is None else end
    for number in range(count):
        row = stats(**{name: value(number) if callable(value) else value for name, value in fields.items()})
        history.record(StatsFrame(end - (count - 1 - number) * step, HOST, {"one": row}))


def column(remembered, name):
    place = remembered.columns.index(name) + 1
    return [row[place] for row in remembered.items]


def test_seconds_are_remembered_in_the_columns_of_stats(history):
    fill(history, 3, cpu=0.3, memory=64 << 20, pids=37, throttled=0.5, io_read=1234567.0, net_in=10.0, memory_limit=128 << 20)
    found = history.read("one", 300)
    assert (found.columns, found.step) == (NAMES, 1.0)
    assert [round(later[0] - earlier[0]) for earlier, later in zip(found.items, found.items[1:], strict=False)] == [1, 1]
    row = dict(zip(NAMES, found.items[-1][1:], strict=True))
    assert row == dict.fromkeys(NAMES) | {
        "cpu": 0.3, "memory": 64 << 20, "pids": 37, "throttled": 0.5, "io_read": pytest.approx(1234567, rel=1e-3),
        "net_in": pytest.approx(10, rel=1e-3), "memory_limit": 128 << 20,
    }  # fmt: skip
    assert isinstance(row["memory"], int) and isinstance(row["pids"], int)


def test_only_the_last_five_minutes_are_kept_second_by_second(history):
    fill(history, SECONDS + 50, pids=lambda number: number)
    pids = column(history.read("one", 300), "pids")
    assert pids == list(range(50, SECONDS + 50))[-len(pids) :] and len(pids) >= SECONDS - 1
    assert column(history.read("one", 10), "pids")[-1] == SECONDS + 49
    assert len(history.read("one", 10).items) in (9, 10, 11)


def test_roll_ups_hold_the_mean_and_the_most_of_ten_seconds_and_the_last_count(history):
    fill(
        history, 30, cpu=lambda number: float(number % 10), memory=lambda number: (number % 10) << 20, pids=lambda number: number
    )
    found = history.read("one", 3600)
    assert found.columns == (*NAMES, "cpu_max", "memory_max") and found.step == STEP
    assert column(found, "cpu")[1:] == [pytest.approx(4.5)] * (len(found.items) - 1)
    assert column(found, "cpu_max")[1:] == [9.0] * (len(found.items) - 1)
    assert column(found, "memory_max")[-1] == 9 << 20
    assert column(found, "pids") == [0, 10, 20]


def test_two_hours_of_roll_ups_are_kept_also_when_nobody_watches(history):
    fill(history, ROLL_UPS + 20, step=STEP, cpu=0.5)
    found = history.read("one", 24 * 3600)
    assert len(found.items) == ROLL_UPS
    assert set(column(found, "cpu")) == set(column(found, "cpu_max")) == {0.5}
    assert len(history.read("one", 300).items) in (29, 30, 31)


def test_unknown_stays_unknown_and_does_not_count_in_a_mean(history):
    fill(history, 21, cpu=lambda number: None if number % 2 else 1.0)
    assert set(column(history.read("one", 300), "cpu")) == {None, 1.0}
    assert set(column(history.read("one", 300), "net_in")) == {None}
    assert set(column(history.read("one", 600), "cpu")) == {1.0}
    assert set(column(history.read("one", 600), "memory_max")) == {None}


def test_a_mean_weighs_rows_by_the_time_they_stand_for():
    row = (1.0, 2.0, 3.0)
    assert list(rolled_up([(row, 9.0), ((0.0, 4.0, 8.0), 1.0)])) == [0.9, 2.2, 8.0, 1.0, 4.0]


def test_a_stop_shows_as_a_gap_and_the_history_goes_on_after_it(history):
    now = time.time()
    for number, running in enumerate((True, True, False, False, True)):
        rows = {"one": stats(cpu=1.0, memory_limit=5)} if running else {}
        history.record(StatsFrame(now - 4 + number, HOST, rows))
    found = history.read("one", 60)
    assert column(found, "cpu") == [1.0, 1.0, None, None, 1.0]
    assert column(found, "memory_limit") == [5, 5, None, None, 5]


def test_a_history_begins_when_the_container_does_and_ends_when_it_is_removed(history):
    now = time.time()
    for number in range(5):
        history.record(
            StatsFrame(now - 4 + number, HOST, {"one": stats(pids=1)} | ({"two": stats(pids=2)} if number > 2 else {}))
        )
    assert [len(history.read(name, 60).items) for name in ("one", "two", "three")] == [5, 2, 0]
    history.forget("two")
    history.forget("two")
    assert history.read("two", 60).items == []
    assert len(history.read("one", 60).items) == 5


def test_each_row_has_the_limits_of_its_time(history):
    fill(history, 6, pids=1, pids_limit=lambda number: 10 if number < 3 else 20)
    assert column(history.read("one", 60), "pids_limit") == [10, 10, 10, 20, 20, 20]


def test_numbers_beyond_every_bound_are_kept_as_the_largest(history):
    fill(history, 1, cpu=1e9, memory=1 << 60, pids=1 << 40, io_read=1e30, net_out=1e-30)
    row = dict(zip(NAMES, history.read("one", 60).items[0][1:], strict=True))
    assert row["cpu"] == 65500.0 and row["memory"] > 1 << 41 and row["pids"] > 1 << 21 and row["io_read"] > 1e10
    assert row["net_out"] == 0.0


def test_samples_that_follow_at_once_do_not_push_out_older_ones(history):
    now = time.time()
    for number in range(1000):
        history.record(StatsFrame(now - 10 + number / 100, HOST, {"one": stats(pids=1)}))
    assert 10 <= len(history.read("one", 300).items) <= 12


def test_a_clock_that_is_set_back_loses_no_new_rows(history):
    now = time.time()
    fill(history, 5, end=now + 3600, pids=1)
    fill(history, 5, end=now, pids=2, pids_limit=7)
    found = history.read("one", 300)
    assert (column(found, "pids"), column(found, "pids_limit")) == ([2] * 5, [7] * 5)


def test_a_container_takes_less_than_twenty_kilobytes(history):
    fill(history, 1, pids=1)
    kept = history._containers["one"]
    assert sum(len(ring._bytes) for ring in (kept.seconds, kept.rolled)) < 20_000


async def test_it_samples_by_itself_only_while_nobody_else_does(monkeypatch):
    taken = []

    def take():
        taken.append(clock.now)
        if len(taken) == 1:
            raise RuntimeError("a file vanished")
        return StatsFrame(clock.now, HOST, {})

    clock, step = Clock(), 0.01
    monkeypatch.setattr(histories, "time", clock)
    monkeypatch.setattr(histories, "STEP", step)
    history = History(take)
    keeping = asyncio.create_task(history.keep())
    while len(taken) < 3:
        clock.now += step
        await asyncio.sleep(0)
    before = len(taken)
    for _ in range(5):
        clock.now += 0.9 * step
        history.sample()
        await asyncio.sleep(2 * step)  # it has looked at the clock meanwhile
    assert len(taken) == before + 5
    keeping.cancel()


class Clock:
    """Goes by the test's word."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now

    monotonic = time


async def test_a_real_group_is_remembered_across_its_restart():
    cgroups = choose()
    group = f"terrarium-t{os.getpid():x}h"
    sampler = Sampler(cgroups)
    history = History(sampler.sample)
    paths = cgroups.create(group, {"memory": 64 << 20})

    def join():
        for file in cgroups.procs_files(paths):
            with open(file, "w") as procs:
                procs.write("0")

    try:
        for _ in range(2):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=join)
            try:
                sampler.track("one", paths, process.pid, {"memory": 64 << 20})
                for _ in range(2):
                    history.sample()
                    await asyncio.sleep(0.95)
                history.sample()
            finally:
                process.kill()
                process.wait()
            sampler.forget("one")
            history.sample()
    finally:
        sampler.close()
        cgroups.remove(paths)
    found = history.read("one", 300)
    cpu = column(found, "cpu")
    assert cpu[0] is None and 0.2 < cpu[1] <= 1.2 and 0.2 < cpu[-1] <= 1.2
    assert all(memory is None or 0 < memory < 64 << 20 for memory in column(found, "memory"))
    assert column(found, "memory_limit")[0] == 64 << 20


async def test_the_command_answers_for_containers_that_there_are(client, engine, site):
    one = engine.add("one")
    site.history.record(StatsFrame(time.time(), HOST, {one.id: stats(pids=3)}))
    found = await client.call(ReadHistory(one.id), Remembered)
    assert column(found, "pids") == [3]
    assert (await client.call(ReadHistory(engine.add("two").id, 7200), Remembered)).items == []
    with pytest.raises(NotFound):
        await client.call(ReadHistory("nobody"), Remembered)
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InvalidInput):
            await client.call(ReadHistory(one.id, seconds), Remembered)


async def test_what_others_ask_for_is_remembered_too(client, engine, site):
    """Else their samples would take their time from the next one of the history."""
    one = engine.add("one")
    await client.call(ReadStats(one.id), Stats)
    assert site.history._sampled_at > 0
