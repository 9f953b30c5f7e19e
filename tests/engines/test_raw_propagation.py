"""What is mounted on the host appears inside, or the other way round, as far as the mount's propagation says, and no further."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine

from .conftest import Home, spec, until


@pytest.fixture
def shared(tmp_path: Path, home: Home) -> Iterator[Path]:
    """A directory whose mount the host shares, there before the keeper is."""
    place = (tmp_path / "shared").resolve()
    place.mkdir()
    place.chmod(0o755)
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    subprocess.run(["mount", "--make-shared", str(place)], check=True)
    home.kill_keeper()
    home.start_keeper()
    (place / "later").mkdir()
    yield place
    while subprocess.run(["umount", "-R", "-l", str(place)], check=False, capture_output=True).returncode == 0:
        pass


@pytest.fixture
def plain(tmp_path: Path, home: Home) -> Iterator[Path]:
    """The same, unshared."""
    place = (tmp_path / "plain").resolve()
    place.mkdir()
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    subprocess.run(["mount", "--make-private", str(place)], check=True)
    home.kill_keeper()
    home.start_keeper()
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def box_over(home: Home, place: Path, propagation: str, **fields: object) -> tuple[RawEngine, str]:
    engine = home.engine(Allow(bind_paths=(str(place),), shared_mounts=True, capabilities=True))
    await engine.open(home.changes.append)
    mount = {"target": "/srv", "source": str(place), "propagation": propagation}
    try:
        box = await engine.create(spec(mounts=[mount], **fields), "")
    except errors.TerrariumError:
        await engine.close()
        raise
    return engine, box.id


async def close(engine: RawEngine) -> None:
    for container in engine.all():
        await engine.remove(container.id, force=True)
    await engine.close()


def host_mounts(place: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place / "later")], check=True)
    (place / "later" / "there").touch()


@pytest.mark.parametrize(("propagation", "appears"), [("private", False), ("slave", True), ("shared", True)])
async def test_what_the_host_mounts_later_appears_inside_or_not(
    home: Home, shared: Path, propagation: str, appears: bool
) -> None:
    engine, box = await box_over(home, shared, propagation)
    host_mounts(shared)
    seen = await engine.execute(box, ("ls", "/srv/later"), 10)
    assert (seen.stdout == "there\n") == appears, seen
    await close(engine)


@pytest.mark.parametrize(("propagation", "appears"), [("private", False), ("slave", False), ("shared", True)])
async def test_what_the_sandbox_mounts_appears_on_the_host_only_where_it_is_shared(
    home: Home, shared: Path, propagation: str, appears: bool
) -> None:
    fields = {"security": {"capabilities": ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"], "seccomp": "default"}}
    engine, box = await box_over(home, shared, propagation, **fields)
    made = await engine.execute(box, ("mount", "-t", "tmpfs", "inner", "/srv/later"), 10)
    assert made.exit_code == 0, made
    assert os.path.ismount(shared / "later") == appears
    await close(engine)
    if appears:  # and stays there when its maker is gone: it is the host's mount now
        assert os.path.ismount(shared / "later")


@pytest.mark.parametrize("propagation", ["slave", "shared"])
async def test_a_path_that_the_host_does_not_share_is_refused_in_words(home: Home, plain: Path, propagation: str) -> None:
    with pytest.raises(errors.TerrariumError) as refused:
        await box_over(home, plain, propagation)
    assert "make-shared" in refused.value.message


async def test_a_shared_mount_is_the_policys_to_allow(raw: RawEngine) -> None:
    mount = {"target": "/srv", "source": "/srv", "propagation": "shared"}
    with pytest.raises(errors.PolicyRefused) as refused:
        await raw.create(spec(mounts=[mount]), "")
    assert "bind_paths" in refused.value.hint or "shared_mounts" in refused.value.hint


async def test_a_tmpfs_has_nobody_to_share_with(raw: RawEngine) -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        await raw.create(spec(mounts=[{"type": "tmpfs", "target": "/x", "propagation": "slave"}]), "")
    assert refused.value.code == "invalid_mount"
    await until(lambda: raw.all() == [])
