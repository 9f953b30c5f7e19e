"""A Docker engine under test, on the session's own daemon. What a test made there goes with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.kernel import cgroups
from containers_app.spec import ContainerSpec, parse_container
from tests.dockerd import Dockerd


def docker_spec(name: str, **fields: object) -> ContainerSpec:
    return parse_container({"engine": "docker", "name": name, "image": "busybox", "command": ["sleep", "1000"], **fields})


class Changes:
    """Collects ids; ``until`` waits for a condition that is looked at after each change."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._event = asyncio.Event()

    def __call__(self, container_id: str) -> None:
        self.ids.append(container_id)
        self._event.set()

    async def until(self, condition: object, seconds: float = 20.0) -> None:
        assert callable(condition)
        async with asyncio.timeout(seconds):
            while not condition():
                await self._event.wait()
                self._event.clear()


@asynccontextmanager
async def opened(url: str, kept: str = "/nowhere/kept") -> AsyncIterator[tuple[DockerEngine, Changes]]:
    engine, changes = DockerEngine("docker", url, "test", cgroups.choose(), kept), Changes()
    await engine.open(changes)
    try:
        yield engine, changes
    finally:
        await engine.close()


@pytest.fixture
def daemon(dockerd: Dockerd) -> Iterator[Dockerd]:
    yield dockerd
    dockerd.remove_containers()


@pytest.fixture
async def docker(daemon: Dockerd, tmp_path: Path) -> AsyncIterator[DockerEngine]:
    async with opened(daemon.url, f"{tmp_path}/kept") as (engine, _):
        yield engine
