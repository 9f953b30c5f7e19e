"""Commands and terminals inside of Docker containers: the API's exec, over a stream of our own. Where the keeper can't enter
(docker_enter.py says when), this is the way.

    client.call(exec_create)  ──▶ exec id            POST /exec/ID/start, upgraded ──▶ a two-way pipe to its tty or its outputs
                                                     GET  /exec/ID/json            ──▶ host pid, exit code

The daemon does not hang up: when a terminal's pipe is closed the shell lives on (moby#9098; so with 20.10). The pipe is given
away to the web process, so nobody here sees its end either, but the kernel's table of unix sockets does: ``HangUps`` looks there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
from collections.abc import Mapping
from typing import Any

from ..errors import Conflict, EngineUnavailable, KernelRefused, NotFound, Unsupported
from .base import ExecResult
from .docker_client import DockerClient

MAX_OUTPUT = 1 << 20  # bytes kept of each of stdout and stderr
SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
_NOT_STARTED = (126, 127)  # as shells say "can't be executed" and "not found"
_HEADER = struct.Struct(">BxxxL")  # stream (1 stdout, 2 stderr), length: "Stream format" of the API's attach
_START_SECONDS = 5.0  # for a shell to start in a container that is short of CPU
_HANG_UP_SECONDS = 1.0  # between two looks at the socket table, while there is a terminal


class Outputs:
    """Cuts the multiplexed stream into stdout and stderr; keeps the first ``MAX_OUTPUT`` bytes of each."""

    def __init__(self) -> None:
        self.truncated = False
        self._kept = {1: bytearray(), 2: bytearray()}
        self._rest = bytearray()
        self._stream, self._left = 1, 0

    def feed(self, data: bytes) -> None:
        self._rest += data
        while self._rest:
            if not self._left:
                if len(self._rest) < _HEADER.size:
                    return
                self._stream, self._left = _HEADER.unpack_from(self._rest)
                del self._rest[: _HEADER.size]
            part = self._rest[: self._left]
            del self._rest[: len(part)]
            self._left -= len(part)
            kept = self._kept[2 if self._stream == 2 else 1]
            room = MAX_OUTPUT - len(kept)
            self.truncated |= len(part) > room
            kept += part[:room]

    def text(self, stream: int) -> str:
        return self._kept[stream].decode(errors="replace")


async def execute(client: DockerClient, container: str, argv: tuple[str, ...], timeout: float) -> ExecResult:
    """Run to the end, at most ``timeout`` seconds: then it is killed and KernelRefused (timed_out) is raised."""
    created = await client.call(lambda sdk: sdk.exec_create(container, list(argv)))
    stream = await client.stream("POST", f"/exec/{created['Id']}/start", {"Detach": False, "Tty": False}, upgrade=True)
    outputs = Outputs()
    try:
        async with asyncio.timeout(timeout):
            loop = asyncio.get_running_loop()
            while data := await loop.sock_recv(stream, 1 << 16):
                outputs.feed(data)
    except TimeoutError:
        if await _kill(client, created["Id"]):
            raise KernelRefused(
                f"{argv[0]} did not end within {timeout:g} seconds and was killed.", code="timed_out", hint="Use a terminal."
            ) from None
    except OSError as error:
        raise EngineUnavailable(f"{client.product} closed the connection before the command ended.") from error
    finally:
        stream.close()
    found = await _settled(client, created["Id"])
    return ExecResult(int(found.get("ExitCode") or 0), outputs.text(1), outputs.text(2), outputs.truncated)


async def _settled(client: DockerClient, exec_id: str) -> Mapping[str, Any]:
    """Its end. The output may close a moment before the daemon has noted the exit."""
    for wait in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        await asyncio.sleep(wait)
        found: dict[str, Any] = await client.call(lambda sdk: sdk.exec_inspect(exec_id))
        if not found.get("Running"):
            break
    return found


async def _kill(client: DockerClient, exec_id: str) -> bool:
    """SIGKILL its first process, and see it end; the daemon must be local for that. False: it had ended, only its outputs
    were still held open by what it left behind."""
    if not (await _started(client, exec_id)).get("Running"):
        return False
    pidfd = await _pidfd(client, exec_id)
    if pidfd is None:
        return True
    _send(pidfd, signal.SIGKILL)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(1.0):  # longer only in uninterruptible sleep
            await ended.wait()
    except TimeoutError:
        return True
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    return True


async def _started(client: DockerClient, exec_id: str) -> Mapping[str, Any]:
    """Wait until it runs or has ended (``Running`` tells): the stream opens before the program runs."""
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    wait = 0.002
    while True:
        found: dict[str, Any] = await client.call(lambda sdk: sdk.exec_inspect(exec_id))
        if found.get("Pid") if found.get("Running") else found.get("ExitCode") is not None:
            return found
        if asyncio.get_running_loop().time() > deadline:
            raise EngineUnavailable(f"{client.product} did not start the program in time.", hint="It may be busy; try again.")
        await asyncio.sleep(wait)
        wait = min(wait * 2, 0.1)


async def _pidfd(client: DockerClient, exec_id: str) -> int | None:
    """A pidfd of the exec's first process. Asked twice, so that a pid used anew in between is not taken for it."""
    found = await client.call(lambda sdk: sdk.exec_inspect(exec_id))
    if not client.path or not found.get("Pid"):
        return None
    try:
        pidfd = os.pidfd_open(int(found["Pid"]))
    except OSError:
        return None
    again = await client.call(lambda sdk: sdk.exec_inspect(exec_id))
    if again.get("Running") and again.get("Pid") == found["Pid"]:
        return pidfd
    os.close(pidfd)
    return None


def _send(pidfd: int, number: signal.Signals) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


class DockerTerminal:
    """``fd`` is the upgraded socket: bytes both ways, no tty itself, so the size is set through the API."""

    def __init__(self, client: DockerClient, exec_id: str, fd: int) -> None:
        self._client, self._exec_id, self.fd = client, exec_id, fd

    async def resize(self, rows: int, columns: int) -> None:
        try:
            await self._client.call(lambda sdk: sdk.exec_resize(self._exec_id, height=rows, width=columns))
        except (Conflict, KernelRefused, NotFound):
            # An ended program needs no size. The daemon says that in several ways ("no such exec", "cannot resize a stopped
            # container", "container … is not running"), also a moment before it has noted the end.
            with contextlib.suppress(NotFound):
                if (await _settled(self._client, self._exec_id)).get("Running"):
                    raise


class HangUps:
    """Ends the shells of terminals that nobody holds any more: SIGHUP, then SIGKILL to one that ignores it."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}  # inode of the socket → pidfd of the shell
        self._hung: list[int] = []  # pidfds that had their SIGHUP
        self._task: asyncio.Task[None] | None = None

    def watch(self, fd: int, pidfd: int) -> None:
        self._held[os.fstat(fd).st_ino] = pidfd
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look(), name="docker-hang-ups")

    async def _look(self) -> None:
        while self._held or self._hung:
            await asyncio.sleep(_HANG_UP_SECONDS)
            for pidfd in self._hung:
                _send(pidfd, signal.SIGKILL)
                os.close(pidfd)
            self._hung = []
            open_sockets = _socket_inodes()
            for inode in [inode for inode in self._held if inode not in open_sockets]:
                pidfd = self._held.pop(inode)
                if _send(pidfd, signal.SIGHUP):
                    self._hung.append(pidfd)
                else:
                    os.close(pidfd)

    def close(self) -> None:
        """Terminals outlive the worker; who closes theirs after it must end the shell too (exit)."""
        if self._task is not None:
            self._task.cancel()
        for pidfd in (*self._held.values(), *self._hung):
            os.close(pidfd)
        self._held, self._hung = {}, []


def _socket_inodes() -> set[int]:
    """All unix sockets of our network namespace (proc(5), /proc/net/unix: the inode is the seventh column)."""
    with open("/proc/net/unix", "rb") as file:
        next(file)
        return {int(line.split(None, 7)[6]) for line in file}


async def open_terminal(
    client: DockerClient, hang_ups: HangUps, container: str, argv: tuple[str, ...], rows: int, columns: int
) -> DockerTerminal:
    """argv () is the best shell there is. Unsupported when it can't be started, for example because there is no shell."""

    def create(sdk: Any) -> str:
        environment = {"TERM": "xterm-256color"}
        return str(sdk.exec_create(container, list(argv or SHELL), stdin=True, tty=True, environment=environment)["Id"])

    exec_id = await client.call(create)
    stream = await client.stream("POST", f"/exec/{exec_id}/start", {"Detach": False, "Tty": True}, upgrade=True)
    try:
        terminal = DockerTerminal(client, exec_id, stream.fileno())
        found = await _started(client, exec_id)
        if found.get("Running"):
            await terminal.resize(rows, columns)
            if (pidfd := await _pidfd(client, exec_id)) is not None:
                hang_ups.watch(terminal.fd, pidfd)
        elif found.get("ExitCode") in _NOT_STARTED:
            raise no_such_program(argv)
    except BaseException:
        stream.close()
        raise
    stream.detach()  # when it has ended already, what it said is still to be read
    return terminal


def no_such_program(argv: tuple[str, ...]) -> Unsupported:
    if not argv:
        hint = "Its image has neither bash nor sh: run another program, or open a toolbox beside it."
        return Unsupported("This container has no shell.", hint=hint)
    return Unsupported(f"{argv[0]} could not be started.", hint="It must be a program in the image.")
