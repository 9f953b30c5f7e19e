"""What was asked for through us, on disk: whole whoever writes at the same time, and its version before when one is cut short."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from containers_app.engines.docker_kept import Kept, KeptLimits

SIGNATURE = (None, 1)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "docker_limits.json")


def kept(pids: int) -> Kept:
    return Kept(SIGNATURE, {"pids": pids}, 1.5, {"veth1": 7}, False)


def test_what_is_put_is_there_after_a_restart(path: str) -> None:
    KeptLimits(path).put("a", kept(40))
    again = KeptLimits(path)
    assert again.get("a") == kept(40) and again.links() == [("veth1", 7)]
    again.forget("a")
    assert KeptLimits(path).get("a") is None


def test_many_threads_at_once_leave_all_of_it(path: str) -> None:
    limits = KeptLimits(path)
    with ThreadPoolExecutor(8) as threads:
        for number in range(400):
            threads.submit(limits.put, f"{number % 100}", kept(number))
    again = KeptLimits(path)
    for name in map(str, range(100)):
        assert again.get(name) == limits.get(name) and again.get(name) is not None


def test_of_two_looks_at_once_the_first_counts_and_none_undoes_what_was_asked_meanwhile(path: str) -> None:
    limits = KeptLimits(path)
    before = kept(1)
    limits.put("a", before)
    limits.amend("a", before, kept(2))
    limits.amend("a", before, kept(3))
    assert limits.get("a") == kept(2)


@pytest.mark.parametrize("spoilt", [b"", b'{"version": 9, "cont', b"\0\xff" * 40])
def test_one_that_was_cut_short_is_as_before_its_last_change(path: str, spoilt: bytes) -> None:
    limits = KeptLimits(path)
    limits.put("a", kept(1))
    limits.put("a", kept(2))
    Path(path).write_bytes(spoilt)
    again = KeptLimits(path)
    assert again.get("a") == kept(1)
    again.put("b", kept(3))
    assert KeptLimits(path).get("a") == kept(1) and KeptLimits(path).get("b") == kept(3)


def test_what_no_container_has_any_more_goes(path: str) -> None:
    limits = KeptLimits(path)
    for name in "abc":
        limits.put(name, kept(1))
    limits.only(["b"])
    assert [name for name in "abc" if KeptLimits(path).get(name)] == ["b"]
