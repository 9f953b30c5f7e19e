"""Terminal sessions, on the web's side: the fd, what was shown, and who looks. No web, no Django in it.

    pty ◀──write── TerminalSession ──output──▶ viewers (browsers)
     └────read────▶     │  each acknowledges what it has rendered; while one has WINDOW unacknowledged, nothing is
                        │  read: the program waits, and Ctrl-C works in a flood
                     Replay (a viewer who comes later sees the screen)

A session outlives its viewers for DETACHED seconds, so that a page can be loaded anew. It ends when the program ends,
when it is closed, or when its user logs out. Everything runs on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import struct
import termios
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import Conflict, NotFound
from .replay import Replay

WINDOW = 256 * 1024  # bytes sent to a viewer but not acknowledged
MAX_INPUT = 1 << 20  # bytes typed or pasted that the program has not read
CHUNK = 64 * 1024  # most bytes of one message
COALESCE = 0.002  # seconds that output is collected while it keeps coming
STALL = 10.0  # seconds that one viewer may hold up the others
DETACHED = 600.0  # seconds that a session lives without viewers
DETACHED_PAUSE = 0.05  # seconds between reads of CHUNK while nobody looks: a flood must not cost a CPU
MAX_PER_USER = 32

_log = logging.getLogger(__name__)


class Viewer(Protocol):
    """Who looks at a session. Called on the loop's thread; must not block."""

    def output(self, data: bytes) -> None: ...
    def exited(self, reason: str) -> None:
        """The session has ended, or this viewer has been let go; nothing more comes."""


Resize = Callable[[int, int], Awaitable[object]]  # rows, columns


@dataclass
class _Window:
    sent: int = 0
    acknowledged: int = 0
    blocked_since: float | None = None  # loop time

    @property
    def full(self) -> bool:
        return self.sent - self.acknowledged >= WINDOW


class TerminalSession:
    """Owns ``fd``: a pty's master (``is_tty``), else a socket, for which ``resize`` asks the worker."""

    def __init__(self, fd: int, is_tty: bool, resize: Resize | None = None, *, rows: int = 24, columns: int = 80) -> None:
        self.rows = rows
        self.columns = columns
        self.reason = ""  # why it ended; "" while it lives
        self.ended: Callable[[], None] = lambda: None  # set by the table
        self.viewers_changed: Callable[[], None] = lambda: None  # set by the table
        self._fd = fd
        self._is_tty = is_tty
        self._resize = resize
        self._loop = asyncio.get_running_loop()
        self._replay = Replay()
        self._viewers: dict[Viewer, _Window] = {}
        self._input = bytearray()
        self._collected = bytearray()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._pause_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._sent_at = 0.0  # loop time of the last output
        self._reading = False
        self._resizing: asyncio.Task[None] | None = None
        os.set_blocking(fd, False)
        self._regulate()

    @property
    def alive(self) -> bool:
        return self._fd >= 0

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    @property
    def paused(self) -> bool:
        """Is the program held up because a viewer has not caught up?"""
        return any(window.full for window in self._viewers.values())

    def attach(self, viewer: Viewer) -> None:
        """Show it what was shown so far, then everything."""
        self._flush()
        self._viewers[viewer] = window = _Window()
        content = self._replay.content()
        window.sent = len(content)
        if content:
            viewer.output(content)
        if not self.alive:
            viewer.exited(self.reason)
        self._regulate()
        self.viewers_changed()

    def detach(self, viewer: Viewer) -> None:
        if self._viewers.pop(viewer, None) is not None:
            self._regulate()
            self.viewers_changed()

    def acknowledge(self, viewer: Viewer, total: int) -> None:
        """``viewer`` has rendered ``total`` bytes since it was attached."""
        window = self._viewers.get(viewer)
        if window is not None and window.acknowledged < total <= window.sent:
            window.acknowledged = total
            self._regulate()

    def write(self, data: bytes) -> bool:
        """Type ``data``. False, and nothing typed, when the program has too much unread already."""
        if not self.alive:
            return True  # typed after the end: nobody is there to read it
        if len(self._input) + len(data) > MAX_INPUT:
            return False
        self._input += data
        self._writable()
        return True

    def resize(self, rows: int, columns: int) -> None:
        """The last viewer to ask is right. Out of range: the nearest that is possible."""
        rows, columns = min(max(rows, 1), 1000), min(max(columns, 1), 1000)
        if not self.alive or (rows, columns) == (self.rows, self.columns):
            return
        self.rows, self.columns = rows, columns
        if self._is_tty:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("=4H", rows, columns, 0, 0))
        elif self._resize is not None and self._resizing is None:
            self._resizing = asyncio.ensure_future(self._ask_to_resize())

    def close(self, reason: str = "The session was closed.") -> None:
        """Hang up: the kernel sends SIGHUP to what runs in a pty whose master is closed."""
        if not self.alive:
            return
        self._flush()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        for timer in (self._flush_timer, self._pause_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._input.clear()
        self.reason = reason
        for viewer in list(self._viewers):
            viewer.exited(reason)
        self.ended()

    async def _ask_to_resize(self) -> None:
        """One request at a time; what was asked meanwhile is asked in one go afterwards."""
        assert self._resize is not None
        asked = (0, 0)
        try:
            while self.alive and asked != (self.rows, self.columns):
                asked = (self.rows, self.columns)
                await self._resize(*asked)
        except Exception as error:
            _log.warning("a terminal could not be resized: %s", error)
        finally:
            self._resizing = None

    def _regulate(self) -> None:
        """Read exactly while it is allowed, and let go of a viewer that holds up others."""
        now = self._loop.time()
        for window in self._viewers.values():
            window.blocked_since = (window.blocked_since or now) if window.full else None
        wanted = self.alive and self._pause_timer is None and not self.paused
        if wanted != self._reading and self.alive:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._fd, self._readable)
            else:
                self._loop.remove_reader(self._fd)
        if self._stall_timer is None and len(self._viewers) > 1 and self.paused:
            self._stall_timer = self._loop.call_later(STALL, self._drop_stalled)

    def _drop_stalled(self) -> None:
        self._stall_timer = None
        now = self._loop.time()
        for viewer, window in list(self._viewers.items()):
            if len(self._viewers) > 1 and window.blocked_since is not None and now - window.blocked_since >= STALL * 0.9:
                del self._viewers[viewer]
                viewer.exited("This window did not keep up with the others.")
        self._regulate()
        self.viewers_changed()

    def _readable(self) -> None:
        data = bytearray()
        ended = False
        try:
            while len(data) < CHUNK:  # a pty hands out about 4 KiB a read
                piece = os.read(self._fd, CHUNK)
                data += piece
                if not piece:
                    ended = True
                    break
        except BlockingIOError:
            pass
        except OSError:  # EIO: the last process that had the pty open is gone
            ended = True
        idle = not self._collected and self._loop.time() - self._sent_at > COALESCE
        self._collected += data
        if idle or len(self._collected) >= CHUNK:
            self._flush()
        elif self._flush_timer is None and self._collected:
            self._flush_timer = self._loop.call_later(COALESCE, self._flush)
        if ended:
            self.close("The shell has ended.")
        elif not self._viewers and len(data) >= CHUNK:
            self._pause_timer = self._loop.call_later(DETACHED_PAUSE, self._resume)
            self._regulate()

    def _resume(self) -> None:
        self._pause_timer = None
        self._regulate()

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if not self._collected:
            return
        data = bytes(self._collected)
        self._collected.clear()
        self._sent_at = self._loop.time()
        self._replay.append(data)
        for viewer, window in list(self._viewers.items()):
            window.sent += len(data)
            viewer.output(data)
        self._regulate()

    def _writable(self) -> None:
        try:
            while self._input:
                del self._input[: os.write(self._fd, self._input)]
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._writable)
            return
        except OSError:
            self._input.clear()  # the program is gone; the reader will say so
        self._loop.remove_writer(self._fd)


@dataclass(frozen=True)
class Holder:
    """Whose session it is, and in which container."""

    user: int
    session_key: str  # of the log-in; "" for API tokens
    container: str
    owner: str = ""  # the container's; "" is nobody
    for_staff: bool = False  # whoever owns it: it is Docker's, or stands in the host's user namespace


class TerminalTable:
    """The sessions of one web process, by unguessable id."""

    def __init__(self) -> None:
        self._sessions: dict[str, tuple[TerminalSession, Holder, float]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def check_room(self, user: int) -> None:
        """Conflict when this user has as many as are allowed; ended ones make room first. Ask before opening."""
        mine = [key for key, (_, holder, _) in self._sessions.items() if holder.user == user]
        for key in mine:
            if len(mine) >= MAX_PER_USER and not self._sessions[key][0].alive and not self._sessions[key][0].viewers:
                self._forget(key)
        if sum(holder.user == user for _, holder, _ in self._sessions.values()) >= MAX_PER_USER:
            raise Conflict(
                f"You have {MAX_PER_USER} terminals open.", hint="Close one that you no longer need.", code="too_many_terminals"
            )

    def add(self, session: TerminalSession, holder: Holder) -> str:
        """Keep a session; returns its id. When there is no room it is closed and Conflict raised."""
        try:
            self.check_room(holder.user)
        except Conflict:
            session.close()
            raise
        key = secrets.token_urlsafe(24)
        self._sessions[key] = (session, holder, time.time())
        session.viewers_changed = session.ended = lambda: self._watch(key)
        self._watch(key)
        return key

    def get(self, key: str, user: int) -> TerminalSession:
        """NotFound also for another user's: ids of others tell nothing."""
        found = self._sessions.get(key)
        if found is None or found[1].user != user:
            raise NotFound("There is no such terminal session.", hint="It may have ended. Open a new one.")
        return found[0]

    def holder(self, key: str) -> Holder | None:
        found = self._sessions.get(key)
        return found[1] if found else None

    def of(self, user: int) -> list[tuple[str, TerminalSession, Holder, float]]:
        """This user's sessions: (id, session, holder, Unix time of opening), oldest first."""
        return [(key, *found) for key, found in self._sessions.items() if found[1].user == user]

    def close(self, key: str, user: int, reason: str = "The session was closed.") -> None:
        self.get(key, user)
        self._forget(key, reason)

    def close_for_user(self, user: int, reason: str = "You have been logged out.") -> None:
        self._close_where(lambda holder: holder.user == user, reason)

    def close_for_session_key(self, session_key: str, reason: str = "You have been logged out.") -> None:
        self._close_where(lambda holder: bool(session_key) and holder.session_key == session_key, reason)

    def close_all(self, reason: str = "The panel is being stopped.") -> None:
        self._close_where(lambda _: True, reason)

    def _close_where(self, chosen: Callable[[Holder], bool], reason: str) -> None:
        for key in [key for key, (_, holder, _) in self._sessions.items() if chosen(holder)]:
            self._forget(key, reason)

    def _watch(self, key: str) -> None:
        """Without viewers it lives DETACHED seconds more."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        found = self._sessions.get(key)
        if found is not None and not found[0].viewers:
            self._timers[key] = asyncio.get_running_loop().call_later(DETACHED, self._forget, key)

    def _forget(self, key: str, reason: str = "The session was closed.") -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        found = self._sessions.pop(key, None)
        if found is not None:
            found[0].close(reason)


_tables: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, TerminalTable] = weakref.WeakKeyDictionary()


def table() -> TerminalTable:
    """The table of this event loop."""
    return _tables.setdefault(asyncio.get_running_loop(), TerminalTable())
