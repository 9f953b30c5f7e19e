"""A real shell on a real pty: echo, replay, floods, Ctrl-C in a flood, several viewers, endings."""

import asyncio
import hashlib
import math
import os
import socket
import time

import pytest

from containers_app.errors import Conflict, NotFound
from containers_app.worker import terminals
from containers_app.worker.terminals import Holder, TerminalSession, TerminalTable, table
from tests.worker.conftest import shell_on_pty


class Screen:
    """A viewer that renders by keeping all it was sent, and acknowledges unless told not to."""

    def __init__(self, session: TerminalSession, acknowledges: bool = True) -> None:
        self.session = session
        self.data = bytearray()
        self.messages: list[int] = []
        self.reason = ""
        self.acknowledges = acknowledges
        self.news = asyncio.Event()
        session.attach(self)

    def output(self, data: bytes) -> None:
        self.data += data
        self.messages.append(len(data))
        self.news.set()
        if self.acknowledges:
            asyncio.get_running_loop().call_soon(self.acknowledge)

    def acknowledge(self) -> None:
        self.session.acknowledge(self, len(self.data))

    def exited(self, reason: str) -> None:
        self.reason = reason
        self.news.set()

    async def until(self, condition, timeout: float = 30.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition(self):
                self.news.clear()
                await self.news.wait()

    async def shows(self, text: bytes) -> None:
        await self.until(lambda screen: text in screen.data)


@pytest.fixture
async def shells():
    started = []
    yield started
    for session, process in started:
        session.close()
        process.kill()
        process.wait()


@pytest.fixture
async def shell(shells):
    fd, process = shell_on_pty()
    session = TerminalSession(fd, is_tty=True)
    shells.append((session, process))
    return session


async def test_what_is_typed_runs_and_its_output_is_seen(shell):
    screen = Screen(shell)
    shell.write(b"echo $((6*7))\n")
    await screen.shows(b"42\r\n")


async def test_a_key_is_echoed_at_once(shell, monkeypatch):
    screen = Screen(shell)
    await screen.shows(b"$ ")
    monkeypatch.setattr(terminals, "COALESCE", 3600.0)  # what is collected is never seen
    for _ in range(20):
        shell._sent_at = -math.inf  # for so long nothing was shown
        seen = len(screen.data)
        shell.write(b"x")
        await screen.until(lambda screen, seen=seen: len(screen.data) > seen)


async def test_a_viewer_who_comes_later_sees_what_was_shown(shell):
    first = Screen(shell)
    shell.write(b"echo $((6*7))\n")
    await first.shows(b"42\r\n$ ")
    shell.detach(first)
    second = Screen(shell)
    assert bytes(second.data) == bytes(first.data)
    shell.write(b"echo $((7*7))\n")
    await second.shows(b"49\r\n")
    assert b"49" not in first.data


async def test_two_viewers_see_the_same(shell):
    screens = [Screen(shell), Screen(shell)]
    shell.write(b"echo $((6*7))\n")
    for screen in screens:
        await screen.shows(b"42\r\n$ ")
    assert screens[0].data == screens[1].data


async def test_a_flood_pauses_until_it_is_acknowledged(shell):
    screen = Screen(shell, acknowledges=False)
    shell.write(b"yes\n")
    await screen.until(lambda _: shell.paused)
    await asyncio.sleep(0.05)
    assert terminals.WINDOW <= len(screen.data) <= terminals.WINDOW + 2 * terminals.CHUNK
    seen = len(screen.data)
    screen.acknowledge()
    assert not shell.paused
    await screen.until(lambda screen: len(screen.data) > seen)


async def test_a_flood_comes_in_large_messages(shell):
    screen = Screen(shell)
    shell.write(b"yes\n")
    await screen.until(lambda screen: len(screen.data) > 4_000_000)
    flood = screen.messages[5:]
    assert sum(flood) / len(flood) > 16_000


async def test_ctrl_c_works_in_a_flood_with_a_slow_viewer(shell):
    screen = Screen(shell, acknowledges=False)
    await screen.shows(b"$ ")
    shell.write(b"yes\n")
    await screen.until(lambda _: shell.paused)
    shell.write(b"\x03")
    screen.acknowledges = True
    screen.acknowledge()
    shell.write(b"echo $((6*7))\n")
    await screen.shows(b"42\r\n")
    assert len(screen.data) < 3 * terminals.WINDOW


async def test_a_flood_that_nobody_sees_costs_little(shell):
    screen = Screen(shell)
    shell.write(b"yes\n")
    await screen.until(lambda screen: len(screen.data) > 100_000)
    shell.detach(screen)
    before = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - before < 0.15
    late = Screen(shell)
    assert 100_000 < len(late.data) <= 256 * 1024 + 100


async def test_one_viewer_that_stands_still_does_not_hold_up_the_other_for_long(shell, monkeypatch):
    monkeypatch.setattr(terminals, "STALL", 0.2)
    good, bad = Screen(shell), Screen(shell, acknowledges=False)
    shell.write(b"yes\n")
    await bad.until(lambda screen: screen.reason != "")
    seen = len(good.data)
    await good.until(lambda screen: len(screen.data) > seen + terminals.WINDOW)
    assert shell.viewers == 1


async def test_a_single_viewer_that_stands_still_is_kept(shell, monkeypatch):
    monkeypatch.setattr(terminals, "STALL", 0.05)
    screen = Screen(shell, acknowledges=False)
    shell.write(b"yes\n")
    await screen.until(lambda _: shell.paused)
    await asyncio.sleep(0.2)
    assert screen.reason == ""


async def test_acknowledging_more_than_was_sent_changes_nothing(shell):
    screen = Screen(shell, acknowledges=False)
    shell.write(b"yes\n")
    await screen.until(lambda _: shell.paused)
    for total in (10**12, -5, 0):
        shell.acknowledge(screen, total)
        assert shell.paused


async def test_the_size_reaches_the_program(shell):
    screen = Screen(shell)
    shell.resize(50, 132)
    shell.write(b"stty size\n")
    await screen.shows(b"50 132")
    shell.resize(10**9, -5)
    assert (shell.rows, shell.columns) == (1000, 1)


async def test_a_large_paste_arrives_whole(shells):
    fd, process = shell_on_pty("/bin/sh", "-c", "stty raw -echo; echo ready; head -c 500000 | md5sum; sleep 60")
    session = TerminalSession(fd, is_tty=True)
    shells.append((session, process))
    screen = Screen(session)
    await screen.shows(b"ready")
    assert session.write(b"0123456789" * 50_000)
    await screen.shows(hashlib.md5(b"0123456789" * 50_000).hexdigest().encode())


async def test_input_that_nobody_reads_is_bounded(shells):
    fd, process = shell_on_pty("/bin/sh", "-c", "stty raw -echo; echo ready; sleep 60")
    session = TerminalSession(fd, is_tty=True)
    shells.append((session, process))
    await Screen(session).shows(b"ready")
    taken = 0
    while session.write(b"x" * 65536):
        taken += 65536
        assert taken <= 2 * terminals.MAX_INPUT
    assert not session.write(b"x" * 65536)


async def test_the_end_of_the_shell_is_told_after_its_last_words(shell):
    screen = Screen(shell)
    shell.write(b"echo last words; exit\n")
    await screen.until(lambda screen: screen.reason != "")
    assert b"last words\r\n" in screen.data
    assert not shell.alive
    late = Screen(shell)
    assert b"last words\r\n" in late.data
    assert late.reason == "The shell has ended."
    assert shell.write(b"too late\n")


async def test_closing_hangs_up(shells):
    fd, process = shell_on_pty("/bin/sh", "-c", "echo ready; exec sleep 60")
    session = TerminalSession(fd, is_tty=True)
    shells.append((session, process))
    screen = Screen(session)
    await screen.shows(b"ready")
    session.close("Enough.")
    assert screen.reason == "Enough."
    assert await asyncio.to_thread(process.wait, 5) == -1  # SIGHUP


async def test_a_socket_is_a_terminal_too_and_is_sized_by_its_callback():
    ours, theirs = socket.socketpair()
    sizes = []

    async def resize(rows, columns):
        sizes.append((rows, columns))
        await asyncio.sleep(0.01)

    session = TerminalSession(ours.detach(), is_tty=False, resize=resize)
    screen = Screen(session)
    session.write(b"hello")
    assert await asyncio.to_thread(theirs.recv, 10) == b"hello"
    theirs.send(b"there")
    await screen.shows(b"there")
    for rows in (30, 40, 50):
        session.resize(rows, 80)
    await asyncio.sleep(0.05)
    assert sizes == [(30, 80), (50, 80)] or sizes == [(50, 80)]
    theirs.close()
    await screen.until(lambda screen: screen.reason != "")


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def plain():
    """Sessions without a shell: one end of a socket pair each."""
    ends = []

    def make() -> TerminalSession:
        ours, theirs = socket.socketpair()
        ends.append(theirs)
        return TerminalSession(ours.detach(), is_tty=False)

    yield make
    for end in ends:
        end.close()


@pytest.fixture
async def sessions():
    found = TerminalTable()
    yield found
    found.close_all()


async def test_a_session_is_found_by_its_owner_only(sessions, plain):
    session = plain()
    key = sessions.add(session, Holder(1, "log-in", "c1"))
    assert len(key) >= 32
    assert sessions.get(key, 1) is session
    for user, wanted in ((2, key), (1, "other")):
        with pytest.raises(NotFound):
            sessions.get(wanted, user)
    assert [row[0] for row in sessions.of(1)] == [key]
    assert sessions.of(2) == []


async def test_a_session_without_viewers_ends_after_a_while(sessions, plain, monkeypatch):
    monkeypatch.setattr(terminals, "DETACHED", 0.05)
    session = plain()
    key = sessions.add(session, Holder(1, "", "c1"))
    screen = Screen(session)
    await asyncio.sleep(0.1)
    assert sessions.get(key, 1).alive
    session.detach(screen)
    screen = Screen(session)  # before the while is over, however slow this machine is
    await asyncio.sleep(0.1)
    assert session.alive
    session.detach(screen)
    async with asyncio.timeout(30):
        while session.alive:
            await asyncio.sleep(0.01)
    with pytest.raises(NotFound):
        sessions.get(key, 1)


async def test_logging_out_ends_the_sessions_of_that_log_in(sessions, plain):
    here, elsewhere, others = plain(), plain(), plain()
    sessions.add(here, Holder(1, "here", "c"))
    sessions.add(elsewhere, Holder(1, "elsewhere", "c"))
    sessions.add(others, Holder(2, "x", "c"))
    screen = Screen(here)
    sessions.close_for_session_key("here")
    assert [here.alive, elsewhere.alive, others.alive] == [False, True, True]
    assert screen.reason == "You have been logged out."
    sessions.close_for_session_key("")
    sessions.close_for_user(1)
    assert [elsewhere.alive, others.alive] == [False, True]


async def test_a_user_has_so_many_sessions_and_no_more(sessions, plain, monkeypatch):
    monkeypatch.setattr(terminals, "MAX_PER_USER", 3)
    mine = [plain() for _ in range(3)]
    for session in mine:
        sessions.add(session, Holder(1, "", "c"))
    late = plain()
    with pytest.raises(Conflict):
        sessions.add(late, Holder(1, "", "c"))
    assert not late.alive
    sessions.add(plain(), Holder(2, "", "c"))
    mine[0].close()
    sessions.add(plain(), Holder(1, "", "c"))
    assert len(sessions.of(1)) == 3


async def test_a_closed_session_is_forgotten_and_its_fd_with_it(sessions, plain):
    before = len(os.listdir("/proc/self/fd"))
    key = sessions.add(plain(), Holder(1, "", "c"))
    sessions.close(key, 1)
    assert len(os.listdir("/proc/self/fd")) == before + 1  # the other end, which the fixture holds
    with pytest.raises(NotFound):
        sessions.close(key, 1)


async def test_there_is_one_table_for_each_event_loop():
    assert table() is table()
