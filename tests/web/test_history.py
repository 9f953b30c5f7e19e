"""The container's recent numbers through the API."""

import time

import msgspec
import pytest

from containers_app.worker.protocol import HostStats, Stats, StatsFrame

SPEC = {"name": "web-1", "image": "busybox", "command": ["sleep", "1000"]}
HOST = HostStats(None, 2, None, 0, 0.0, {})
UNKNOWN = Stats(*[None] * len(Stats.__struct_fields__))


def remember(worker, id, count, step, **fields):
    now = time.time()
    for number in range(count):
        frame = StatsFrame(now - (count - 1 - number) * step, HOST, {id: msgspec.structs.replace(UNKNOWN, **fields)})
        worker.history.record(frame)


async def test_the_last_five_minutes_come_in_seconds(as_olga, worker):
    id = (await as_olga.post("/containers", SPEC)).body["id"]
    remember(worker, id, 20, 1.0, cpu=0.25, memory=5 << 20, pids=2)
    answer = await as_olga.get("/containers/web-1/history")
    assert answer.status == 200
    assert answer.body["columns"] == list(Stats.__struct_fields__) and answer.body["step"] == 1
    assert len(answer.body["items"]) == 20
    row = dict(zip(["time", *answer.body["columns"]], answer.body["items"][-1], strict=True))
    assert (row["cpu"], row["memory"], row["pids"], row["net_in"]) == (0.25, 5 << 20, 2, None)
    assert isinstance(row["memory"], int) and isinstance(row["pids"], int)
    assert abs(row["time"] - time.time()) < 5
    assert len((await as_olga.get("/containers/web-1/history?seconds=5")).body["items"]) in (4, 5)


async def test_more_than_five_minutes_come_in_tens_of_seconds(as_olga, worker):
    id = (await as_olga.post("/containers", SPEC)).body["id"]
    remember(worker, id, 100, 10.0, cpu=0.25)
    body = (await as_olga.get("/containers/web-1/history?seconds=7200")).body
    assert body["step"] == 10 and body["columns"][-2:] == ["cpu_max", "memory_max"]
    assert len(body["items"]) == 100
    assert {len(row) for row in body["items"]} == {1 + len(body["columns"])}


async def test_a_container_that_never_ran_has_none(as_olga, worker):
    await as_olga.post("/containers", SPEC | {"start": False})
    assert (await as_olga.get("/containers/web-1/history")).body["items"] == []


@pytest.mark.parametrize("seconds", ["0", "-5", "x", "1.5", "1e999", "99999999999999999999"])
async def test_bad_seconds_are_a_400(as_olga, worker, seconds):
    await as_olga.post("/containers", SPEC)
    assert (await as_olga.get(f"/containers/web-1/history?seconds={seconds}")).status == 400
