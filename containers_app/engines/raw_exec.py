"""Programs and terminals in a running sandbox: joins all its namespaces and its cgroups, with its own confinement."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator

from ..errors import KernelRefused
from ..kernel import identity
from .base import ExecResult
from .keeper_client import Exit, KeeperClient
from .raw_plan import SHELL, Place, exec_plan
from .raw_store import Record

MAX_OUTPUT = 1 << 20  # bytes of each stream that are kept; the rest is read and dropped, so that the program goes on


class RawTerminal:
    """``fd`` is a pty's master. Whoever holds it may also size it by itself."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    async def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


async def open_terminal(
    keeper: KeeperClient,
    record: Record,
    place: Place,
    pidfd: int,
    join_flags: int,
    argv: tuple[str, ...],
    rows: int,
    columns: int,
) -> RawTerminal:
    plan = exec_plan(record.spec, place, argv or SHELL, join_flags, identity.OpenTerminal(rows, columns))
    launched = await keeper.launch(plan, [pidfd])
    os.close(launched.pidfd)
    return RawTerminal(launched.terminal)


async def execute(
    keeper: KeeperClient,
    record: Record,
    place: Place,
    pidfd: int,
    join_flags: int,
    argv: tuple[str, ...],
    ended: asyncio.Future[Exit],
    timeout: float,
) -> ExecResult:
    """``ended`` is completed by the engine with the keeper's word of this run."""
    plan = exec_plan(record.spec, place, argv, join_flags, identity.UseStreams(1, False))
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    try:
        launched = await keeper.launch(plan, [pidfd, null, out_write, err_write])
    except BaseException:
        os.close(out_read)
        os.close(err_read)
        raise
    finally:
        for fd in (null, out_write, err_write):
            os.close(fd)
    try:
        async with _collect(out_read) as stdout, _collect(err_read) as stderr:
            done = asyncio.gather(stdout.ended, stderr.ended, asyncio.shield(ended))
            try:
                await asyncio.wait_for(done, timeout)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(launched.pidfd, signal.SIGKILL)
                if not ended.done():
                    raise KernelRefused(
                        f"{argv[0]} did not end within {timeout:g} seconds and was killed.",
                        code="timed_out",
                        hint="Use a terminal.",
                    ) from None
            # Output may stay open in a daemon that the program left behind; its end was waited for above, no longer.
            return ExecResult(ended.result().code, stdout.text(), stderr.text(), stdout.truncated or stderr.truncated)
    finally:
        os.close(launched.pidfd)


class _Stream:
    def __init__(self, fd: int) -> None:
        self._fd, self._kept = fd, bytearray()
        self.truncated = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def readable(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
            if not self.ended.done():
                self.ended.set_result(None)
            return
        room = MAX_OUTPUT - len(self._kept)
        self._kept += data[:room]
        self.truncated = self.truncated or len(data) > room

    def text(self) -> str:
        return self._kept.decode(errors="replace")


@contextlib.asynccontextmanager
async def _collect(fd: int) -> AsyncIterator[_Stream]:
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    stream = _Stream(fd)
    loop.add_reader(fd, stream.readable)
    try:
        yield stream
    finally:
        loop.remove_reader(fd)
        os.close(fd)
        if not stream.ended.done():
            stream.ended.cancel()
