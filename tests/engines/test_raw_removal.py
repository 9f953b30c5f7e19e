"""What a sandbox has put into its files does not keep them from being removed, nor the engine from opening."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app.engines.raw_removal import remove_everything
from containers_app.kernel import cgroups
from tests.kernel.test_file_tree import nest

from .conftest import Home, in_use, spec, until

LEVELS = 1500  # more than Python's functions may call each other
DIVE = f"i=0; while [ $i -lt {LEVELS} ]; do mkdir a && cd a || exit 1; i=$((i+1)); done"


async def test_a_sandbox_and_an_image_of_a_very_deep_tree_can_be_removed(home: Home) -> None:
    async with in_use(home.engine(), home) as engine:
        box = await engine.create(spec(), "")
        assert (await engine.execute(box.id, ("sh", "-c", DIVE), 60)).exit_code == 0
        await engine.stop(box.id, 0)
        nest(home.data / "images/deep/rootfs", LEVELS)
        await engine.images_of.remove("deep")
        await engine.remove(box.id, force=False)
        assert os.listdir(home.data / "sandboxes") == [] and os.listdir(home.data / "images") == ["busybox"]


def leave(home: Home) -> list[Path]:
    """What a removal, a making, a spare and a job may leave when all are killed."""
    return [
        home.data / "sandboxes/.removed-0123456789ab", home.data / "sandboxes/0123456789cd", home.data / "spares/0123456789ef",
        home.data / "images/.job-0123",
    ]  # fmt: skip


async def test_very_deep_trees_that_were_left_go_at_the_next_start(home: Home) -> None:
    async with in_use(home.engine(), home):
        pass
    for place in leave(home):
        nest(place, LEVELS)
    async with in_use(home.engine(), home):
        assert not [place for place in leave(home) if place.exists()]
        assert os.listdir(home.data / "sandboxes") == [] == os.listdir(home.data / "spares")


@contextlib.contextmanager
def mounted_on(places: list[Path]) -> Iterator[None]:
    """Something that no removal takes, wherever those are moved meanwhile."""
    for place in places:
        place.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        data = places[0].parents[1]
        for mount in (path for pattern in ("*/*", "*/*/mount") for path in data.glob(pattern) if path.is_mount()):
            subprocess.run(["umount", str(mount)], check=True)


async def test_what_cannot_be_removed_is_told_and_the_engine_opens_all_the_same(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    first = home.engine()
    await first.open(home.changes.append)
    box = await first.create(spec(), "")
    await first.close()
    mounted = home.data / "sandboxes/0123456789aa"
    with mounted_on([mounted, *(place / "mount" for place in leave(home))]):
        second = home.engine()
        await second.open(home.changes.append)
        assert [one.id for one in second.all()] == [box.id] and second.get(box.id).pid == box.pid
        assert (await second.create(spec("other"), "")).state == "running"
        await second.close()
        removed, half_made, spare, job = map(str, leave(home))
        gone = half_made.replace("sandboxes/", "sandboxes/.removed-")
        for place in (removed, gone, spare, job):
            assert f"{place} can't be removed whole" in caplog.text
        assert f"sandbox {mounted.name} can't be removed: " in caplog.text
        left = await remove_everything(tag=home.tag, data=str(home.data), run=str(home.run), cgroups=cgroups.choose())
        assert f"sandbox {mounted.name}: " in left[0] and sorted(left[1:]) == sorted([removed, gone])
        await until(lambda: not os.path.exists(f"/proc/{box.pid}"))
    assert await remove_everything(tag=home.tag, data=str(home.data), run=str(home.run), cgroups=cgroups.choose()) == []
    assert os.listdir(home.data / "sandboxes") == [] == os.listdir(home.data / "spares")


async def test_a_sandbox_in_whose_mounts_another_one_goes_on_making_files_can_be_removed(home: Home) -> None:
    """It has joined its mount namespace; the engine opens again while it does."""
    maker = ["sh", "-c", "cd /root; while :; do mkdir -p x/y; echo x > x/y/z; done"]
    first = home.engine()
    await first.open(home.changes.append)
    box = await first.create(spec(), "")
    joined = dict.fromkeys(("mnt", "user"), f"container:{box.id}")
    other = await first.create(spec("other", command=maker, namespaces=joined), "")
    made = home.data / "sandboxes" / box.id / "upper/root/x"
    await until(made.exists)
    await first.stop(box.id, 0)
    await first.remove(box.id, force=False)
    assert [(one.id, one.state) for one in first.all()] == [(other.id, "running")]
    await first.close()
    async with in_use(home.engine(), home) as second:
        assert [(one.id, one.state) for one in second.all()] == [(other.id, "running")]
