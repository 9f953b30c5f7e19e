"""The worker's door: a unix socket, its connections, their frames. What the requests mean is the table in commands.py.

Whoever is on the other side is not trusted: lengths, numbers of connections and requests, and what waits to be sent
are bounded; a peer that breaks the framing or takes nothing for STALL seconds loses its connection; no request,
however wrong, ends the worker. Raw sockets rather than asyncio streams, because only they can carry an fd.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from ..errors import TerrariumError, TooLarge
from . import protocol
from .live import Live, check_topics
from .protocol import Failure, FrameTooLong, Hello, Reply, Request

MAX_CONNECTIONS = 64
MAX_REQUESTS = 512  # under way at once, all connections together
MAX_WAITING = 384  # of these, requests of WAITING: a kill, a removal and a look always get through
HIGH_WATER = 1 << 20  # bytes waiting to be sent; past it replies wait, stats are dropped, changes are merged
STALL = 10.0  # seconds without a byte taken while some wait
HELLO_TIMEOUT = 5.0  # seconds until a connection must have said who it is
CLOSE_TIMEOUT = 5.0  # seconds that requests under way get when the worker ends
RECEIVE = 1 << 16  # bytes per read

_log = logging.getLogger(__name__)
_messages = msgspec.msgpack.Decoder(protocol.FromWeb)
_commands = msgspec.msgpack.Decoder(protocol.AnyCommand)
_encode = msgspec.msgpack.Encoder().encode
# What takes as long as a program, the kernel or a daemon likes.
WAITING = (
    protocol.ExecuteCommand, protocol.StopContainer, protocol.RestartContainer, protocol.CreateContainer, protocol.StartContainer,
    protocol.PauseContainer, protocol.UpdateLimits, protocol.PutBackLimits, protocol.UpdateGroupLimits, protocol.OpenTerminal,
    protocol.OpenToolbox, protocol.FeedJob, protocol.CancelJob, protocol.ConnectContainer, protocol.DisconnectContainer,
    protocol.RemoveDockerImage, protocol.PruneImages, protocol.ListVolumes, protocol.RemoveVolume, protocol.PruneVolumes,
)  # fmt: skip
# What decoding can raise: not MessagePack or a wrong type; nested too deep; text that is not UTF-8.
_UNDECODABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class WithDescriptor(msgspec.Struct, frozen=True):
    """A handler's result that carries an fd. The server sends it and closes its own copy, whatever happens."""

    result: object
    descriptor: int


Handle = Callable[[protocol.Command], Awaitable[object]]


class Requests:
    """Those under way, of all connections: they outlive the connection that asked."""

    def __init__(self) -> None:
        self.all: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()

    def check_room(self, command: protocol.Command) -> None:
        """TooLarge when there is none for this one."""
        most = MAX_REQUESTS
        if isinstance(command, WAITING) and len(self._waiting) >= MAX_WAITING:
            most = MAX_WAITING
        elif len(self.all) < MAX_REQUESTS:
            return
        raise TooLarge(f"More than {most} requests are under way.", code="too_many", hint="Wait for some to end.")

    def add(self, command: protocol.Command, task: asyncio.Task[None]) -> None:
        for tasks in (self.all, self._waiting) if isinstance(command, WAITING) else (self.all,):
            tasks.add(task)
            task.add_done_callback(tasks.discard)


class Connection:
    """One peer: reads requests, runs them concurrently, sends replies and pushes in the order they are ready."""

    def __init__(self, peer: socket.socket, node: str, handle: Handle, live: Live, requests: Requests) -> None:
        self._socket = peer
        self._node = node
        self._handle = handle
        self._live = live
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._output: deque[tuple[memoryview, int]] = deque()  # (bytes, fd that goes with the first of them or -1)
        self._waiting = 0  # bytes in _output
        self._room = asyncio.Event()
        self._room.set()
        self._stalled: asyncio.TimerHandle | None = None
        self._serving: asyncio.Task[None] | None = None
        self._open = True

    async def run(self) -> None:
        """Serve until the peer goes, breaks the framing, or ``close``."""
        self._serving = asyncio.current_task()
        frames = protocol.Frames(protocol.MAX_REQUEST)
        greeted = False
        try:
            async with asyncio.timeout(HELLO_TIMEOUT) as deadline:
                while self._open and (data := await self._loop.sock_recv(self._socket, RECEIVE)):
                    for body in frames.feed(data):
                        if greeted:
                            self._request(body)
                        elif greeted := self._greet(body):
                            deadline.reschedule(None)
                        else:
                            return
                    await self._room.wait()  # who does not read gets nothing more done
        except FrameTooLong as error:
            self._fail(0, error)
        except (TimeoutError, OSError):
            pass  # said no hello in time, or is gone
        finally:
            self.close()

    def close(self) -> None:
        """Drop the peer. Requests under way run to their end, so that nothing is left half done."""
        if not self._open:
            return
        self._open = False
        self._live.unsubscribe(self)
        self._loop.remove_reader(self._socket)  # before the number of the fd is given to somebody else
        self._loop.remove_writer(self._socket)
        if self._serving is not None and self._serving is not asyncio.current_task():
            self._serving.cancel()
        if self._stalled is not None:
            self._stalled.cancel()
        for _, descriptor in self._output:
            _close(descriptor)
        self._output.clear()
        self._waiting = 0
        self._room.set()
        self._socket.close()

    @property
    def congested(self) -> bool:
        return self._waiting > HIGH_WATER

    def push(self, data: bytes) -> None:
        self._send(data)

    def _greet(self, body: bytes) -> bool:
        try:
            hello = _messages.decode(body)
        except _UNDECODABLE:
            hello = None
        if isinstance(hello, Hello) and hello.version == protocol.VERSION:
            self._send(protocol.frame(Hello(protocol.VERSION, self._node)))
            return True
        reason = f"This worker speaks version {protocol.VERSION} of the protocol."
        self._fail(0, TerrariumError(reason, code="version", hint="Run deploy/up, so that both sides are of one version."))
        return False

    def _request(self, body: bytes) -> None:
        try:
            request = _messages.decode(body)
        except _UNDECODABLE:
            return self._fail(0, TerrariumError("That is not a message.", code="invalid_message"))
        if not isinstance(request, Request):
            return self._fail(0, TerrariumError("Hello is said once.", code="invalid_message"))
        try:
            command = _commands.decode(request.body)
            self._requests.check_room(command)
        except _UNDECODABLE as error:
            hint = str(error)[:200]
            return self._fail(request.id, TerrariumError("There is no such command.", code="invalid_command", hint=hint))
        except TooLarge as busy:
            return self._fail(request.id, busy)
        return self._requests.add(command, asyncio.create_task(self._answer(request.id, command)))

    async def _answer(self, request_id: int, command: protocol.Command) -> None:
        descriptor = -1
        try:
            result: object = None
            if isinstance(command, protocol.Subscribe):
                check_topics(command.topics)
                self._send(protocol.frame(Reply(request_id, msgspec.Raw(_encode(None)))))
                return self._live.subscribe(self, command.topics) if self._open else None
            result = await self._handle(command)
            if isinstance(result, WithDescriptor):
                descriptor, result = result.descriptor, result.result
            while self.congested:  # before encoding: what waits stays small
                await self._room.wait()
            data = protocol.frame(Reply(request_id, msgspec.Raw(_encode(result)), has_fd=descriptor >= 0))
            if len(data) > protocol.MAX_REPLY:
                raise TooLarge("The answer is too long.", hint="Ask for less.")
            self._send(data, descriptor)
            descriptor = -1
        except TerrariumError as error:
            self._fail(request_id, error)
        except Exception:
            _log.exception("%s failed", type(command).__name__)
            self._fail(request_id, _Internal("The worker made a mistake.", hint="Its log says more."))
        finally:
            _close(descriptor)

    def _fail(self, request_id: int, error: TerrariumError) -> None:
        self._send(protocol.frame(Failure(request_id, error.code, error.message, error.hint, error.status)))

    def _send(self, data: bytes, descriptor: int = -1) -> None:
        """Send now what the socket takes, queue the rest. Owns ``descriptor`` from here on."""
        if not self._open:
            return _close(descriptor)
        self._output.append((memoryview(data), descriptor))
        self._waiting += len(data)
        if len(self._output) == 1:
            self._flush()
        elif self.congested:
            self._room.clear()
        return None

    def _flush(self) -> None:
        taken = 0
        try:
            while self._output:
                data, descriptor = self._output[0]
                if descriptor >= 0:
                    count = socket.send_fds(self._socket, [data], [descriptor])
                    _close(descriptor)
                else:
                    count = self._socket.send(data)
                taken += count
                if count < len(data):
                    self._output[0] = (data[count:], -1)
                else:
                    self._output.popleft()
        except BlockingIOError:
            pass
        except OSError:
            return self.close()
        self._waiting -= taken
        return self._after_flush(taken)

    def _after_flush(self, taken: int) -> None:
        if self._stalled is not None and (taken or not self._output):
            self._stalled.cancel()
            self._stalled = None
        if self._output:
            self._loop.add_writer(self._socket, self._flush)
            if self._stalled is None:
                self._stalled = self._loop.call_later(STALL, self._drop_stalled)
        else:
            self._loop.remove_writer(self._socket)
        if self.congested:
            self._room.clear()
        elif not self._room.is_set():
            self._room.set()
            self._loop.call_soon(self._live.drained, self)

    def _drop_stalled(self) -> None:
        _log.warning("a peer took nothing for %.0f s; its connection is dropped", STALL)
        self.close()


class _Internal(TerrariumError):
    code = "internal"
    status = 500


class Server:
    """Listens at ``path`` (mode 0660, root and the web user's group) for the peers that ``admits`` lets in."""

    def __init__(self, path: Path, node: str, admits: Callable[[int], bool], handle: Handle, live: Live) -> None:
        self._path = path
        self._node = node
        self._admits = admits
        self._handle = handle
        self._live = live
        self._socket: socket.socket | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._requests = Requests()
        self._accepting: asyncio.Task[None] | None = None

    def open(self, group: int) -> None:
        """Bind under a temporary name, set owner and mode, then rename: there is no moment of wrong permissions."""
        temporary = self._path.with_name(f".{self._path.name}.new")
        temporary.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            previous = os.umask(0o177)
            try:
                listener.bind(str(temporary))
            finally:
                os.umask(previous)
            os.chown(temporary, -1, group)
            os.chmod(temporary, 0o660)
            listener.listen(MAX_CONNECTIONS)
            temporary.rename(self._path)
        except BaseException:
            listener.close()
            temporary.unlink(missing_ok=True)
            raise
        self._socket = listener
        self._accepting = asyncio.create_task(self._accept(listener), name="accept")

    async def close(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
            self._path.unlink(missing_ok=True)
        if self._requests.all:
            await asyncio.wait(self._requests.all, timeout=CLOSE_TIMEOUT)
        serving = list(self._connections.values())
        for connection in list(self._connections):
            connection.close()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(listener)
            except OSError as error:  # EMFILE and the like pass
                _log.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(0.1)
                continue
            uid = peer_uid(peer)
            if not self._admits(uid):
                _log.warning("uid %d may not connect; see [peers] in policy.toml", uid)
                peer.close()
            elif len(self._connections) >= MAX_CONNECTIONS:
                _log.warning("more than %d connections; one more is refused", MAX_CONNECTIONS)
                peer.close()
            else:
                connection = Connection(peer, self._node, self._handle, self._live, self._requests)
                task = asyncio.create_task(connection.run())
                self._connections[connection] = task
                task.add_done_callback(functools.partial(self._gone, connection))

    def _gone(self, connection: Connection, serving: asyncio.Task[None]) -> None:
        self._connections.pop(connection, None)
        if not serving.cancelled() and (error := serving.exception()) is not None:
            _log.error("a connection failed", exc_info=error)


def peer_uid(peer: socket.socket) -> int:
    """Who connected, as the kernel says: SO_PEERCRED of unix(7)."""
    _, uid, _ = struct.unpack("=iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
