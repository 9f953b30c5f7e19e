"""This terminal on a program in a container: raw keys go in, what it writes comes out, and its exit code becomes ours.

The session is the web's own (worker/terminals.py); this is one more viewer of it, who has rendered what is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator

from django.core.management.base import CommandError

from containers_app import terminal_services
from containers_app.visitors import Visitor
from containers_app.worker import terminals

_CHUNK = 4096  # bytes of one read of the keyboard
_ENDINGS = (signal.SIGHUP, signal.SIGTERM)  # hang the program up, and leave this terminal as it was


def size() -> tuple[int, int]:
    """(rows, columns). CommandError when nobody sits in front of us."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("This needs a terminal on both sides. For a program without one there is exec.")
    columns, rows = os.get_terminal_size(sys.stdin.fileno())
    return max(rows, 1), max(columns, 1)  # of a serial line it is (0, 0)


async def sit_at(visitor: Visitor, key: str, tell: str = "") -> int | None:
    """Until the session ends. → what stands behind ``tell``: the program's exit code; None when it was cut off before."""
    session = terminals.table().get(key, visitor.user_id)
    seat = _Seat(session, tell.encode())
    loop = asyncio.get_running_loop()
    try:
        with _raw(sys.stdin.fileno()):
            loop.add_signal_handler(signal.SIGWINCH, lambda: session.resize(*size()))
            for number in _ENDINGS:
                loop.add_signal_handler(number, session.close)
            loop.add_reader(sys.stdin.fileno(), seat.typed)
            session.attach(seat)
            return await seat.ended
    finally:
        loop.remove_reader(sys.stdin.fileno())
        session.detach(seat)
        await terminal_services.close_terminal(visitor, key)


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead stays
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class _Seat:
    """A viewer, terminals.Viewer. ``ended`` is the exit code."""

    def __init__(self, session: terminals.TerminalSession, tell: bytes) -> None:
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._session = session
        self._tell = tell
        self._kept = b""  # the end of what was written: it may be the beginning of ``tell``, or what follows that
        self._written = 0

    def typed(self) -> None:
        data = os.read(sys.stdin.fileno(), _CHUNK)
        if data:
            self._session.write(data)  # what a program does not take is lost, as at any terminal
        else:
            self._session.close()

    def output(self, data: bytes) -> None:
        self._written += len(data)
        self._kept += data
        shown = len(self._kept) - self._doubtful()
        _write(self._kept[:shown])
        self._kept = self._kept[shown:]
        self._session.acknowledge(self, self._written)

    def exited(self, reason: str) -> None:
        told = self._kept.removeprefix(self._tell) if self._tell and self._kept.startswith(self._tell) else b""
        if not told:
            _write(self._kept)
        if not self.ended.done():
            self.ended.set_result(int(told) if told.isdigit() else None)

    def _doubtful(self) -> int:
        """How many bytes at the end are not for the eye, or may turn out not to be."""
        if self._tell and (at := self._kept.find(self._tell)) >= 0:
            return len(self._kept) - at
        return next((n for n in range(min(len(self._tell), len(self._kept)), 0, -1) if self._tell.startswith(self._kept[-n:])), 0)


def _write(data: bytes) -> None:
    """Waits for a slow terminal: then the session does not read on, and the program waits too."""
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
