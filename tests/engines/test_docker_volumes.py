"""Volumes of Docker's: made, used, removed; a prune takes what its preview says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.errors import Conflict, NotFound
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec

NAMES = ("kept", "lone", "other")


@pytest.fixture(autouse=True)
def volumes(daemon: Dockerd) -> Iterator[None]:
    yield
    daemon.remove_containers()
    daemon.docker("volume", "rm", "-f", *NAMES)


def on(name: str) -> list[dict[str, object]]:
    return [{"type": "volume", "source": name, "target": "/kept"}]


async def test_a_volume_outlives_its_containers(docker: DockerEngine) -> None:
    made = await docker.volume_store.create("kept", "ann")
    assert (made.name, made.driver, made.owner, made.used_by) == ("kept", "local", "ann", ())
    assert Path(made.path).is_dir() and made.created_at is not None and made.created_at > 1e9
    first = await docker.create(docker_spec("first", mounts=on("kept")), "ann")
    await docker.execute("first", ("sh", "-c", "echo word > /kept/file"), 10)
    assert (Path(made.path) / "file").read_text() == "word\n"
    assert [one.used_by for one in await docker.volume_store.all() if one.name == "kept"] == [(first.id,)]
    with pytest.raises(Conflict):
        await docker.volume_store.remove("kept")
    await docker.remove("first", force=True)
    await docker.create(docker_spec("second", mounts=on("kept")), "ann")
    assert (await docker.execute("second", ("cat", "/kept/file"), 10)).stdout == "word\n"
    await docker.remove("second", force=True)
    await docker.volume_store.remove("kept")
    assert not Path(made.path).exists()
    with pytest.raises(NotFound):
        await docker.volume_store.remove("kept")


async def test_a_prune_takes_what_its_preview_says(docker: DockerEngine) -> None:
    store = docker.volume_store
    for name in NAMES:
        await store.create(name, "ann")
    await docker.create(docker_spec("user", mounts=on("kept"), start=False), "ann")
    await docker.create(docker_spec("writer", mounts=on("lone")), "ann")
    await docker.execute("writer", ("sh", "-c", "head -c 12345 /dev/zero > /kept/file"), 10)
    await docker.remove("writer", force=True)
    preview = await store.prune(preview=True)
    assert preview.items == ["lone", "other"] and preview.bytes == 12345
    assert {one.name for one in await store.all()} == set(NAMES)
    assert await store.prune(preview=False) == preview
    assert {one.name for one in await store.all()} == {"kept"}
