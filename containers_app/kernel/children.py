"""What the keeper has forked: a launch until its program runs, and a child until it is reaped. Standard library only."""

from __future__ import annotations

import math
import os
import socket
import sys
import time
from typing import Any

from .plan import Plan

SETUP_SECONDS = 10.0  # a child that isn't running its program by then is stuck, for example in a frozen cgroup


class Child:
    """A process that we have not reaped. It keeps no more of its plan than its end needs: there may be a thousand."""

    __slots__ = ("exit_record", "failed", "id", "kind", "log", "pid", "run")

    def __init__(self, pid: int, id: str, run: str, kind: str, log: str, exit_record: str) -> None:
        self.pid, self.id, self.run, self.kind, self.log, self.exit_record = pid, id, run, kind, log, exit_record
        self.failed = False

    @classmethod
    def of(cls, pid: int, plan: Plan) -> Child:
        return cls(pid, plan.id, plan.run, plan.kind, plan.log, plan.exit_record)

    def write_exit(self, text: str) -> None:
        """Whole, but without waiting for the disk: after a restart of the host nobody asks, and meanwhile nothing could go on."""
        if not self.exit_record:
            return
        try:
            with open(self.exit_record + ".new", "w") as file:
                file.write(text)
            os.rename(self.exit_record + ".new", self.exit_record)
        except OSError as error:  # a full disk, or the sandbox's directory is gone: the event still tells the worker
            print(f"keeper: {self.exit_record}: {error}", file=sys.stderr, flush=True)


class Launch:
    """A launch under way, from the fork until the program runs. ``status`` is our end of the pair with the child.

    ``held``: the worker has not said yet that the sandbox's files are there. ``due``: the words that the child waits for.
    One whose child hears the rest of its steps from the worker may take for ever: it ends when the worker lets go of it.
    """

    __slots__ = ("deadline", "due", "error", "held", "pid", "pidfd", "plan", "ready", "reply_to", "seq", "status", "terminal")

    def __init__(self, plan: Plan, status: socket.socket, reply_to: socket.socket, seq: int) -> None:
        self.plan, self.status, self.reply_to, self.seq = plan, status, reply_to, seq
        self.pid, self.pidfd, self.terminal = 0, -1, -1
        self.ready = False
        self.error: dict[str, Any] = {}
        self.held = bool(plan.root) and plan.rest < 0
        self.due = [word for word, steps in ((b"root", plan.root), (b"link", plan.link)) if steps]
        self.deadline = time.monotonic() + SETUP_SECONDS if plan.rest < 0 else math.inf
