"""Jobs: two at once, the others in a queue; cancelled, failed, fed and forgotten."""

from __future__ import annotations

import asyncio
import os

import pytest

from containers_app.errors import Conflict, InvalidInput, NotFound, TooLarge
from containers_app.kernel.images.task import Progress
from containers_app.worker import jobs as module
from containers_app.worker.jobs import AT_ONCE, MOST_WAITING, REMEMBERED, Jobs


class Yard:
    """Jobs whose work goes on until it is let go."""

    def __init__(self) -> None:
        self.told = []
        self.jobs = Jobs("here", self.told.append)
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.go: dict[str, asyncio.Event] = {}

    def start(self, name: str, kind: str = "import", owner: str = "olga", **options):
        go = self.go[name] = asyncio.Event()

        async def work(told, stream):
            self.begun.append(name)
            told(Progress("Working", 1, 2))
            try:
                await go.wait()
            finally:
                self.ended.append(name)
            return f"{name} is made."

        return self.jobs.start(kind, name, owner, work, **options)

    async def until(self, job, state: str):
        async with asyncio.timeout(10):
            while self.jobs.get(job.id).state != state:
                await asyncio.sleep(0)
        return self.jobs.get(job.id)


@pytest.fixture
async def yard():
    yard = Yard()
    yield yard
    await yard.jobs.close()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_so_many_go_on_at_once_and_the_next_begins_when_one_ends(yard):
    made = [yard.start(f"i{number}") for number in range(AT_ONCE + 2)]
    await settle()
    assert yard.begun == ["i0", "i1"]
    assert [job.phase for job in yard.jobs.list()] == ["Waiting for its turn", "Waiting for its turn", "Working", "Working"]
    yard.go["i1"].set()
    done = await yard.until(made[1], "done")
    await settle()
    assert yard.begun == ["i0", "i1", "i2"]
    assert done.message == "i1 is made." and done.finished_at >= done.started_at
    assert [job.state for job in yard.told if job.id == made[1].id] == ["running", "running", "done"]


async def test_one_that_waits_is_cancelled_without_having_begun(yard):
    made = [yard.start(f"i{number}") for number in range(AT_ONCE + 1)]
    assert (await yard.jobs.cancel(made[-1].id)).state == "cancelled"
    await settle()
    assert yard.begun == ["i0", "i1"]
    with pytest.raises(Conflict, match="cancelled"):
        await yard.jobs.cancel(made[-1].id)


async def test_one_that_goes_on_is_over_when_its_cancelling_returns(yard):
    first, _, waiting = (yard.start(name) for name in ("a", "b", "c"))
    await settle()
    assert (await yard.jobs.cancel(first.id)).state == "cancelled" and yard.ended == ["a"]
    await settle()
    assert yard.begun == ["a", "b", "c"] and yard.jobs.get(waiting.id).state == "running"


async def test_a_job_that_has_not_taken_its_first_step_is_cancelled_too(yard):
    job = yard.start("a", upload=True)
    cancelled = await yard.jobs.cancel(job.id)
    assert (cancelled.state, cancelled.upload, yard.begun) == ("cancelled", False, [])


async def test_a_failure_keeps_code_sentence_and_hint(yard):
    async def refuses(told, stream):
        raise TooLarge("It is too large.", hint="Make room.", code="image_too_large")

    async def breaks(told, stream):
        raise RuntimeError("a secret of the worker")

    refused, broken = (yard.jobs.start("import", name, "", work) for name, work in (("a", refuses), ("b", breaks)))
    failed = await yard.until(refused, "failed")
    assert (failed.code, failed.message, failed.hint) == ("image_too_large", "It is too large.", "Make room.")
    failed = await yard.until(broken, "failed")
    assert failed.code == "internal" and "secret" not in failed.message + failed.hint


async def test_no_two_jobs_make_the_same_but_an_image_and_a_sandbox_may_share_a_name(yard):
    yard.start("a")
    yard.start("a", kind="clone")
    for kind in ("import", "commit", "clone"):
        with pytest.raises(Conflict) as refused:
            yard.start("a", kind=kind)
        assert refused.value.code == "name_taken"


async def test_more_than_a_queue_of_them_are_refused(yard):
    for number in range(AT_ONCE + MOST_WAITING):
        yard.start(f"i{number}")
    with pytest.raises(TooLarge):
        yard.start("one-more")


async def test_the_oldest_ended_ones_are_forgotten_and_what_goes_on_is_not(yard):
    first = yard.start("first")
    await settle()
    ended = []
    for number in range(REMEMBERED + 2):
        ended.append(yard.start(f"i{number}"))
        yard.go[f"i{number}"].set()
        await yard.until(ended[-1], "done")
    yard.start("last")
    assert len(yard.jobs.list()) == REMEMBERED + 2
    for job in ended[:2]:
        with pytest.raises(NotFound):
            yard.jobs.get(job.id)
    assert yard.jobs.get(first.id).state == "running" and yard.jobs.list()[0].target == "last"


async def test_a_worker_that_ends_ends_them_all(yard):
    made = [yard.start(f"i{number}") for number in range(AT_ONCE + 1)]
    await settle()
    await yard.jobs.close()
    assert [yard.jobs.get(job.id).state for job in made] == ["cancelled"] * 3 and sorted(yard.ended) == ["i0", "i1"]


def reading(jobs: Jobs, name: str):
    """A job that keeps what is uploaded."""
    got = bytearray()

    async def work(told, stream):
        while data := await asyncio.to_thread(os.read, stream, 1 << 16):
            got.extend(data)
        return "read"

    return jobs.start("import", name, "olga", work, upload=True), got


async def test_an_upload_arrives_whole_whatever_is_sent_again(yard):
    job, got = reading(yard.jobs, "a")
    await settle()
    data = os.urandom(1_000_000)
    assert (await yard.jobs.feed(job.id, 0, data[:600_000], False)).received == 600_000
    assert (await yard.jobs.feed(job.id, 0, data[:600_000], False)).received == 600_000  # its answer was lost
    assert (await yard.jobs.feed(job.id, 500_000, data[500_000:700_000], False)).received == 700_000
    for offset in (700_001, -1):
        with pytest.raises(InvalidInput) as refused:
            await yard.jobs.feed(job.id, offset, b"x", False)
        assert refused.value.code == "wrong_offset" and "700000" in refused.value.message
    await yard.jobs.feed(job.id, 700_000, data[700_000:], True)
    await yard.until(job, "done")
    assert bytes(got) == data
    with pytest.raises(Conflict) as refused:
        await yard.jobs.feed(job.id, len(data), b"x", False)
    assert refused.value.code == "not_receiving"


async def test_an_upload_that_waits_takes_nothing_and_says_so_at_once(yard):
    yard.start("a")
    yard.start("b")
    job, got = reading(yard.jobs, "c")
    await settle()
    for _ in range(3):
        with pytest.raises(Conflict) as refused:
            await yard.jobs.feed(job.id, 0, b"x" * (512 << 10), True)
        assert refused.value.code == "waiting" and refused.value.hint
    assert yard.jobs.get(job.id).received == 0
    yard.go["a"].set()
    await settle()
    await yard.jobs.feed(job.id, 0, b"all of it", True)
    await yard.until(job, "done")
    assert bytes(got) == b"all of it"


async def test_an_upload_to_a_job_that_ends_meanwhile_says_why(yard):
    async def refuses(told, stream):
        await asyncio.to_thread(os.read, stream, 10)
        raise TooLarge("It is too large.", hint="Make room.")

    job = yard.jobs.start("import", "a", "", refuses, upload=True)
    await settle()
    with pytest.raises(Conflict, match="too large"):
        while True:
            received = yard.jobs.get(job.id).received
            await yard.jobs.feed(job.id, received, bytes(1 << 19), False)


async def test_an_upload_that_falls_silent_is_given_up(yard, monkeypatch):
    monkeypatch.setattr(module, "IDLE", 0.05)
    job, _ = reading(yard.jobs, "a")
    failed = await yard.until(job, "failed")
    assert failed.code == "idle"
