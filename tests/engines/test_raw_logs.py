"""Logs: read on from where one was, with times that are true, bounded whatever the program does."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.base import LogQuery
from containers_app.engines.raw import RawEngine
from containers_app.kernel import logs
from containers_app.kernel.logs import Logs

from .conftest import Home, spec, until


def times(text: str) -> list[tuple[float, str]]:
    rows = (line.split(" ", 1) for line in text.splitlines())
    return [(datetime.fromisoformat(stamp).timestamp(), said) for stamp, said in rows]


async def test_each_line_has_the_time_at_which_it_came(raw: RawEngine, home: Home) -> None:
    script = "echo one $(date +%s); sleep 1.2; echo two $(date +%s); sleep 1.2; echo three $(date +%s)"
    box = await raw.create(spec(command=["sh", "-c", script]), "")
    await until(lambda: raw.get(box.id).state == "exited")
    read = times((await raw.logs(box.id, LogQuery(timestamps=True))).text)
    assert [said.split()[0] for _, said in read] == ["one", "two", "three"]
    assert all(int(said.split()[1]) <= at + 0.02 for at, said in read)  # never too early; the kernel stamps files by its tick
    written = (home.data / "sandboxes" / box.id / "log").stat().st_mtime
    assert abs(read[-1][0] - written) < 0.002  # the last one's is exact


async def test_since_leaves_out_what_came_before(raw: RawEngine, home: Home) -> None:
    script = "echo old; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo new"
    box = await raw.create(spec(command=["sh", "-c", script]), "")
    await until(lambda: logs.read_marks(str(home.data / "sandboxes" / box.id / "log"))[1])
    await raw.execute(box.id, ("touch", "/tmp/go"), 10)
    await until(lambda: raw.get(box.id).state == "exited")
    (old, _), (new, _) = times((await raw.logs(box.id, LogQuery(timestamps=True))).text)
    assert new > old
    assert (await raw.logs(box.id, LogQuery(since=(old + new) / 2))).text == "new\n"


async def test_a_reader_goes_on_where_it_was_and_misses_nothing(raw: RawEngine) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); [ $((i % 50)) -eq 0 ] && sleep 0.05; done"
    box = await raw.create(spec(command=["sh", "-c", script]), "")
    got, after, ended = "", "", False
    while not ended:
        ended = raw.get(box.id).state == "exited"
        part = await raw.logs(box.id, LogQuery(after=after) if after else LogQuery(tail=100_000))
        got, after = got + part.text, part.next
    assert got == "".join(f"line {number}\n" for number in range(300))
    assert (await raw.logs(box.id, LogQuery(after=after))).text == ""
    assert (await raw.logs(box.id, LogQuery(tail=2))).text == "line 298\nline 299\n"


@pytest.mark.parametrize("cursor", ["-1", "x", "1.5", "²", "9" * 30])
async def test_a_cursor_that_none_gave_is_refused_or_begins_anew(raw: RawEngine, cursor: str) -> None:
    box = await raw.create(spec(command=["echo", "hello"]), "")
    with pytest.raises(errors.InvalidInput):
        await raw.logs(box.id, LogQuery(after=cursor))


async def test_a_log_of_an_earlier_keeper_is_bounded_and_marked_by_the_next(home: Home) -> None:
    engine = home.engine()
    await engine.open(home.changes.append)
    box = await engine.create(spec(command=["sh", "-c", "echo first; sleep 1000"]), "")
    path = home.data / "sandboxes" / box.id / "log"
    home.kill_keeper()
    with path.open("ab") as log:
        log.write(b"second\n")
    home.start_keeper()
    await until(lambda: logs.read_marks(str(path))[1][-1:] and logs.read_marks(str(path))[1][-1][0] == len("first\nsecond\n"))
    await engine.remove(box.id, force=True)
    await engine.close()


def watched(directory: Path) -> tuple[Path, Logs]:
    home = directory / "sandboxes" / "box"
    home.mkdir(parents=True)
    (home / "log").write_bytes(b"")
    return home / "log", Logs(str(directory))


def read(path: Path, query: LogQuery) -> tuple[str, str]:
    from containers_app.engines import raw_logs

    found = raw_logs.read(str(path), query)
    return found.text, found.next


def test_rotation_keeps_offsets_times_and_the_end_of_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BOUND", 8192)
    path, keeper = watched(tmp_path)
    lines = [f"{f'number {number:02}':1023}\n" for number in range(17)]
    for number, line in enumerate(lines):
        with path.open("a") as log:
            log.write(line)
        os.utime(path, (number, number))
        keeper.look()
    assert path.stat().st_size <= 8192 and Path(f"{path}.1").stat().st_size == 8192
    assert read(path, LogQuery(tail=1000)) == ("".join(lines[1:]), str(17 * 1024))
    assert read(path, LogQuery(after=str(16 * 1024))) == (lines[16], str(17 * 1024))
    assert read(path, LogQuery(after="3"))[1] == str(17 * 1024)  # what it names is gone: what is left, from its beginning
    told = times(read(path, LogQuery(timestamps=True))[0])
    assert [at for at, _ in told] == list(range(1, 17))


def test_a_log_made_huge_by_one_call_is_bounded_without_copying_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BOUND", 1000)
    path, keeper = watched(tmp_path)
    with path.open("r+b") as log:
        log.truncate(1 << 40)
    keeper.look()
    assert path.stat().st_size == 0 and Path(f"{path}.1").stat().st_size == 1000


def test_a_log_that_passes_the_bound_again_soon_keeps_less_but_always_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_BOUND", 16384)
    path, keeper = watched(tmp_path)
    for seconds, kept in ((1e9, 16384), (1e9, 1024), (1e9, 1024), (0.0, 16384), (1e9, 1024)):
        monkeypatch.setattr(logs, "KEEP_SECONDS", seconds)
        path.write_bytes(b"x" * 20_000 + b"the last word\n")
        keeper.look()
        assert path.stat().st_size == 0 and Path(f"{path}.1").stat().st_size == kept
        text, following = read(path, LogQuery())
        assert text.endswith("x" * 1000 + "the last word\n") and read(path, LogQuery(after=following)) == ("", following)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """With room for one log and a half."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def room(place: Path) -> int:
    facts = os.statvfs(place)
    return facts.f_bavail * facts.f_frsize


@pytest.mark.parametrize("size", [17 << 20, 64 << 20])
@pytest.mark.parametrize("looked", [False, True])
def test_a_log_that_has_filled_the_disk_is_emptied_and_goes_on(disk: Path, size: int, looked: bool) -> None:
    path, keeper = watched(disk)
    path.write_bytes(b"begin\n")
    if looked:
        keeper.look()
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as log:
        while log.tell() < size:
            log.write(b"x" * 4096)
    if size == 17 << 20:
        with contextlib.suppress(OSError):
            (disk / "other").write_bytes(b"x" * (6 << 20))
    keeper.look()
    assert path.stat().st_size == 0 and room(disk) > 16 << 20
    with path.open("ab") as log:
        log.write(b"more\n")
    keeper.look()
    text, following = read(path, LogQuery())
    assert text == "more\n" and logs.read_marks(str(path))[1][-1][0] == int(following)
    with path.open("ab") as log:
        log.write(b"and more\n")
    assert read(path, LogQuery(after=following))[0] == "and more\n"


@pytest.mark.parametrize("place", ["disk", "tmp_path"])
@pytest.mark.parametrize("said", [b"", b"said\n"])
def test_what_a_program_reserves_without_writing_it_is_bounded_too(
    request: pytest.FixtureRequest, place: str, said: bytes
) -> None:
    path, keeper = watched(request.getfixturevalue(place) / "data")
    path.write_bytes(said)
    keeper.look()
    subprocess.run(["fallocate", "--keep-size", "--length", str(17 << 20), str(path)], check=True)
    assert path.stat().st_size == len(said) and path.stat().st_blocks * 512 >= 17 << 20
    keeper.look()
    assert path.stat().st_blocks == 0 and read(path, LogQuery()) == (said.decode(), str(len(said)))


def test_a_log_made_as_long_as_can_be_again_and_again_is_told_of_all_the_same(disk: Path) -> None:
    """Offsets don't grow past what can be written down."""
    path, keeper = watched(disk)
    for _ in range(6):
        os.truncate(path, 1 << 62)
        keeper.look()
        with path.open("ab") as log:
            log.write(b"more\n")
        keeper.look()
        text, following = read(path, LogQuery())
        assert text.endswith("more\n") and read(path, LogQuery(after=following)) == ("", following)
        again = Logs(str(disk))
        again.look()
        assert again._known == keeper._known


def test_a_log_emptied_by_its_own_program_goes_on(tmp_path: Path) -> None:
    path, keeper = watched(tmp_path)
    path.write_bytes(b"before\n")
    keeper.look()
    path.write_bytes(b"new\n")
    keeper.look()
    assert read(path, LogQuery(after="7")) == ("new\n", "11")
    again = Logs(str(tmp_path))  # another keeper
    with path.open("ab") as log:
        log.write(b"more\n")
    again.look()
    assert read(path, LogQuery(after="11")) == ("more\n", "16")


def test_marks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_MARKS", 10)
    path, keeper = watched(tmp_path)
    for _ in range(100):
        with path.open("ab") as log:
            log.write(b"x\n")
        keeper.look()
    marks = logs.read_marks(str(path))[1]
    assert len(marks) <= 12 and marks[-1][0] == 200 and marks == sorted(marks)


def test_a_character_of_which_only_a_part_is_there_is_left_for_the_next_time(tmp_path: Path) -> None:
    path, _ = watched(tmp_path)
    path.write_bytes("schön".encode()[:4])
    assert read(path, LogQuery()) == ("sch", "3")
    path.write_bytes("schön".encode())
    assert read(path, LogQuery(after="3")) == ("ön", "6")
