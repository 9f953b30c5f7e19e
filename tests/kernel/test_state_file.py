"""Two versions of a small file: whichever is spoilt, the other one counts, and the next write leaves it alone."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from containers_app.kernel import state_file

SPOILT = [b"", b'{"version": 2, "wo', b"\0" * 64, b'"\xff\xfe"']


@dataclass
class Word:
    version: int
    word: str


def decode(data: bytes) -> Word:
    return Word(**json.loads(data))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "word.json")


def write(path: str, version: int, word: str) -> None:
    state_file.write(path, json.dumps({"version": version, "word": word}).encode())


def test_the_last_version_counts_and_the_one_before_lies_beside_it(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        state_file.read(path, decode)
    write(path, 1, "one, which is longer")
    assert not os.path.exists(path + ".new")
    write(path, 2, "two")
    write(path, 3, "three")
    assert state_file.read(path, decode) == Word(3, "three")
    assert json.loads(Path(path + ".new").read_bytes())["word"] == "two"


@pytest.mark.parametrize("spoilt", SPOILT)
def test_where_one_is_spoilt_the_other_counts_and_outlives_the_next_write_too(path: str, spoilt: bytes) -> None:
    write(path, 1, "one")
    write(path, 2, "two")
    Path(path).write_bytes(spoilt)
    assert state_file.read(path, decode) == Word(1, "one")
    write(path, 2, "again")
    Path(path).write_bytes(spoilt)  # cut short once more: what was good then is there yet
    assert state_file.read(path, decode) == Word(1, "one")
    Path(path + ".new").write_bytes(spoilt)
    assert state_file.read(path, decode) == Word(1, "one")


@pytest.mark.parametrize("spoilt", SPOILT)
def test_where_both_are_spoilt_it_says_so(path: str, spoilt: bytes) -> None:
    write(path, 1, "one")
    write(path, 2, "two")
    for one in (path, path + ".new"):
        Path(one).write_bytes(spoilt)
    with pytest.raises(ValueError, match="can't be read"):
        state_file.read(path, decode)


@pytest.mark.parametrize("hidden", ["", ".new"])
def test_where_the_disk_keeps_one_from_us_the_other_counts(path: str, hidden: str) -> None:
    write(path, 1, "one")
    write(path, 2, "two")
    os.unlink(path + hidden)
    os.symlink(path + hidden, path + hidden)  # which can't be opened: ELOOP
    assert state_file.read(path, decode).word == ("two" if hidden else "one")


def test_where_the_disk_keeps_both_from_us_that_is_told_and_no_word_of_spoilt_state(path: str) -> None:
    for one in (path, path + ".new"):
        os.symlink(one, one)
    with pytest.raises(OSError, match="symbolic links") as refused:
        state_file.read(path, decode)
    assert refused.value.errno == errno.ELOOP


def test_a_write_that_was_killed_before_the_exchange_counts_when_it_was_whole(path: str) -> None:
    write(path, 1, "one")
    Path(path + ".new").write_text('{"version": 2, "word": "two"}')
    assert state_file.read(path, decode) == Word(2, "two")


def test_a_first_version_that_was_never_renamed_is_none(path: str) -> None:
    Path(path + ".new").write_text('{"version": 1, "word": "one"}')
    with pytest.raises(FileNotFoundError):
        state_file.read(path, decode)


def test_what_is_removed_is_gone_in_both_versions(path: str) -> None:
    write(path, 1, "one")
    write(path, 2, "two")
    state_file.remove(path)
    state_file.remove(path)
    assert os.listdir(os.path.dirname(path)) == []


def test_a_write_that_the_disk_refuses_leaves_the_last_version(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, 1, "one")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
    with pytest.raises(OSError, match="No space left") as refused:
        write(path, 2, "two")
    assert refused.value.errno == errno.ENOSPC and state_file.read(path, decode) == Word(1, "one")
