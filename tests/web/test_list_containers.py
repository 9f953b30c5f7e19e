import asyncio
import time

import pytest

from containers_app import mirror


async def names(api, query=""):
    answer = await api.get(f"/containers{query}")
    assert answer.status == 200, answer.body
    return [item["name"] for item in answer.body["items"]]


async def test_the_newest_comes_first(as_staff, worker):
    for number in range(3):
        worker.engine.add(f"web-{number}", created_at=1000.0 + number)
    assert await names(as_staff) == ["web-2", "web-1", "web-0"]


async def test_staff_sees_everything_and_others_what_is_theirs(as_staff, as_olga, as_otto, worker):
    worker.engine.add("olgas", owner="olga")
    worker.engine.add("from-outside", owner="")
    assert sorted(await names(as_staff)) == ["from-outside", "olgas"]
    assert await names(as_olga) == ["olgas"]
    assert await names(as_otto) == []


async def test_a_filter_takes_engine_state_and_words(as_staff, worker):
    worker.engine.add("web-1", state="running", image="nginx")
    worker.engine.add("db", state="exited", image="postgres")
    assert await names(as_staff, "?state=running") == ["web-1"]
    assert await names(as_staff, "?engine=docker") == []
    assert await names(as_staff, "?q=POST") == ["db"]
    assert await names(as_staff, "?q=web&state=exited") == []


async def test_pages_follow_each_other_without_gap_or_double(as_staff, worker):
    for number in range(7):
        worker.engine.add(f"web-{number}", created_at=1000.0 + number // 2)
    found, cursor = [], ""
    for _ in range(4):
        answer = await as_staff.get(f"/containers?limit=2&cursor={cursor}")
        found += [item["name"] for item in answer.body["items"]]
        cursor = answer.body["next"]
    assert cursor is None
    assert len(found) == len(set(found)) == 7


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=-1", "?limit=x", "?cursor=zzz", "?cursor=%00", "?state=happy", "?engine=LXC", "?limit=9" + "9" * 40],
)
async def test_a_bad_query_is_a_400(as_staff, worker, query):
    answer = await as_staff.get("/containers" + query)
    assert (answer.status, bool(answer.code)) == (400, True)


async def test_what_changes_outside_shows_within_a_moment(as_staff, worker):
    assert await names(as_staff) == []
    container = worker.engine.add("late")
    deadline = time.monotonic() + 30
    while await names(as_staff) != ["late"] and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    worker.engine.change(container.id, state="exited")
    while await names(as_staff, "?state=exited") != ["late"] and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    assert await names(as_staff, "?state=exited") == ["late"]


async def test_without_a_worker_it_is_a_503_that_says_so(as_staff, no_worker):
    answer = await as_staff.get("/containers")
    assert (answer.status, answer.code) == (503, "worker_down")
    assert answer.headers["Retry-After"]


async def test_the_list_is_true_again_after_the_worker_was_away(as_staff, worker):
    worker.engine.add("before")
    assert await names(as_staff) == ["before"]
    await worker.server.close()
    worker.engine.add("while-away")
    await worker.open()
    assert sorted(await names(as_staff)) == ["before", "while-away"]


@pytest.fixture
async def long_list(worker, monkeypatch):
    """Of more than a frame between worker and web holds."""
    monkeypatch.setattr("containers_app.worker.protocol.MAX_REPLY", 100_000)
    monkeypatch.setattr("containers_app.worker.registry.PIECE", 20_000)
    return sorted(worker.engine.add(f"web-{number}", labels={"fill": "x" * 1000}).name for number in range(200))


async def test_a_list_that_no_frame_holds_is_told_when_it_is_whole(as_staff, worker, long_list):
    known = mirror.current()
    seen: list[int] = []
    known.listen(lambda _: known.synced or seen.append(len(list(known.all()))), stats=False)
    assert sorted(await names(as_staff)) == long_list
    assert seen and max(seen) < 200


async def test_what_went_while_the_worker_was_away_is_gone_from_a_long_list(as_staff, worker, long_list):
    assert sorted(await names(as_staff)) == long_list
    await worker.server.close()
    gone = worker.engine.containers.popitem()[1]
    await worker.open()
    long_list.remove(gone.name)
    assert sorted(await names(as_staff)) == long_list
    while not mirror.current().synced:
        await asyncio.sleep(0.001)
    assert sorted(one.name for one in mirror.current().all()) == long_list


async def test_a_long_list_can_be_asked_for_and_acted_on_while_the_worker_tells_nothing(as_staff, worker, long_list):
    known = mirror.current()
    await known.ready()
    known._task.cancel()
    known.synced = False
    assert sorted(await names(as_staff)) == long_list
    for name in long_list[::50]:
        assert (await as_staff.delete(f"/containers/{name}")).status == 204
