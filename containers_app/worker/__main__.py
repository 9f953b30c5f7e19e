"""The worker: root, asyncio, no Django. ``python -m containers_app.worker --data DATA --run RUN …``

Ends with 0 on SIGTERM or SIGINT and leaves every sandbox running. One worker for each run directory (RUN/worker.lock).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import hashlib
import logging
import os
import pwd
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..engines import build, policy
from ..engines.base import Container, Engine
from ..engines.raw import RawEngine
from ..engines.raw_removal import remove_everything as remove
from ..errors import Conflict, TerrariumError
from ..kernel import procfs
from ..kernel.cgroups import choose
from .commands import Worker, find, handle
from .events import EventLog
from .history import History
from .limit_watch import LimitWatch
from .live import Live
from .registry import Registry
from .sampler import Sampler
from .server import Server

NETWORK_LOOK = 2.0  # seconds between two looks whether Docker has come up, or somebody has flushed our rules

_log = logging.getLogger("worker")


def main(words: list[str]) -> int:
    options = parse(words)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        if options.remove_everything:
            return remove_everything(options)
        with only_one(options.run):
            asyncio.run(serve(options))
    except TerrariumError as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 1
    return 0


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="containers_app.worker", description="Terrarium's worker; deploy/up starts it.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--docker-host", default="", help="URL or NAME=URL, several with commas; its usual place when not given")
    parser.add_argument("--web-uid", type=int, default=0, help="the user of the web half, whose group may use the socket")
    parser.add_argument("--node", default=socket.gethostname())
    parser.add_argument("--remove-everything", action="store_true", help="stop and remove every sandbox and what belongs to them")
    return parser.parse_args(words)


def instance_tag(data: Path) -> str:
    """What the names of this instance's cgroups, links and rules carry: 6 hex digits of its data directory's path."""
    return hashlib.sha256(os.path.realpath(data).encode()).hexdigest()[:6]


@contextlib.contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Hold RUN/worker.lock, and say in RUN/worker.pid who does (pid and start time). Conflict when another worker has it."""
    with open(run / "worker.lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"A worker already runs for {run}.", hint="deploy/down stops it.") from None
        temporary = run / ".worker.pid.new"
        temporary.write_text(f"{os.getpid()} {procfs.start_time(os.getpid())}\n")
        temporary.replace(run / "worker.pid")
        yield


async def serve(options: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    rules = policy.load(options.data / "policy.toml")
    cgroups = choose()
    sampler = Sampler(cgroups)
    history = History(sampler.sample)
    live = Live(history.sample)
    engines = build(
        node=options.node, tag=instance_tag(options.data), data=str(options.data), run=str(options.run),
        docker_host=options.docker_host, policy=rules, cgroups=cgroups, resolve=lambda wanted: find(registry, wanted).pid,
    )  # fmt: skip
    state, web = options.data / "state", options.run / "web"
    state.mkdir(mode=0o700, exist_ok=True)
    watch = LimitWatch(cgroups, lambda container_id: registry.engine_of(container_id).look_again(container_id))
    registry = Registry(engines, EventLog(state / "events.jsonl", options.node), live, Tracker(sampler, history, watch))
    live.open(registry)
    await registry.open()
    raw = engines["raw"]
    assert isinstance(raw, RawEngine)
    worker = Worker(options.node, rules, registry, live, history, cgroups, str(options.data), raw.groups, str(options.run))
    server = Server(web / "worker.sock", options.node, rules.admits, lambda command: handle(worker, command), live)
    web.mkdir(mode=0o750, exist_ok=True)
    server.open(group_of(options.web_uid))
    gc.collect()
    gc.freeze()  # what is here now stays: later collections need not look at it
    _log.info("serving %s as node %s, %d containers", web / "worker.sock", options.node, len(registry.all()))
    minding = (
        asyncio.create_task(keep_networks(engines), name="networks"), asyncio.create_task(history.keep(), name="history"),
        asyncio.create_task(watch.keep(lambda: live.latest is not None), name="limits"),
    )  # fmt: skip
    await stop.wait()
    for task in minding:
        task.cancel()
    _log.info("ending; sandboxes go on")
    await worker.jobs.close()
    await server.close()
    await registry.close()
    sampler.close()


async def keep_networks(engines: Mapping[str, Engine]) -> None:
    """A Docker daemon that starts closes the host's forward chain: open it for our networks again. So when rules are flushed."""
    raw = engines["raw"]
    assert isinstance(raw, RawEngine)
    others = [engine for engine in engines.values() if engine is not raw]
    were_up = {engine.name for engine in others if engine.status().available}
    while True:
        await asyncio.sleep(NETWORK_LOOK)
        up = {engine.name for engine in others if engine.status().available}
        came, were_up = up - were_up, up
        try:
            await (raw.wire.assert_rules() if came else raw.wire.look_after())
        except (TerrariumError, OSError) as error:
            _log.warning("the network's rules: %s", error)


class Tracker:
    """Tells the sampler and the watch of limits which containers run, and the history which are gone for good."""

    def __init__(self, sampler: Sampler, history: History, watch: LimitWatch) -> None:
        self._sampler, self._watch = sampler, watch
        self._history = history

    def update(self, container: Container) -> None:
        if container.state in ("running", "paused") and container.cgroups:
            limits = {name: reading.effective for name, reading in container.limits.items()}
            self._sampler.track(container.id, container.cgroups, container.pid, limits)
            self._watch.track(container.id, container.cgroups)
        else:
            self._sampler.forget(container.id)
            self._watch.forget(container.id)

    def forget(self, container_id: str) -> None:
        self._sampler.forget(container_id)
        self._watch.forget(container_id)
        self._history.forget(container_id)


def group_of(uid: int) -> int:
    """The primary group of the web's user; root's when it has no entry."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return 0


def remove_everything(options: argparse.Namespace) -> int:
    left = asyncio.run(remove(tag=instance_tag(options.data), data=str(options.data), run=str(options.run), cgroups=choose()))
    for line in left:
        print(line, file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
