"""The worker's side of the conversation with the keeper (drawn in kernel/keeper.py and kernel/plan.py)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import InvalidInput, KernelRefused, WorkerUnavailable
from ..kernel import shaping
from ..kernel.identity import receive_fds
from ..kernel.keeper_socket import MAX_MESSAGE, widen
from ..kernel.launching import MAX_FDS
from ..kernel.plan import Plan, encode

RECONNECT_SECONDS = 0.1
WAIT_SECONDS = 5.0  # for a keeper that is being restarted


class Exit(msgspec.Struct, frozen=True):
    """How a process ended: ``code`` is its exit code, or 128 + ``signal``. ``at`` is Unix seconds."""

    id: str
    run: str
    kind: str
    pid: int
    code: int
    signal: int
    at: float


class KeeperChild(msgspec.Struct, frozen=True):
    id: str
    run: str
    kind: str
    pid: int


class Launched(msgspec.Struct, frozen=True):
    """``pidfd`` and ``terminal`` (-1 without one) now belong to the caller."""

    pid: int
    pidfd: int
    terminal: int = -1


class KeeperRefused(KernelRefused):
    """A step of a launch failed; ``step`` is the operation's name and ``errno`` the kernel's word."""

    def __init__(self, step: str, number: int, text: str) -> None:
        super().__init__(f"The sandbox could not be set up: {step}: {text}", hint=_hint(step, number))
        self.step, self.errno = step, number


def _hint(step: str, number: int) -> str:
    if step == "RunProgram" and number in (2, 13):
        return "Check the command: the program must be in the image and executable."
    if step == "ShapeLink":
        return shaping.NEEDED
    if step == "JoinCgroups" and number == 28:
        return "A CPU set of a parent group is empty."
    if step == "clone3" and number in (28, 11):
        return "The kernel's bound on namespaces or processes is reached; see /proc/sys/user/max_*_namespaces."
    if number == 12 and step in ("clone3", "PrepareView"):
        return "The pid namespace that it joins has just ended, or the kernel has no memory left."
    if step == "PrepareOverlay" and number == 22:
        return "The data directory's file system can't map ids on this kernel; put it on ext4, xfs or btrfs."
    return "The “Commands” view lists the steps in order."


def _nothing() -> None:
    """A launch whose files are there already."""


class KeeperClient:
    """Connects by itself, again and again; ``lost`` and ``found`` tell. Requests wait a moment for a connection."""

    def __init__(self, path: str, *, exited: Callable[[Exit], None], found: Callable[[], None]) -> None:
        self._path, self._exited, self._found = path, exited, found
        self._socket: socket.socket | None = None
        self._connected = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._seq = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    async def open(self) -> None:
        self._connect()
        self._task = asyncio.create_task(self._stay_connected())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._lose()

    async def _stay_connected(self) -> None:
        while True:
            await asyncio.sleep(RECONNECT_SECONDS)
            if self._socket is None and self._connect():
                self._found()

    def _connect(self) -> bool:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            connection.connect(self._path)
            widen(connection)
        except OSError:
            connection.close()
            return False
        self._socket = connection
        asyncio.get_running_loop().add_reader(connection.fileno(), self._readable)
        self._connected.set()
        return True

    def _lose(self) -> None:
        self._connected.clear()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WorkerUnavailable("The keeper stopped answering.", hint="It is restarted; try again."))
        self._waiting.clear()

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data, fds = receive_fds(self._socket, MAX_MESSAGE, MAX_FDS)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._lose()
            return
        message = json.loads(data)
        if message.get("event") == "exited":
            self._exited(msgspec.convert({k: v for k, v in message.items() if k != "event"}, Exit))
            return
        future = self._waiting.pop(message["seq"], None)
        if future is None or future.done():
            for fd in fds:
                os.close(fd)
            return
        future.set_result((message, fds))

    async def _asked(self, request: bytes, fds: list[int]) -> asyncio.Future[tuple[dict[str, Any], list[int]]]:
        """The answer's future; the request has been sent as number ``_seq``."""
        future: asyncio.Future[tuple[dict[str, Any], list[int]]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not self._send(request, fds, future):
                    await self._connected.wait()
        except TimeoutError:
            raise WorkerUnavailable("The keeper is not running.", hint="Run deploy/up again.") from None
        return future

    def _tell(self, request: bytes) -> None:
        """What has no answer. A keeper that has gone meanwhile has ended everything under way."""
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._seq += 1
                self._socket.send(b'{"seq":%d,' % self._seq + request + b"}")

    def _send(self, request: bytes, fds: list[int], future: asyncio.Future[tuple[dict[str, Any], list[int]]]) -> bool:
        """False when there is no keeper at this moment."""
        if self._socket is None:
            return False
        self._seq += 1
        message = b'{"seq":%d,' % self._seq + request + b"}"
        if len(message) > MAX_MESSAGE:  # the keeper would drop us for it, and end every launch of ours that is under way
            raise InvalidInput(
                "All that is asked for here is too long together.", hint="Shorten paths, arguments or environment."
            )
        try:
            socket.send_fds(self._socket, [message], fds)
        except (BrokenPipeError, ConnectionError):
            self._lose()
            return False
        except OSError as error:
            raise KernelRefused(f"The keeper did not take the request: {error.strerror}.", hint="Try again.") from None
        self._waiting[self._seq] = future
        return True

    async def launch(self, plan: Plan, fds: list[int], meanwhile: Callable[[], None] = _nothing) -> Launched:
        """``meanwhile`` makes the files that the plan's root needs, while the keeper forks."""
        request = b'"do":"launch","plan":' + msgspec.json.encode(encode(plan))
        if not plan.root:
            meanwhile()
        future = await self._asked(request, fds)
        if plan.root:
            seq = self._seq
            try:
                meanwhile()
                self._tell(b'"do":"go","launch":%d' % seq)
            except BaseException:
                future.cancel()  # the caller ends the child by its cgroup
                raise
        return await self._launched(future)

    def prepare(self, plan: Plan, fds: list[int]) -> asyncio.Task[Launched]:
        """A launch whose child waits for the rest of its steps. Done when its program runs, or when it has ended before."""
        future: asyncio.Future[tuple[dict[str, Any], list[int]]] = asyncio.get_running_loop().create_future()
        if not self._send(b'"do":"launch","plan":' + msgspec.json.encode(encode(plan)), fds, future):
            raise WorkerUnavailable("The keeper is not running.", hint="Run deploy/up again.")
        task = asyncio.create_task(self._launched(future))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, also where nobody takes it
        return task

    @staticmethod
    async def _launched(future: asyncio.Future[tuple[dict[str, Any], list[int]]]) -> Launched:
        answer, received = await future
        if "error" in answer:
            for fd in received:
                os.close(fd)
            error = answer["error"]
            raise KeeperRefused(error["step"], error["errno"], error["text"])
        return Launched(answer["pid"], received[0], received[1] if len(received) > 1 else -1)

    async def children(self) -> list[KeeperChild]:
        answer, _ = await (await self._asked(b'"do":"list"', []))
        return msgspec.convert(answer["children"], list[KeeperChild])
