"""A disk without room: what is asked is refused in words, what runs goes on, the list is true, and there is always a way to make
room; then what could not be written is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines import raw_spares
from containers_app.engines.raw import RawEngine

from .conftest import Home, spec, until

ENDS_WITH_7 = ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 1 & wait; done"]


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """The data directory on a file system of its own, as full as the test makes it."""
    home.kill_keeper()  # where / is not shared, its mount namespace sees only what was mounted before it was there
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=700", "tmpfs", str(home.data)], check=True)
    (home.data / "state").mkdir()
    home.start_keeper()
    try:
        yield home.data
    finally:
        subprocess.run(["umount", "--lazy", str(home.data)], check=True)


@pytest.fixture(autouse=True)
def without_spares(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come and go by themselves, and with them the room."""
    monkeypatch.setattr(raw_spares, "COUNT", 0)


def fill(disk: Path) -> Path:
    """Nothing can be written, in place of an older version of a record neither, as on a file system that never does that."""
    for version in disk.glob("sandboxes/*/record.json.new"):
        version.unlink()
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (64 << 20))
    return filler


async def opened(home: Home) -> RawEngine:
    engine = home.engine()
    await engine.open(home.changes.append)
    return engine


async def emptied(engine: RawEngine) -> None:
    for container in engine.all():
        await engine.remove(container.id, force=True)
    await engine.close()


def told(engine: RawEngine) -> dict[str, tuple[str, int | None]]:
    return {container.name: (container.state, container.exit_code) for container in engine.all()}


def written(disk: Path) -> dict[str, tuple[str, int | None]]:
    """The same, as a worker would find it that starts now."""
    found = {}
    for path in disk.glob("sandboxes/*/record.json"):
        record = json.loads(path.read_bytes())
        ending = record["ending"] or {"code": None}
        state = "exited" if record["ending"] else "created"
        phase = "paused" if record["paused"] else record["phase"]
        found[record["spec"]["name"]] = (state if phase == "ready" else phase, ending["code"])
    return found


async def test_on_a_full_disk_a_new_sandbox_is_refused_and_the_old_one_can_be_used_and_removed(
    home: Home, small_disk: Path
) -> None:
    engine = await opened(home)
    try:
        box = await engine.create(spec("first"), "")
        old = await engine.create(spec("old", start=False), "")
        filler = fill(small_disk)
        with pytest.raises(errors.TerrariumError) as refused:
            await engine.create(spec("second"), "")
        assert "No space left" in refused.value.message and "room" in refused.value.hint
        with pytest.raises(errors.KernelRefused, match="No space left"):
            await engine.start(old.id)
        assert told(engine) == {"first": ("running", None), "old": ("created", None)}
        assert (await engine.execute(box.id, ("hostname",), 20)).stdout == "first\n"
        await engine.pause(box.id)
        await engine.resume(box.id)
        limits = await engine.update_limits(box.id, {"pids": 40})
        assert limits["pids"].requested == limits["pids"].kernel == 40 and not limits["pids"].drift
        await engine.remove(old.id, force=False)
        filler.unlink()
        await engine.create(spec("second"), "")
    finally:
        await emptied(engine)
    assert os.listdir(small_disk / "sandboxes") == []


@pytest.mark.parametrize("worker", ["goes on", "begins anew"])
async def test_the_end_of_a_sandbox_on_a_full_disk_is_told_and_written_once_there_is_room(
    home: Home, small_disk: Path, worker: str
) -> None:
    engine = await opened(home)
    box = await engine.create(spec(command=ENDS_WITH_7), "")
    log = small_disk / "sandboxes" / box.id / "log"
    await until(lambda: log.read_text() == "ready\n" and written(small_disk) == {"box": ("running", None)})
    filler = fill(small_disk)
    os.kill(box.pid, signal.SIGTERM)
    await until(lambda: engine.get(box.id).state == "exited")
    assert told(engine) == {"box": ("exited", 7)} and written(small_disk) == {"box": ("running", None)}
    code: int | None = 7
    if worker == "begins anew":  # neither it nor the keeper could write how it ended
        await engine.close()
        engine, code = await opened(home), None
        assert told(engine) == {"box": ("exited", None)} and "unknown" in engine.get(box.id).reason
        assert written(small_disk) == {"box": ("running", None)}
    filler.unlink()
    await until(lambda: written(small_disk) == {"box": ("exited", code)})
    await engine.close()
    engine = await opened(home)
    assert told(engine) == {"box": ("exited", code)}
    await emptied(engine)


async def test_worker_and_keeper_begin_anew_on_a_full_disk_and_the_list_is_true(home: Home, small_disk: Path) -> None:
    engine = await opened(home)
    boxes = {name: await engine.create(spec(name), "") for name in ("runs", "paused", "ends")}
    await engine.pause(boxes["paused"].id)
    done = await engine.create(spec("done", command=["sh", "-c", "exit 9"]), "")
    await engine.create(spec("never", start=False), "")
    await until(lambda: engine.get(done.id).state == "exited")
    true = {
        "runs": ("running", None), "paused": ("paused", None), "ends": ("running", None), "done": ("exited", 9),
        "never": ("created", None),
    }  # fmt: skip
    await until(lambda: written(small_disk) == true)
    filler = fill(small_disk)
    await engine.resume(boxes["paused"].id)  # which can't be written; the kernel knows it
    true["paused"] = ("running", None)
    await engine.close()
    engine = await opened(home)
    assert told(engine) == true
    home.kill_keeper()
    assert told(engine) == true
    home.start_keeper()
    async with asyncio.timeout(10):
        while not engine.status().available:
            await asyncio.sleep(0.01)
        await engine.stop(boxes["ends"].id, 0)
    assert told(engine).pop("ends")[0] == "exited"
    assert (await engine.execute(boxes["runs"].id, ("hostname",), 20)).stdout == "runs\n"
    await engine.close()
    engine = await opened(home)
    ends = told(engine)["ends"]  # its code is known as long as init, whose child it was at last, has not reaped it
    assert ends in (("exited", 137), ("exited", None))
    true["ends"] = ends
    assert told(engine) == true and engine.get(boxes["runs"].id).pid == boxes["runs"].pid
    filler.unlink()
    await until(lambda: written(small_disk) == true)
    await emptied(engine)


async def test_a_launch_of_which_nothing_more_could_be_written_is_adopted_on_a_full_disk(home: Home, small_disk: Path) -> None:
    engine = await opened(home)
    box = await engine.create(spec(), "")
    await until(lambda: written(small_disk) == {"box": ("running", None)})
    await engine.close()
    path = small_disk / "sandboxes" / box.id / "record.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(record | {"phase": "starting", "run": record["run"] | {"pid": 0, "start_ticks": 0}}))
    filler = fill(small_disk)
    engine = await opened(home)
    assert told(engine) == {"box": ("running", None)} and engine.get(box.id).pid == box.pid
    filler.unlink()
    await until(lambda: written(small_disk) == {"box": ("running", None)})
    await emptied(engine)
