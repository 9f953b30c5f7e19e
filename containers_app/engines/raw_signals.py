"""Signals to a sandbox's first process."""

from __future__ import annotations

import signal

from ..errors import InvalidInput


def send(pidfd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass  # it has just ended by itself
    except OSError as error:
        raise InvalidInput(f"{number} is not a signal: {error.strerror}.", hint="Signals are 1 to 64.") from None


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for a signal (SigCgt of proc_pid_status(5)); False when it is gone."""
    try:
        with open(f"/proc/{pid}/status") as file:
            caught = next(line for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
