"""Sitting at a sandbox from the command line: keys, window size, exit code, a toolbox, each by a real pseudo terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator

import pytest

from tests.dockerd import Dockerd
from tests.engines.conftest import wait_until
from tests.panel import ROOT, Panel, deploy

END = b"\0the end\0"


class Screen:
    """``deploy/manage WORDS`` at a terminal of its own; what it shows is collected by a thread."""

    def __init__(self, panel: Panel, *words: str, rows: int = 40, columns: int = 100) -> None:
        self._master, self._slave = pty.openpty()
        self.size(rows, columns)
        self.attributes = termios.tcgetattr(self._slave)
        command = [str(ROOT / "deploy" / "manage"), *panel.place, *words]
        self.process = subprocess.Popen(
            command, stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 4096):
                self._shown += data
        except OSError:  # nobody has the other side open
            pass

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("=4H", rows, columns, 0, 0))

    @property
    def text(self) -> str:
        return self._shown.decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def told_size(self) -> str:
        """What the shell there says that it is: "rows columns"."""
        before = len(self.text)
        self.type("stty size\n")
        wait_until(lambda: re.search(r"^\d+ \d+\r$", self.text[before:], re.M))
        return re.findall(r"^(\d+ \d+)\r$", self.text[before:], re.M)[-1]

    def until(self, pattern: str, times: int = 1) -> None:
        try:
            wait_until(lambda: len(re.findall(pattern, self.text, re.M)) >= times)
        except AssertionError:
            raise AssertionError(f"not shown: {pattern} in\n{self.text}") from None

    def ended(self) -> int:
        """Its exit code; the terminal is as it was before, and all that it has shown is there."""
        code = self.process.wait(timeout=60)
        os.write(self._slave, END)
        wait_until(lambda: self._shown.endswith(END))
        assert termios.tcgetattr(self._slave) == self.attributes
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._slave)
        self._reader.join()
        os.close(self._master)


@pytest.fixture
def box(panel: Panel) -> Iterator[str]:
    panel.manage("sandbox", "run", "cli-seat", "sleep", "1000")
    yield "cli-seat"
    panel.manage("sandbox", "rm", "--force", "cli-seat")


@pytest.fixture
def sit(panel: Panel) -> Iterator[object]:
    """Words → a Screen with that command."""
    open_ones: list[Screen] = []

    def sit_at(*words: str) -> Screen:
        open_ones.append(Screen(panel, "sandbox", *words))
        return open_ones[-1]

    yield sit_at
    for screen in open_ones:
        screen.close()


def test_a_shell_has_the_keys_the_size_and_the_exit_code_of_its_own(sit, box: str) -> None:  # type: ignore[no-untyped-def]
    screen = sit("terminal", box)
    screen.type("stty size; hostname\n")
    screen.until(r"^40 100\r$")
    screen.until(r"^cli-seat\r$")
    screen.size(50, 120)
    wait_until(lambda: screen.told_size() == "50 120")  # the new size and the keys go by different ways
    screen.type("sh -c 'echo begun; sleep 1000'\n")  # what says so is the one that the terminal's keys are for by then
    screen.until(r"^begun\r$")
    screen.type("\x03")
    screen.type("echo code $?\n")
    screen.until(r"^code 130\r$")
    screen.type("exit 7\n")
    assert screen.ended() == 7
    assert "exit-code" not in screen.text and screen.text.count("begun") == 2


@pytest.mark.parametrize(("words", "code"), [(("true",), 0), (("sh", "-c", "echo 'two words' exit-code-; exit 3"), 3),
                                             (("--", "sh", "-c", "exit 5"), 5), (("/no/such/program",), 127)])  # fmt: skip
def test_a_program_has_its_exit_code(sit, box: str, words: tuple[str, ...], code: int) -> None:  # type: ignore[no-untyped-def]
    screen = sit("terminal", box, *words)
    assert screen.ended() == code
    assert ("two words exit-code-\r\n" in screen.text) == (code == 3)


def test_what_is_killed_by_ctrl_c_says_so(sit, box: str) -> None:  # type: ignore[no-untyped-def]
    screen = sit("terminal", box, "sh", "-c", "echo begun; exec sleep 1000")
    screen.until("begun")
    screen.type("\x03")
    assert screen.ended() == 130


def test_one_whose_sandbox_ends_is_no_success_and_a_signal_leaves_the_terminal_as_it_was(  # type: ignore[no-untyped-def]
    panel: Panel, sit, box: str
) -> None:
    first, second = (sit("terminal", box, "sh", "-c", "echo begun; sleep 1000") for _ in range(2))
    for screen in (first, second):
        screen.until("begun")
    second.process.send_signal(signal.SIGTERM)
    assert second.ended() == 1
    panel.manage("sandbox", "kill", box)
    assert first.ended() == 1 and "It was cut off" in first.text


@pytest.fixture
def bare(panel: Panel) -> Iterator[str]:
    """One without any shell."""
    panel.manage("image", "import", "shell-less", "programs", "sleep", "stty")
    panel.manage("sandbox", "run", "--image", "shell-less", "cli-bare", "sleep", "1000")
    yield "cli-bare"
    panel.manage("sandbox", "rm", "--force", "cli-bare")
    panel.manage("image", "remove", "shell-less")


def test_without_a_shell_inside_a_program_is_named_or_a_toolbox_opened(sit, bare: str) -> None:  # type: ignore[no-untyped-def]
    screen = sit("terminal", bare, "--", "stty", "size")
    assert screen.ended() == 0
    assert "40 100\r\n" in screen.text and "How it ended is not known" in screen.text
    for words, told in (((), "This sandbox has no shell."), (("--", "ls"), "ls is not in this image's PATH")):
        screen = sit("terminal", bare, *words)
        assert screen.ended() == 1
        assert told in screen.text and "Traceback" not in screen.text
    screen = sit("toolbox", bare)
    screen.type("ls -d /target/usr/bin/stty /target/bin/stty; exit\n")
    assert screen.ended() == 0 and "/stty\r\n" in screen.text


def test_a_docker_container_is_sat_at_in_the_same_way(sit, dockerd: Dockerd) -> None:  # type: ignore[no-untyped-def]
    dockerd.docker("run", "--detach", "--name", "cli-docker", "--hostname", "inside", "busybox", "sleep", "1000")
    try:
        screen = sit("terminal", "cli-docker", "sh", "-c", "hostname; stty size; exit 4")
        assert screen.ended() == 4
        screen.until(r"^inside\r\n40 100\r$")
    finally:
        dockerd.docker("rm", "--force", "cli-docker")


def test_a_toolbox_goes_with_its_shell(panel: Panel, sit, box: str) -> None:  # type: ignore[no-untyped-def]
    before = json.loads(panel.manage("sandbox", "--json", "processes", box))["items"]
    screen = sit("toolbox", box)
    screen.type("ls -d /target/bin; hostname; stty size\n")
    for line in ("/target/bin", "cli-seat", "40 100"):
        screen.until(rf"^{line}\r$")
    screen.type("exit\n")
    assert screen.ended() == 0
    assert json.loads(panel.manage("sandbox", "--json", "processes", box))["items"] == before


def test_without_a_terminal_or_a_sandbox_it_is_one_sentence(panel: Panel, sit, box: str) -> None:  # type: ignore[no-untyped-def]
    for words in (("terminal", box), ("toolbox", box)):
        ran = deploy("manage", *panel.place, "sandbox", *words)
        assert ran.returncode == 1 and ran.stderr.startswith("CommandError: This needs a terminal"), ran.stderr
    screen = sit("terminal", "nobodys")
    assert screen.ended() == 1
    assert "There is no container nobodys." in screen.text and "Traceback" not in screen.text
