"""Programs and terminals in a running container of either engine, launched by the keeper as a plan says."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator

from ..errors import KernelRefused, PolicyRefused
from ..kernel import identity
from ..kernel import syscalls as sc
from ..kernel.plan import Plan
from .base import ExecResult
from .keeper_client import Exit, KeeperClient
from .policy import Policy
from .policy_checks import check_initial_namespace

MAX_OUTPUT = 1 << 20  # bytes of each stream that are kept; the rest is read and dropped, so that the program goes on
STREAMS = identity.UseStreams(1, False)  # what follows the pidfd: input, output, error


class RawTerminal:
    """``fd`` is a pty's master. Whoever holds it may also size it by itself."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    async def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def chosen_flags(policy: Policy, flags: int, namespaces: tuple[str, ...]) -> int:
    """Those of ``flags`` to join. The user namespace is always one of them: it bounds what the program may do elsewhere.

    For what is left out it has the host's own, as far as the policy lends them.
    """
    if not namespaces:
        return flags
    wanted = sc.CLONE_NEWUSER
    for kind in namespaces:
        wanted |= sc.CLONE_FLAGS[kind]
    if flags & sc.CLONE_NEWNS and not wanted & sc.CLONE_NEWNS and not policy.allow.host_image:
        raise PolicyRefused(
            "Outside of the sandbox's mount namespace a program sees the host's files, which this host does not show.",
            hint='Add "mnt", or ask root to set host_image in policy.toml.',
        )
    for kind, flag in sc.CLONE_FLAGS.items():
        if flags & flag & ~wanted and kind != "mnt":
            check_initial_namespace(policy, kind)
    return flags & wanted


async def open_terminal(keeper: KeeperClient, plan: Plan, pidfd: int) -> RawTerminal:
    """``plan`` has an OpenTerminal and joins the first descriptor."""
    launched = await keeper.launch(plan, [pidfd])
    os.close(launched.pidfd)
    return RawTerminal(launched.terminal)


async def execute(
    keeper: KeeperClient, plan: Plan, pidfd: int, program: str, ended: asyncio.Future[Exit], timeout: float, owner: int = 0
) -> ExecResult:
    """``plan`` has the ``STREAMS`` and joins the first descriptor. ``ended`` is completed by the engine with the keeper's word
    of this run. ``owner`` is the host's number of the user that it runs as, who may open /dev/stdout again."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    for fd in (out_write, err_write) if owner else ():
        os.fchown(fd, owner, -1)
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
                        f"{program} did not end within {timeout:g} seconds and was killed.",
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
