"""A real server on a real socket, with an engine over plain child processes: no root engine, no Docker needed."""

from __future__ import annotations

import asyncio
import os
import pty
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from containers_app.engines.base import Container, Engine, EngineStatus, ExecResult, LogQuery, LogText
from containers_app.engines.groups import Groups
from containers_app.engines.policy import Largest, Peers, Policy
from containers_app.errors import Conflict, NotFound
from containers_app.kernel.cgroups import choose
from containers_app.spec import ContainerSpec, LimitReading
from containers_app.worker import protocol
from containers_app.worker.client import WorkerClient
from containers_app.worker.commands import Worker, handle
from containers_app.worker.events import EventLog
from containers_app.worker.history import History
from containers_app.worker.live import Live
from containers_app.worker.registry import Registry
from containers_app.worker.sampler import Sampler
from containers_app.worker.server import Server
from tests.groups import cgroups as cgroups
from tests.groups import spawn as spawn


class PtyTerminal:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    async def resize(self, rows: int, columns: int) -> None:
        raise AssertionError("its holder sizes a pty")


class SocketTerminal:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.sizes: list[tuple[int, int]] = []

    async def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))


class ProcessEngine:
    """Containers that are child processes and nothing more."""

    name = "raw"

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.shells: list[subprocess.Popen[bytes]] = []
        self.sockets: list[socket.socket] = []
        self.terminals: list[SocketTerminal] = []
        self.changed = lambda _: None
        self.crash = False

    async def open(self, changed) -> None:
        self.changed = changed

    async def close(self) -> None:
        for process in (*self.processes.values(), *self.shells):
            process.kill()
            process.wait()
        for end in self.sockets:
            end.close()

    def status(self) -> EngineStatus:
        return EngineStatus(self.name, True, "plain processes")

    def owns(self, container_id: str) -> bool:
        return container_id in self.containers

    def all(self) -> list[Container]:
        return list(self.containers.values())

    def get(self, container_id: str) -> Container:
        if self.crash:
            raise RuntimeError("a secret of the worker")
        if container_id not in self.containers:
            raise NotFound("There is no such container.")
        return self.containers[container_id]

    def change(self, container_id: str, **fields) -> Container:
        self.containers[container_id] = container = msgspec.structs.replace(self.containers[container_id], **fields)
        self.changed(container_id)
        return container

    def add(self, name: str, **fields) -> Container:
        """One without a process, made now."""
        known = {"state": "created", "image": "busybox", "created_at": time.time(), **fields}
        container = Container(id=secrets.token_hex(6), node="here", engine=self.name, name=name, **known)
        self.containers[container.id] = container
        self.changed(container.id)
        return container

    async def create(self, spec: ContainerSpec, owner: str) -> Container:
        container = self.add(spec.name, image=spec.image, command=spec.command, owner=owner)
        if spec.start:
            await self.start(container.id)
        return self.containers[container.id]

    async def start(self, container_id: str) -> None:
        container = self.get(container_id)
        if container.state == "running":
            raise Conflict(f"{container.name} is running already.", hint="Restart it.")
        process = self.processes[container_id] = subprocess.Popen(container.command)
        pidfd = os.pidfd_open(process.pid)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            code = process.wait()
            code = code if code >= 0 else 128 - code
            self.change(container_id, state="exited", pid=0, exit_code=code, reason=f"exited {code}", finished_at=time.time())

        loop.add_reader(pidfd, ended)
        self.change(container_id, state="running", pid=process.pid, started_at=time.time())

    async def stop(self, container_id: str, timeout: float | None) -> None:
        await self.kill(container_id, signal.SIGTERM)

    async def kill(self, container_id: str, signal: int) -> None:
        self.processes[container_id].send_signal(signal)
        while self.get(container_id).state == "running":
            await asyncio.sleep(0.001)

    async def restart(self, container_id: str, timeout: float | None) -> None:
        await self.stop(container_id, timeout)
        await self.start(container_id)

    async def pause(self, container_id: str) -> None:
        self.change(container_id, state="paused")

    async def resume(self, container_id: str) -> None:
        self.change(container_id, state="running")

    async def update(self, container_id: str, changes) -> None:
        self.change(container_id, **({"name": changes.name} if changes.name else {}))

    async def remove(self, container_id: str, force: bool) -> None:
        if container_id in self.processes:
            await self.kill(container_id, signal.SIGKILL)
        self.containers.pop(container_id)
        self.changed(container_id)

    async def execute(self, container_id: str, argv: tuple[str, ...], timeout: float, namespaces=()) -> ExecResult:
        process = await asyncio.create_subprocess_exec(*argv, stdout=-1, stderr=-1)
        try:
            out, err = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise Conflict("It took too long.") from None
        return ExecResult(process.returncode or 0, out.decode(), err.decode())

    async def open_terminal(self, container_id: str, argv: tuple[str, ...], rows: int, columns: int):
        if argv == ("socket",):
            ours, theirs = socket.socketpair()
            self.sockets.append(theirs)
            self.terminals.append(SocketTerminal(ours.detach()))
            return self.terminals[-1]
        fd, shell = shell_on_pty()
        self.shells.append(shell)
        return PtyTerminal(fd)

    def look_again(self, container_id: str) -> None: ...

    def read_limits(self, container_id: str) -> dict[str, LimitReading]:
        return self.get(container_id).limits

    async def update_limits(self, container_id: str, changes):
        limits = dict(self.get(container_id).limits)
        limits |= {name: LimitReading(value, value, value, "") for name, value in changes.items()}
        return self.change(container_id, limits=limits).limits

    async def logs(self, container_id: str, query: LogQuery) -> LogText:
        return LogText("x" * query.tail, "0")

    def commands(self, container_id: str) -> list[str]:
        return [" ".join(self.get(container_id).command)]

    def security(self, container_id: str) -> dict[str, object]:
        return {}

    def preview(self, spec: ContainerSpec) -> list[str]:
        return [" ".join(spec.command)]

    def images(self) -> list[object]:
        return []

    def networks(self) -> list[object]:
        return []


def shell_on_pty(*argv: str) -> tuple[int, subprocess.Popen[bytes]]:
    """(master, process): a shell that owns a new terminal, as a sandbox's does. Killed by whoever asked for it."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        argv or ("/bin/sh",), stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
        env={"PS1": "$ ", "PATH": "/usr/bin:/bin", "TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    return master, process


class Site:
    """A worker without its process: server, registry and engine on this test's event loop."""

    def __init__(self, base: Path, engine: ProcessEngine, policy: Policy, others: Mapping[str, Engine] | None = None) -> None:
        self.others = others or {}
        self.path = base / "worker.sock"
        self.state = base
        self.engine = engine
        self.policy = policy

    async def open(self) -> None:
        cgroups = choose()
        self.sampler = Sampler(cgroups)
        self.history = History(self.sampler.sample)
        self.live = Live(self.history.sample)
        self.registry = Registry(
            {"raw": self.engine, **self.others}, EventLog(self.state / "events.jsonl", "here"), self.live, NoTracker()
        )
        self.live.open(self.registry)
        await self.registry.open()
        self.groups_top = cgroups.paths(f"terrarium-t{os.getpid():x}g")
        groups = Groups(f"t{os.getpid():x}g", str(self.state), cgroups)
        groups.open()
        self.worker = Worker("here", self.policy, self.registry, self.live, self.history, cgroups, str(self.state), groups)
        self.server = Server(self.path, "here", self.policy.admits, lambda command: handle(self.worker, command), self.live)
        self.server.open(os.getgid())

    async def close(self) -> None:
        await self.server.close()
        self.worker.cgroups.remove(self.groups_top)
        await self.registry.close()
        self.sampler.close()


class NoTracker:
    def update(self, container: Container) -> None: ...
    def forget(self, container_id: str) -> None: ...


@pytest.fixture
async def engine():
    return ProcessEngine()


@pytest.fixture
async def site(tmp_path, engine):
    site = Site(tmp_path, engine, Policy(peers=Peers((0,)), limits=Largest(memory="1G")))
    await site.open()
    yield site
    await site.close()


@pytest.fixture
async def client(site):
    client = WorkerClient(site.path)
    yield client
    client.close()


class RawPeer:
    """A peer that sends what it likes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self._path = path
        self._frames = protocol.Frames(protocol.MAX_REPLY)
        self._messages: list[object] = []

    async def __aenter__(self) -> RawPeer:
        await asyncio.get_running_loop().sock_connect(self.socket, str(self._path))
        return self

    async def __aexit__(self, *_) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def message(self, timeout: float = 30.0):
        """The next message; None when the connection was closed."""
        decoder = msgspec.msgpack.Decoder(protocol.FromWorker)
        async with asyncio.timeout(timeout):
            while not self._messages:
                try:
                    data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
                except ConnectionError:
                    data = b""
                if not data:
                    return None
                self._messages += [decoder.decode(body) for body in self._frames.feed(data)]
        return self._messages.pop(0)

    async def greet(self) -> RawPeer:
        await self.send(protocol.frame(protocol.Hello(protocol.VERSION)))
        assert await self.message() == protocol.Hello(protocol.VERSION, "here")
        return self

    async def ask(self, body: bytes, number: int = 1):
        await self.send(protocol.frame(protocol.Request(number, msgspec.Raw(body))))
        return await self.message()


@pytest.fixture
async def peer(site):
    async with RawPeer(site.path) as peer:
        yield await peer.greet()
