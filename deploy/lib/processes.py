"""Processes by pid *and* start time, so that a number which the kernel gave to somebody else is never signalled."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """``started`` is field 22 of /proc/PID/stat: clock ticks since boot. proc_pid_stat(5)"""

    pid: int
    started: int


def start_time(pid: int) -> int | None:
    """None when there is no such process, or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def write_pid_file(path: Path, pid: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(f"{pid} {start_time(pid)}\n")
    temporary.replace(path)


def read_pid_file(path: Path) -> Process | None:
    """The living process that wrote itself there, or None."""
    try:
        pid, started = (int(word) for word in path.read_text().split())
    except (OSError, ValueError):
        return None
    return Process(pid, started) if start_time(pid) == started else None


def find(*words: str) -> list[Process]:
    """Processes whose command line holds all these words, eldest first (a fork has its parent's until it calls exec)."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
                started = start_time(int(entry))
                if started is not None and all(word in line for word in words):
                    found.append(Process(int(entry), started))
    return sorted(found, key=lambda process: process.started)


def stop(process: Process, timeout: float) -> None:
    """SIGTERM, then SIGKILL after ``timeout`` seconds; returns when it is gone."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if start_time(process.pid) != process.started:
            return
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if not wait(pidfd, timeout):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            wait(pidfd, 10)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def wait(pidfd: int, timeout: float) -> bool:
    """Whether the process ended within ``timeout`` seconds."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
