"""Images of Docker's: pulled from a registry with progress by layer, imported, loaded, tagged, removed, pruned."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.engines.docker_images import Progress, split
from containers_app.errors import Conflict, EngineUnavailable, NotFound, TerrariumError
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec, opened
from tests.registry import Registry
from tests.registry import registry as registry

LAYERS = 3
LAYER_BYTES = 3 << 20  # which can't be compressed


@pytest.fixture
def images(daemon: Dockerd) -> Iterator[None]:
    """What a test adds to the daemon's images goes with it."""
    before = set(daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines())
    yield
    daemon.remove_containers()
    for line in set(daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()) - before:
        name, _, image_id = line.partition(" ")
        daemon.docker("rmi", "-f", image_id if "<none>" in name else name)


@pytest.fixture
def pushed(daemon: Dockerd, registry: Registry, images: None, tmp_path: Path) -> str:
    """An image of busybox's layer and three more, in the registry and no longer at the daemon. → its name."""
    name = f"{registry.address}/some/layers:v1"
    daemon.docker("run", "--name", "growing", "busybox", "true")
    for number in range(LAYERS):
        (tmp_path / f"file{number}").write_bytes(os.urandom(LAYER_BYTES))
        daemon.docker("cp", str(tmp_path / f"file{number}"), f"growing:/file{number}")
        daemon.docker("commit", "growing", name)
        daemon.docker("rm", "growing")
        daemon.docker("create", "--name", "growing", name, "true")
    daemon.docker("rm", "growing")
    daemon.docker("push", name)
    daemon.docker("rmi", "-f", name)
    return name


async def steps(work: AsyncGenerator[Progress, None]) -> list[Progress]:
    return [progress async for progress in work]


def root_tar(**files: bytes) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            file = tarfile.TarInfo(name)
            file.size = len(data)
            tar.addfile(file, io.BytesIO(data))
    packed.seek(0)
    return packed


async def test_a_pull_tells_of_each_layer_and_every_byte(docker: DockerEngine, pushed: str, daemon: Dockerd) -> None:
    told = await steps(docker.image_store.pull(pushed))
    last = told[-1]
    assert told[0].phase == "asking" and last.phase == "done" and pushed.partition("/")[2] in last.detail
    assert len(last.layers) == LAYERS + 1 and {layer.phase for layer in last.layers} == {"done"}
    assert last.total is not None and last.done == last.total >= LAYERS * LAYER_BYTES
    assert all(layer.done <= layer.total for step in told for layer in step.layers if layer.total)
    assert {layer.phase for step in told for layer in step.layers} >= {"waiting", "extracting", "done"}
    made = await docker.create(docker_spec("pulled", image=pushed), "ann")
    assert made.state == "running" and made.image == pushed
    assert pushed in [image["name"] for image in await docker.images()]


async def test_a_pull_that_is_closed_leaves_no_image(docker: DockerEngine, pushed: str, daemon: Dockerd) -> None:
    async with aclosing(docker.image_store.pull(pushed)) as told:
        async for step in told:
            if step.layers:
                break
    with pytest.raises(NotFound):
        await docker.image_store.remove(pushed, False)
    assert (await steps(docker.image_store.pull(pushed)))[-1].phase == "done"  # and is no hindrance to the next


@pytest.mark.parametrize("name", ["{registry}/some/nothing", "127.0.0.1:1/nobody/there:x"])
async def test_a_pull_of_what_is_nowhere_says_so(docker: DockerEngine, registry: Registry, name: str) -> None:
    with pytest.raises(TerrariumError, match="Docker: ") as raised:
        await steps(docker.image_store.pull(name.format(registry=registry.address)))
    assert raised.value.hint and 400 <= raised.value.status < 500


async def test_a_pull_without_a_tag_is_of_the_latest_only() -> None:
    assert split("busybox") == ("busybox", "latest")
    assert split("localhost:5000/a/b") == ("localhost:5000/a/b", "latest")
    assert split("localhost:5000/a/b:c") == ("localhost:5000/a/b", "c")
    assert split("a/b@sha256:0f") == ("a/b", "sha256:0f")


@pytest.mark.usefixtures("images")
async def test_an_imported_tar_is_an_image_of_its_files(docker: DockerEngine, daemon: Dockerd, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(root_tar(word=b"hello", large=os.urandom(5 << 20)).getvalue())
    with open(tmp_path / "root.tar", "rb") as file:
        told = await steps(docker.image_store.import_tar(file, "from-tar:v2"))
    size = (tmp_path / "root.tar").stat().st_size
    assert told[0].total == size and told[-1].phase == "done" and told[-1].done == size and "sha256:" in told[-1].detail
    daemon.docker("create", "--name", "look", "from-tar:v2", "/none")
    daemon.docker("cp", "look:/word", str(tmp_path / "word"))
    assert (tmp_path / "word").read_bytes() == b"hello"


@pytest.mark.usefixtures("images")
async def test_a_saved_image_is_loaded_with_its_names(docker: DockerEngine, daemon: Dockerd, tmp_path: Path) -> None:
    await docker.image_store.tag("busybox", "other/name:v3")
    daemon.docker("save", "-o", str(tmp_path / "saved.tar"), "other/name:v3")
    await docker.image_store.remove("other/name:v3", False)
    assert "other/name:v3" not in [image["name"] for image in await docker.images()]
    with open(tmp_path / "saved.tar", "rb") as file:
        told = await steps(docker.image_store.load_tar(file))
    assert told[-1].detail == "Loaded image: other/name:v3"
    assert "other/name:v3" in [image["name"] for image in await docker.images()]


@pytest.mark.parametrize("method", ["import", "load"])
async def test_an_archive_that_is_none_is_refused(docker: DockerEngine, tmp_path: Path, method: str) -> None:
    (tmp_path / "no.tar").write_bytes(os.urandom(1 << 20))
    with open(tmp_path / "no.tar", "rb") as file, pytest.raises(TerrariumError, match="Docker: ") as raised:
        store = docker.image_store
        await steps(store.import_tar(file, "from-no-tar:v1") if method == "import" else store.load_tar(file))
    assert 400 <= raised.value.status < 500 and raised.value.hint
    assert "from-no-tar:v1" not in [image["name"] for image in await docker.images()]


async def test_an_image_in_use_is_not_removed(docker: DockerEngine) -> None:
    await docker.create(docker_spec("user"), "ann")
    with pytest.raises(Conflict):
        await docker.image_store.remove("busybox", False)
    with pytest.raises(NotFound):
        await docker.image_store.remove("nothing:here", False)
    assert [image["name"] for image in await docker.images()] == ["busybox"]


@pytest.mark.usefixtures("images")
async def test_a_prune_takes_what_its_preview_says(docker: DockerEngine, daemon: Dockerd, tmp_path: Path) -> None:
    for number in range(3):  # the name goes to the newest, the others stay without
        (tmp_path / "root.tar").write_bytes(root_tar(word=os.urandom(100_000 + number)).getvalue())
        with open(tmp_path / "root.tar", "rb") as file:
            await steps(docker.image_store.import_tar(file, "again:latest"))
        if number == 0:
            daemon.docker("create", "--name", "keeps", "again:latest", "/none")  # this one is used
    preview = await docker.image_store.prune(preview=True)
    assert len(preview.items) == 1 and preview.bytes == 100_001
    assert len(daemon.docker("images", "-q", "--filter", "dangling=true").split()) == 2  # nothing has gone yet
    done = await docker.image_store.prune(preview=False)
    assert set(done.items) >= set(preview.items) and done.bytes == preview.bytes
    assert {image["name"] for image in await docker.images()} == {"busybox", "again"}
    assert (await docker.image_store.prune(preview=True)).items == []


async def test_without_a_daemon_nothing_is_pulled(tmp_path: Path) -> None:
    async with opened(f"unix://{tmp_path}/none.sock") as (engine, _):
        with pytest.raises(EngineUnavailable):
            await steps(engine.image_store.pull("busybox"))
        with pytest.raises(EngineUnavailable), open("/dev/null", "rb") as nothing:
            await steps(engine.image_store.load_tar(nothing))
