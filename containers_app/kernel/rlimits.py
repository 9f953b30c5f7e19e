"""Resource limits of a process, getrlimit(2): raised by the parent, set by the child. Standard library only: the keeper's.

What a plan does not name is inherited from the keeper, as Docker's containers inherit from its daemon. A hard limit may go
down for everybody; up only for CAP_SYS_RESOURCE in the host's own user namespace, which the child has left: so the keeper
raises it from outside, where it may, and the child sets the rest as its last step but one, so that no step before it is short
of anything.
"""

from __future__ import annotations

import errno
import resource
from dataclasses import dataclass

from .operation import Operation, Stage

Rows = tuple[tuple[str, int, int], ...]  # name in small letters, soft, hard; -1 is unlimited, as in the kernel's own header
NAMES = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack",
)  # fmt: skip
_NUMBERS = {name: getattr(resource, f"RLIMIT_{name.upper()}", 10) for name in NAMES}  # 10 is locks, asm-generic/resource.h


# The rows of /proc/PID/limits in the order of their numbers, the same on every machine that we run on.
_ROWS = (
    "cpu time", "file size", "data size", "stack size", "core file size", "resident set", "processes", "open files",
    "locked memory", "address space", "file locks", "pending signals", "msgqueue size", "nice priority",
    "realtime priority", "realtime timeout",
)  # fmt: skip
UNLIMITED = resource.RLIM_INFINITY


def parse(text: str) -> tuple[tuple[int, int, int], ...]:
    """/proc/PID/limits → (number, soft, hard); prlimit(2) itself would ask for power over the process's user."""
    rows = {line[4:26].strip(): line[26:].split() for line in text.splitlines()[1:]}
    found = [(number, rows[name]) for number, name in enumerate(_ROWS) if name in rows]
    return tuple((number, _limit(row[0]), _limit(row[1])) for number, row in found)


def by_name(text: str) -> dict[str, tuple[int, int]]:
    """The same as name → (soft, hard)."""
    numbers = {number: (soft, hard) for number, soft, hard in parse(text)}
    return {name: numbers[number] for name, number in _NUMBERS.items() if number in numbers}


def _limit(word: str) -> int:
    return UNLIMITED if word == "unlimited" else int(word)


def above(hard: int, other: int) -> bool:
    """Is one hard limit more than another?"""
    return other != UNLIMITED and (hard == UNLIMITED or hard > other)


@dataclass(frozen=True, slots=True)
class RaiseRlimits(Operation):
    """The parent's part: hard limits above its own."""

    limits: Rows

    def execute(self, stage: Stage) -> None:
        for name, _, hard in self.limits:
            soft, own = resource.getrlimit(_NUMBERS[name])
            if not above(hard, own):
                continue
            try:
                resource.prlimit(stage.pid, _NUMBERS[name], (soft, hard))
            except (PermissionError, ValueError):  # the module's word for EPERM is ValueError
                text = f"the hard limit {name} is {own} here, and only CAP_SYS_RESOURCE, which the panel lacks, raises it"
                raise OSError(errno.EPERM, text) from None

    def describe(self) -> list[str]:
        return [f"prlimit --pid $PID {' '.join(_option(*row) for row in self.limits)}"]


@dataclass(frozen=True, slots=True)
class SetRlimits(Operation):
    limits: Rows

    def execute(self, stage: Stage) -> None:
        for name, soft, hard in self.limits:
            resource.setrlimit(_NUMBERS[name], (soft, hard))

    def describe(self) -> list[str]:
        return []  # the parent's command says it all


def _option(name: str, soft: int, hard: int) -> str:
    return f"--{name}={_shown(soft)}:{_shown(hard)}"


def _shown(value: int) -> str:
    return "unlimited" if value == UNLIMITED else str(value)
