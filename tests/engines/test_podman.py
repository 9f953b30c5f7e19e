"""Podman 4 where it is not as Docker: what it can't do is refused by name, what it does otherwise is told as it is.

Everything that it has in common with Docker is in test_contract.py.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.errors import Conflict, NotFound, TerrariumError, Unsupported
from containers_app.spec import Changes, NetworkSpec, Restart
from tests.engines.conftest import until
from tests.engines.docker_engine import Changes as Told
from tests.engines.docker_engine import docker_spec, opened
from tests.podman import Podman
from tests.registry import Registry
from tests.registry import registry as registry

SUBNET = f"10.{os.getpid() % 50 + 180}.78.0/24"
ALONE = {"namespaces": {"net": "none"}}


@pytest.fixture
def service(podman: Podman) -> Iterator[Podman]:
    before = set(podman.docker("images", "-q", "--no-trunc").split())
    yield podman
    podman.remove_containers()
    for image in set(podman.docker("images", "-q", "--no-trunc").split()) - before:
        podman.docker("rmi", "-f", image)


@pytest.fixture
async def engine(service: Podman, tmp_path: Path) -> AsyncIterator[tuple[DockerEngine, Told]]:
    async with opened(service.url, f"{tmp_path}/kept") as found:
        yield found


async def test_what_is_made_outside_shows_by_itself(engine: tuple[DockerEngine, Told], service: Podman) -> None:
    podman, told = engine
    assert podman.status().detail.startswith("Podman 4")
    flags = ("-d", "--name", "outside", "--network", "none")
    made = await asyncio.to_thread(service.docker, "run", *flags, "busybox", "sleep", "1000")
    await told.until(lambda: podman.owns(made) and podman.get(made).state == "running")
    await until(lambda: Path(f"/proc/{podman.get(made).pid}/cmdline").read_text() == "sleep\x001000\x00")
    ends = asyncio.create_task(asyncio.to_thread(service.docker, "rm", "-f", "outside"))
    await told.until(lambda: not podman.owns(made))
    await ends


async def test_a_kill_is_answered_whatever_state_it_is_in(engine: tuple[DockerEngine, Told], service: Podman) -> None:
    podman, told = engine
    for name, restart in (("plain", "no"), ("again", "always")):
        made = await podman.create(docker_spec(name, restart={"policy": restart}, **ALONE), "ann")
        terminal = await podman.open_terminal(made.id, (), 24, 80)
        await podman.kill(made.id, signal.SIGKILL)
        await told.until(lambda id=made.id: podman.get(id).state == "exited")
        assert podman.get(made.id).exit_code == 128 + signal.SIGKILL
        os.close(terminal.fd)
    await podman.start("plain")
    await podman.pause("plain")
    await podman.kill("plain", signal.SIGKILL)
    await told.until(lambda: podman.get("plain").state == "exited")


async def test_its_containers_outlive_its_service_which_is_found_again(
    engine: tuple[DockerEngine, Told], service: Podman
) -> None:
    podman, told = engine
    made = await podman.create(docker_spec("lasting", **ALONE), "ann")
    service.kill()
    await told.until(lambda: podman.get(made.id).stale)
    assert podman.get(made.id).state == "unknown" and Path(f"/proc/{made.pid}").exists()
    service.start()
    await told.until(lambda: not podman.get(made.id).stale, 15)
    assert podman.get(made.id).pid == made.pid and podman.get(made.id).state == "running"
    await podman.kill(made.id, signal.SIGKILL)
    await told.until(lambda: podman.get(made.id).state == "exited")


async def test_what_it_can_not_do_is_refused_by_its_name(engine: tuple[DockerEngine, Told]) -> None:
    podman, _ = engine
    made = await podman.create(docker_spec("web", **ALONE), "ann")
    for work in (
        podman.update("web", Changes(restart=Restart("always"))), podman.update("web", Changes(labels={"a": "b"})),
        podman.create(docker_spec("odd", namespaces={"uts": f"container:{made.id}"}), "ann"),
        podman.network_store.create(NetworkSpec("apart", "docker", isolated=True), "ann"),
    ):  # fmt: skip
        with pytest.raises(Unsupported, match="Podman") as raised:
            await work
        assert "Docker" not in raised.value.message and raised.value.hint
    assert [one.name for one in podman.all()] == ["web"] and podman.get("web").restart_policy == "no"


async def test_files_in_memory_are_for_everybody_inside(engine: tuple[DockerEngine, Told]) -> None:
    podman, _ = engine
    mounts = [{"type": "tmpfs", "target": "/scratch", "size": "1M"}]
    await podman.create(docker_spec("web", mounts=mounts, user="1000:1000", **ALONE), "ann")
    assert (await podman.execute("web", ("sh", "-c", "echo x > /scratch/x && stat -c %a /scratch"), 10)).stdout == "1777\n"


async def test_a_network_has_its_subnet_and_is_refused_twice(engine: tuple[DockerEngine, Told]) -> None:
    podman, _ = engine
    store = podman.network_store
    made = await store.create(NetworkSpec("blue", "docker", SUBNET), "ann")
    try:
        assert (made.subnet, made.owner, made.bridge) == (SUBNET, "ann", "")  # it does not tell of its bridge
        assert made in await podman.networks()
        for work in (
            store.create(NetworkSpec("blue", "docker"), "ann"),
            store.create(NetworkSpec("red", "docker", SUBNET), "ann"),
        ):
            with pytest.raises(TerrariumError, match="Podman") as raised:
                await work
            assert 400 <= raised.value.status < 500 and raised.value.hint
    finally:
        await store.remove("blue")
    with pytest.raises(NotFound):
        await store.get("blue")


async def test_an_image_is_pulled_by_layers_kept_while_it_is_used_and_pruned(
    engine: tuple[DockerEngine, Told], service: Podman, registry: Registry, tmp_path: Path
) -> None:
    podman, _ = engine
    name = f"{registry.address}/some/files:v1"
    await asyncio.to_thread(service.docker, "import", "-", name, input=_tar())
    await asyncio.to_thread(service.docker, "push", name)
    await podman.image_store.remove(name, False)
    told = [step async for step in podman.image_store.pull(name)]
    assert told[-1].phase == "done" and told[-1].layers and {layer.phase for layer in told[-1].layers} == {"done"}
    assert name in [image["name"] for image in await podman.images()]
    await podman.create(docker_spec("holder", image=name, command=["/none"], start=False, **ALONE), "ann")
    with pytest.raises(Conflict, match="Podman"):
        await podman.image_store.remove(name, False)
    await podman.remove("holder", False)
    for _ in range(2):  # the second takes the name from the first
        with open(tmp_path / "files.tar", "wb+") as file:
            file.write(_tar())
            file.seek(0)
            assert [step async for step in podman.image_store.import_tar(file, "files:v2")][-1].phase == "done"
    preview = await podman.image_store.prune(preview=True)
    assert len(preview.items) == 1 and (await podman.image_store.prune(preview=False)).items == preview.items
    assert (await podman.image_store.prune(preview=True)).items == []


def _tar() -> bytes:
    """Another image each time."""
    packed, data = io.BytesIO(), os.urandom(1000)
    with tarfile.open(fileobj=packed, mode="w") as tar:
        file = tarfile.TarInfo("data")
        file.size = len(data)
        tar.addfile(file, io.BytesIO(data))
    return packed.getvalue()
