"""Limits that somebody else changes are noticed by whoever watches, and settled one way or the other."""

from __future__ import annotations

import os

import pytest

from containers_app.kernel.cgroups import choose, files
from containers_app.worker.limit_watch import LimitWatch


@pytest.fixture
def cgroups():
    return choose()


@pytest.fixture
def group(cgroups):
    top = f"terrarium-t{os.getpid():x}w"
    yield f"{top}/one"
    cgroups.remove(cgroups.paths(top))


@pytest.fixture
def looker(cgroups):
    changed = []
    watch = LimitWatch(cgroups, changed.append)
    watch.found = changed
    return watch


async def looks(watch):
    watch.found.clear()
    await watch.look()
    return list(watch.found)


async def test_only_a_change_is_told_and_only_once(cgroups, group, looker):
    paths = cgroups.create(group, {"pids": 10})
    looker.track("one", paths)
    assert await looks(looker) == ["one"]  # nobody knows since when it is so
    assert await looks(looker) == []
    files.write(f"{paths['pids']}/pids.max", "7")
    assert await looks(looker) == ["one"]
    assert await looks(looker) == []


async def test_a_change_of_the_group_above_is_told_of_all_below(cgroups, group, looker):
    two = group.replace("/one", "/two")
    looker.track("one", cgroups.create(group, {}))
    looker.track("two", cgroups.create(two, {}))
    await looks(looker)
    cgroups.update(cgroups.paths(group.partition("/")[0]), {"memory": 256 << 20})
    assert sorted(await looks(looker)) == ["one", "two"]


async def test_what_is_forgotten_or_gone_is_told_no_more(cgroups, group, looker):
    paths = cgroups.create(group, {})
    looker.track("one", paths)
    await looks(looker)
    cgroups.remove(paths)
    assert await looks(looker) == ["one"]
    looker.forget("one")
    assert await looks(looker) == []
