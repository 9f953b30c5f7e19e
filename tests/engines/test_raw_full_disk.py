"""A disk without room: what is asked is refused in words, what runs goes on, and there is always a way to make room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app import errors

from .conftest import Home, spec


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """A file system of its own below the sandboxes' directory, as full as the test makes it."""
    place = home.data / "sandboxes"
    place.mkdir(mode=0o700)
    home.kill_keeper()  # where / is not shared, its mount namespace sees only what was mounted before it was there
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=400,mode=700", "tmpfs", str(place)], check=True)
    home.start_keeper()
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_on_a_full_disk_a_new_sandbox_is_refused_and_the_old_one_can_be_used_and_removed(
    home: Home, small_disk: Path
) -> None:
    engine = home.engine()
    await engine.open(home.changes.append)
    try:
        box = await engine.create(spec("first"), "")
        filler = small_disk / "filler"
        with pytest.raises(OSError):
            filler.write_bytes(b"x" * (2 << 20))
        with pytest.raises(errors.TerrariumError) as refused:
            await engine.create(spec("second"), "")
        assert "No space left" in refused.value.message and "room" in refused.value.hint
        assert [container.name for container in engine.all()] == ["first"]
        assert (await engine.execute(box.id, ("hostname",), 5)).stdout == "first\n"
        filler.unlink()
        await engine.create(spec("second"), "")
    finally:
        for container in engine.all():
            await engine.remove(container.id, force=True)
        await engine.close()
    assert [entry.name for entry in small_disk.iterdir()] == []
