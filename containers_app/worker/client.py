"""The web's only door to the worker. Standard library and msgspec; no Django.

    client = shared(path)                                     one per event loop; connects and reconnects by itself
    containers = await client.call(ListContainers(), list[Container])
    opened, fd = await client.call_fd(OpenTerminal(...), TerminalOpened)
    async for push in client.subscribe(("containers", "stats")): ...     Push, or LinkChanged when the worker goes and comes

Failures come back as the errors of containers_app.errors. Without a worker, commands fail at once with
WorkerUnavailable; reads first wait READ_PATIENCE for it to come back, so that a restart is not seen.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import msgspec

from .. import errors
from ..errors import InvalidInput, TerrariumError, WorkerUnavailable
from ..spec import MAX_STOP_TIMEOUT
from . import protocol
from .protocol import Command, Failure, FromWorker, Hello, Push, Reply, Request

T = TypeVar("T")

READ_PATIENCE = 3.0  # seconds that reads wait for a worker that restarts
RETRY = 0.05  # seconds between attempts to connect
ANSWER_TIMEOUT = 60.0  # seconds beyond the command's own timeout; a worker that hangs must not hang the web
CONNECT_TIMEOUT = 5.0
RECEIVE = 1 << 18  # bytes per read
BACKLOG = 64  # pushes not yet taken, after which nothing more is read and the worker merges changes

READS = (
    protocol.ListContainers, protocol.GetContainer, protocol.ReadLimits, protocol.ReadProcesses, protocol.ReadNamespaces,
    protocol.ReadGraph, protocol.ReadStats, protocol.ReadHistory, protocol.ReadMetrics, protocol.ReadLogs, protocol.ReadCommands,
    protocol.ReadSecurity, protocol.PreviewCommands, protocol.ReadHost, protocol.ListImages, protocol.ListNetworks,
    protocol.ListEvents, protocol.GetImage, protocol.ListJobs, protocol.GetJob,
)  # fmt: skip

_ROOM_FOR_FDS = socket.CMSG_SPACE(16 * 4)  # socket.recv_fds would lose the flag that closes them on exec
_HINT = "It is restarting, or has ended; sandboxes run on. deploy/up starts it again."
_messages = msgspec.msgpack.Decoder(FromWorker)
_encode = msgspec.msgpack.Encoder().encode


class LinkChanged(msgspec.Struct, frozen=True):
    """Told to subscribers: the worker has gone (up false) or is there again (a full list follows)."""

    up: bool
    node: str = ""


def _encoded(command: Command) -> msgspec.Raw:
    """InvalidInput: a number in it is longer than any that the worker takes (64 bits)."""
    try:
        return msgspec.Raw(_encode(command))
    except OverflowError:
        raise InvalidInput("A number is out of range.", hint="No number here has more than 18 digits.") from None


class WorkerClient:
    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def call(self, command: Command, result: type[T]) -> T:
        """Send one command; its result as ``result`` (msgspec: a type, a Struct, list[...])."""
        raw, descriptor = await self._exchange(command)
        _close(descriptor)
        return msgspec.msgpack.decode(raw, type=result)

    async def call_fd(self, command: Command, result: type[T]) -> tuple[T, int]:
        """The same for a reply that carries an fd, which is then the caller's to close."""
        raw, descriptor = await self._exchange(command)
        if descriptor < 0:
            raise WorkerUnavailable("The worker's answer lacks the terminal.", hint="Try again.")
        try:
            return msgspec.msgpack.decode(raw, type=result), descriptor
        except BaseException:
            _close(descriptor)
            raise

    async def subscribe(self, topics: tuple[str, ...]) -> AsyncGenerator[Push | LinkChanged, None]:
        """Pushes for ever, on a connection of their own; a slow taker is told the newest, not everything."""
        up: bool | None = None
        while True:
            pushes = _Pushes()
            try:
                link = await _connect(self._path, pushes.put)
            except WorkerUnavailable:
                if up is not False:
                    up = False
                    yield LinkChanged(up=False)
                await asyncio.sleep(RETRY)
                continue
            pushes.link = link
            try:
                await link.request(protocol.Subscribe(topics))
                if up is False:
                    yield LinkChanged(up=True, node=link.node)
                up = True
                while True:
                    yield await pushes.get()
            except TerrariumError:  # the link is lost, or the worker has too much to do to take another subscriber
                up = False
                yield LinkChanged(up=False)
            finally:
                link.close()
            await asyncio.sleep(RETRY)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    async def _exchange(self, command: Command) -> tuple[msgspec.Raw, int]:
        loop = asyncio.get_running_loop()
        until = loop.time() + (READ_PATIENCE if isinstance(command, READS) else 0.0)
        while True:
            try:
                link = await self._connected()
                async with asyncio.timeout(_patience(command)):
                    return await link.request(command)
            except TimeoutError:
                raise WorkerUnavailable("The worker did not answer in time.", hint="Look into its log.") from None
            except WorkerUnavailable:
                if loop.time() >= until:
                    raise
            await asyncio.sleep(RETRY)

    async def _connected(self) -> _Link:
        async with self._connecting:
            if self._link is None or self._link.closed:
                self._link = await _connect(self._path, None)
            return self._link


_shared: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, WorkerClient]] = weakref.WeakKeyDictionary()


def shared(path: str | os.PathLike[str]) -> WorkerClient:
    """This event loop's client for the socket at ``path``. Synchronous code uses ``call_once``."""
    clients = _shared.setdefault(asyncio.get_running_loop(), {})
    return clients.setdefault(os.fspath(path), WorkerClient(path))


def call_once(path: str | os.PathLike[str], command: Command, result: type[T], timeout: float | None = None) -> T:
    """Connect, ask, close; for management commands and other synchronous code. About 0.3 ms beside the command."""
    frames = protocol.Frames(protocol.MAX_REPLY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_patience(command, timeout))
            connection.connect(os.fspath(path))
            hello, request = Hello(protocol.VERSION), Request(1, _encoded(command))
            connection.sendall(protocol.frame(hello) + protocol.frame(request))
            while data := connection.recv(RECEIVE):  # an fd that comes along is closed by the kernel
                for body in frames.feed(data):
                    message = _messages.decode(body)
                    if isinstance(message, Failure):
                        raise error_of(message)
                    if isinstance(message, Reply):
                        return msgspec.msgpack.decode(message.result, type=result)
    except TimeoutError:
        raise WorkerUnavailable("The worker did not answer in time.", hint="Look into its log.") from None
    except OSError as error:
        raise WorkerUnavailable(f"The worker does not answer ({error.strerror}).", hint=_HINT) from None
    raise WorkerUnavailable("The worker closed the connection.", hint=_HINT)


def error_of(failure: Failure) -> TerrariumError:
    """The error that the worker raised, in its own class where code or status tell it."""
    kinds = TerrariumError.__subclasses__()
    by_code = [kind for kind in kinds if kind.code == failure.code and kind.__module__ == errors.__name__]
    by_status = [kind for kind in kinds if kind.status == failure.status and kind.__module__ == errors.__name__]
    kind = (by_code or by_status or [TerrariumError])[0]
    error = kind(failure.message, hint=failure.hint, code=failure.code)
    error.status = failure.status
    return error


class _Link:
    """One connection that has been greeted. ``closed`` once it is lost; it does not come back."""

    def __init__(self, connection: socket.socket, pushed: Callable[[Push], None] | None) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._pushed = pushed
        self._frames = protocol.Frames(protocol.MAX_REPLY)
        self._descriptors: deque[int] = deque()  # arrived; each belongs to the next reply that says it has one
        self._output = bytearray()
        self._sequence = 0
        self._pending: dict[int, asyncio.Future[tuple[msgspec.Raw, int]]] = {}
        self._reading = False
        self.greeted: asyncio.Future[str] = self._loop.create_future()
        self.node = ""
        self.closed = False
        self.lost: Callable[[WorkerUnavailable], None] | None = None
        self.read()

    def read(self, wanted: bool = True) -> None:
        """Go on reading, or let the worker wait."""
        if wanted != self._reading and not self.closed:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._socket, self._readable)
            else:
                self._loop.remove_reader(self._socket)

    async def request(self, command: Command) -> tuple[msgspec.Raw, int]:
        """(result, fd or -1). Cancelling forgets the request; the worker still carries it out."""
        if self.closed:
            raise WorkerUnavailable("The worker does not answer.", hint=_HINT)
        self._sequence += 1
        number = self._sequence
        future: asyncio.Future[tuple[msgspec.Raw, int]] = self._loop.create_future()
        self._pending[number] = future
        try:
            self.send(protocol.frame(Request(number, _encoded(command))))
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                _close(future.result()[1])  # the reply came in the same turn as the cancellation
            raise
        finally:
            self._pending.pop(number, None)

    def send(self, data: bytes) -> None:
        self._output += data
        self._flush()

    def close(self, error: WorkerUnavailable | None = None) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        while self._descriptors:
            _close(self._descriptors.popleft())
        error = error or WorkerUnavailable("The worker closed the connection.", hint=_HINT)
        if not self.greeted.done():
            self.greeted.set_exception(error)
            self.greeted.exception()  # seen: the one who waits for it may have given up
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        if self.lost is not None:
            self.lost(error)

    def _flush(self) -> None:
        try:
            while self._output and not self.closed:
                del self._output[: self._socket.send(self._output)]
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._flush)
            return None
        except OSError:
            return self.close()
        if not self.closed:
            self._loop.remove_writer(self._socket)
        return None

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(RECEIVE, _ROOM_FOR_FDS, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError:
            return self.close()
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors.extend(array.array("i", payload))
        if not data:
            return self.close()
        try:
            for body in self._frames.feed(data):
                self._received(_messages.decode(body))
        except (TerrariumError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.close(
                WorkerUnavailable("The worker's answer can't be read.", hint="Run deploy/up, so that both are of one version.")
            )

    def _received(self, message: FromWorker) -> None:
        if isinstance(message, Push):
            if self._pushed is not None:
                self._pushed(message)
        elif isinstance(message, Hello):
            self.node = message.node
            if not self.greeted.done():
                self.greeted.set_result(message.node)
        elif isinstance(message, Failure):
            future = self._pending.pop(message.id, None)
            if future is not None and not future.done():
                future.set_exception(error_of(message))
            elif message.id == 0:  # nothing that we sent can be answered so, except by another version
                self.close(WorkerUnavailable(message.message, hint=message.hint))
        else:
            descriptor = self._descriptors.popleft() if message.has_fd and self._descriptors else -1
            future = self._pending.pop(message.id, None)
            if future is None or future.done():
                _close(descriptor)
            else:
                future.set_result((message.result, descriptor))


class _Pushes:
    """The queue between a link and the one who takes its pushes."""

    def __init__(self) -> None:
        self.link: _Link | None = None
        self._queue: deque[Push] = deque()
        self._news = asyncio.Event()

    def put(self, push: Push) -> None:
        self._queue.append(push)
        self._news.set()
        if self.link is not None and len(self._queue) >= BACKLOG:
            self.link.read(False)

    async def get(self) -> Push:
        while not self._queue:
            assert self.link is not None
            if self.link.closed:
                raise WorkerUnavailable("The worker closed the connection.", hint=_HINT)
            self.link.lost = lambda _: self._news.set()
            self._news.clear()
            await self._news.wait()
        push = self._queue.popleft()
        if self.link is not None and len(self._queue) < BACKLOG // 2:
            self.link.read()
        return push


async def _connect(path: str, pushed: Callable[[Push], None] | None) -> _Link:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await asyncio.get_running_loop().sock_connect(connection, path)
            link = _Link(connection, pushed)
            try:
                link.send(protocol.frame(Hello(protocol.VERSION)))
                await link.greeted
            except BaseException:
                link.close()
                raise
            return link
    except TimeoutError:
        connection.close()
        raise WorkerUnavailable("The worker did not answer in time.", hint=_HINT) from None
    except OSError as error:
        connection.close()
        raise WorkerUnavailable(f"The worker does not answer ({error.strerror}).", hint=_HINT) from None
    except BaseException:
        connection.close()
        raise


def _patience(command: Command, beyond: float | None = None) -> float:
    """Seconds to wait for the answer. A time-out that makes no sense is the worker's to refuse."""
    own = getattr(command, "timeout", 0.0)
    if own is None:  # the container's own, which only the worker knows
        own = MAX_STOP_TIMEOUT
    return (ANSWER_TIMEOUT if beyond is None else beyond) + (own if 0 <= own < 1e6 else 0.0)


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        with contextlib.suppress(OSError):
            os.close(descriptor)
