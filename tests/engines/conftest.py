"""A raw engine on the real kernel: its own keeper, data and run directory, cgroups, bridge and id range."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from containers_app.engines.policy import Allow, Policy, UidRange
from containers_app.engines.raw import RawEngine
from containers_app.errors import Conflict
from containers_app.kernel import cgroups
from containers_app.kernel.networks import remove_networks
from containers_app.spec import ContainerSpec, parse_container
from tests.engines.docker_engine import daemon, docker  # noqa: F401  fixtures
from tests.places import new_place

KEEPER = Path(cgroups.__file__).parents[1] / "keeper.py"
UID_BASE = 1_900_000_000


@dataclass
class Home:
    """Directories, tag and keeper of one engine under test. ``pytest`` may put its own under a 0700 directory: so it is."""

    data: Path
    run: Path
    tag: str
    keeper: subprocess.Popen[bytes] | None = None
    changes: list[str] = field(default_factory=list)

    def start_keeper(self) -> None:
        command = [sys.executable, "-I", "-S", str(KEEPER), "--run", str(self.run), "--data", str(self.data)]
        with contextlib.suppress(FileNotFoundError):
            (self.run / "keeper.sock").unlink()
        self.keeper = subprocess.Popen(command, start_new_session=True)
        wait_until(lambda: (self.run / "keeper.sock").exists())

    def kill_keeper(self) -> None:
        assert self.keeper is not None
        self.keeper.send_signal(signal.SIGKILL)
        self.keeper.wait()

    def spares(self) -> set[str]:
        """The ids of those that are there; on the host they have control groups and links, as sandboxes do."""
        return set(os.listdir(self.data / "spares"))

    def engine(self, allow: Allow | None = None) -> RawEngine:
        policy = Policy(uids=UidRange(UID_BASE, 65536 * 64), allow=allow or Allow())
        engine = RawEngine(
            node="test", tag=self.tag, data=str(self.data), run=str(self.run), policy=policy,
            cgroups=cgroups.choose(), resolve=lambda name: engine.get(name).pid,
        )  # fmt: skip
        return engine


def wait_until(condition: object, seconds: float = 60.0) -> None:
    """Poll a cheap condition until it holds, at most so long."""
    import time

    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.005)


async def until(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.contextmanager
def new_home() -> Iterator[Home]:
    top = new_place("terrarium-test-")
    (top / "data" / "state").mkdir(parents=True)
    (top / "run").mkdir()
    found = Home(top / "data", top / "run", hashlib.sha256(str(top / "data").encode()).hexdigest()[:6])
    umask = os.umask(0o077)  # as deploy/up has it for keeper and worker
    found.start_keeper()
    try:
        yield found
    finally:
        os.umask(umask)
        with contextlib.ExitStack() as leaving:  # all of it, whatever goes wrong with one
            leaving.callback(shutil.rmtree, top)
            leaving.callback(_end, found)
            leaving.callback(remove_networks, found.tag, str(found.data / "state" / "network.json"))
            _remove_groups(f"terrarium-{found.tag}")


def _end(home: Home) -> None:
    if home.keeper is not None and home.keeper.poll() is None:
        home.keeper.terminate()
        home.keeper.wait(30)


def _remove_groups(top: str) -> None:
    groups = cgroups.choose()
    root = groups.paths(top)
    for path in root.values():
        for name in os.listdir(path) if os.path.isdir(path) else []:
            if os.path.isdir(f"{path}/{name}"):
                child = groups.paths(f"{top}/{name}")
                groups.kill(child)
                wait_until(lambda child=child: _removed(groups, child))
    groups.remove(root)


def _removed(groups: cgroups.Cgroups, paths: dict[str, str]) -> bool:
    """False while what was killed is slow to go."""
    try:
        groups.remove(paths)
    except Conflict:
        return False
    return True


@pytest.fixture
def home() -> Iterator[Home]:
    with new_home() as found:
        yield found


@contextlib.asynccontextmanager
async def in_use(engine: RawEngine, home: Home) -> AsyncIterator[RawEngine]:
    """Opened; what was made with it goes when it is closed."""
    await engine.open(home.changes.append)
    try:
        yield engine
    finally:
        try:
            for container in engine.all():
                await engine.remove(container.id, force=True)
        finally:
            await engine.close()


@pytest.fixture
async def raw(home: Home) -> AsyncIterator[RawEngine]:
    async with in_use(home.engine(), home) as engine:
        yield engine


def spec(name: str = "box", **fields: object) -> ContainerSpec:
    """The defaults of the create form, as the API would send them."""
    return parse_container({"name": name, "limits": {"cpu": 0.5, "memory": "64M", "pids": 50}, **fields})
