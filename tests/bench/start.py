"""deploy/bench start: from the worker's request to the program running in a full sandbox, and what follows.

Full is the default of the create form: user namespace and six more, overlay, cgroup limits, seccomp, masked paths, an
address on the bridge. Each peer runs ``true`` to its end, in the same round as ours, and does less: runc has an empty
network and no user namespace, bwrap the host's files, no limits, and no network; docker run is the whole way through a
daemon of the tests' own. The floors are a bare clone3 whose child ends at once, and a bare posix_spawn.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from containers_app.engines.raw import RawEngine
from containers_app.kernel import syscalls as sc
from tests.bench.table import Row, interleave, median, p95, show
from tests.dockerd import NEEDED, Dockerd
from tests.engines.conftest import Home, new_home, spec

ROUNDS = 40
AT_ONCE, BURST = 4, 40
REST = 0.3  # seconds
FLOOR = "posix_spawn of true"
CLONE = "clone3 of a child that ends at once"


class Sandbox:
    """One sandbox's life, a method a step, in the order in which a round takes them."""

    def __init__(self, engine: RawEngine, runner: asyncio.Runner) -> None:
        self._engine, self._runner, self._number, self._id = engine, runner, count(), ""
        self._spec = spec("bench")

    def rest(self) -> None:
        """The engine's loop runs on, as the worker's does all the time: it makes the next spares meanwhile. Not reported."""
        self._runner.run(asyncio.sleep(REST))

    def create(self) -> None:
        asked = msgspec.structs.replace(self._spec, name=f"bench-{next(self._number)}")
        self._id = self._runner.run(self._engine.create(asked, "")).id

    def execute(self) -> None:
        result = self._runner.run(self._engine.execute(self._id, ("true",), 10))
        assert result.exit_code == 0, result

    def open_terminal(self) -> None:
        terminal = self._runner.run(self._engine.open_terminal(self._id, ("echo", "here"), 24, 80))
        assert os.read(terminal.fd, 64).startswith(b"here")
        os.close(terminal.fd)

    def stop(self) -> None:
        self._runner.run(self._engine.stop(self._id, 10))

    def start(self) -> None:
        self._runner.run(self._engine.start(self._id))

    def stop_and_remove(self) -> None:
        self._runner.run(self._engine.stop(self._id, 10))
        self._runner.run(self._engine.remove(self._id, force=False))


async def burst(engine: RawEngine) -> float:
    """Creations a second, so many at a time."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def create(number: int) -> str:
        async with turn:
            return (await engine.create(spec(f"burst-{number}"), "")).id

    begun = time.perf_counter()
    made = await asyncio.gather(*map(create, range(BURST)))
    took = time.perf_counter() - begun
    await asyncio.gather(*(engine.remove(container, force=True) for container in made))
    return BURST / took


def works(peer: str, run: Callable[[], None]) -> bool:
    """crun 1.8 refuses hosts with hybrid control groups, for example."""
    try:
        run()
    except AssertionError as error:
        print(f"{peer} does not run on this host: {error}", file=sys.stderr)
        return False
    return True


def command(*argv: str) -> Callable[[], None]:
    """Run it to its end, by the cheapest way that there is."""
    path = shutil.which(argv[0])
    assert path
    quiet = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]

    def run() -> None:
        _, status = os.waitpid(os.posix_spawn(path, argv, os.environ, file_actions=quiet), 0)
        assert status == 0, argv

    return run


def clone() -> None:
    pid, pidfd = sc.clone3(0)
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)


@contextmanager
def private_dockerd() -> Iterator[Dockerd | None]:
    """None where Docker is not installed."""
    if any(shutil.which(name) is None for name in NEEDED):
        yield None
        return
    daemon = Dockerd(Path(tempfile.mkdtemp(prefix="terrarium-dockerd-")))
    try:
        daemon.prepare()
        daemon.start()
        daemon.import_busybox()
        yield daemon
    finally:
        daemon.close()


@contextmanager
def oci_bundle(rootfs: Path) -> Iterator[Path]:
    """The runtime's own default specification (runc spec) with ``true`` as its program, over the same busybox."""
    bundle = Path(tempfile.mkdtemp(prefix="terrarium-bench-"))
    try:
        subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
        config = json.loads((bundle / "config.json").read_text())
        config["process"] |= {"args": ["true"], "terminal": False}
        config["root"] = {"path": str(rootfs), "readonly": True}
        (bundle / "config.json").write_text(json.dumps(config))
        yield bundle
    finally:
        shutil.rmtree(bundle)


def peers(bundle: Path, docker: Dockerd | None) -> dict[str, Callable[[], None]]:
    found = {CLONE: clone, FLOOR: command("true"), "unshare -mpuinC": command("unshare", "-mpuinC", "--fork", "true")}
    if shutil.which("bwrap"):
        found["bwrap --unshare-all"] = command("bwrap", "--unshare-all", "--ro-bind", "/", "/", "true")
    for runtime in ("crun", "runc"):
        if shutil.which(runtime):
            state = ("--root", str(bundle / runtime), "run", "--bundle", str(bundle), f"terrarium-bench-{os.getpid()}")
            found[runtime] = command(runtime, *state)
    if docker is not None:
        found["docker run --rm"] = command("docker", "-H", docker.url, "run", "--rm", "busybox:latest", "true")
    return {peer: run for peer, run in found.items() if works(peer, run)}


def measure(home: Home) -> list[Row]:
    engine = home.engine()
    with asyncio.Runner() as runner:
        runner.run(engine.open(home.changes.append))
        try:
            with private_dockerd() as docker, oci_bundle(home.data / "images" / "busybox" / "rootfs") as bundle:
                others, box = peers(bundle, docker), Sandbox(engine, runner)
                steps = {
                    "rest": box.rest, "create and start": box.create,
                    "execute true": box.execute, "terminal, to its first byte": box.open_terminal,
                    "stop": box.stop, "start again": box.start, "stop and remove": box.stop_and_remove,
                }  # fmt: skip
                took = interleave(others | steps, ROUNDS)
            rates = sorted(runner.run(burst(engine)) for _ in range(5))
        finally:
            for container in engine.all():
                runner.run(engine.remove(container.id, force=True))
            runner.run(engine.close())
    ours = median(took["create and start"])
    rows = [Row(name, median(took[name]), "ms") for name in others]
    rows += [Row(f"ours: {name}", median(took[name]), "ms", goal) for name, goal in GOALS.items()]
    rows.append(Row(f"ours: starts, {AT_ONCE} at a time", median(rates), "1/s", "goal 200"))
    rows.append(Row("ours: create and start, p95", p95(took["create and start"]), "ms", "goal 8 for the median"))
    rows += [
        Row("ours: create and start, median", ours, "ms", name, ours / median(took[name]))
        for name in sorted(others, key=HEADLINES.count)
    ]
    return rows


HEADLINES = ("runc", "bwrap --unshare-all")  # their ratios come last
GOALS = {
    "start again": "goal 8",
    "stop": "",
    "stop and remove": "goal 20",
    "execute true": "goal 5",
    "terminal, to its first byte": "goal 5",
}


def main() -> None:
    with new_home() as home:
        show("A full sandbox, at the engine", measure(home))


if __name__ == "__main__":
    main()
