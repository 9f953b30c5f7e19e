"""The part of the control groups that systemd has delegated to a panel, where systemd is the host's first process.

systemd is the only writer of every group that it made and did not delegate: systemd.resource-control(5), "Delegate=".
There deploy/up has keeper and worker run in a scope with Delegate=yes, and what we make goes below it:

    /terrarium-TAG.scope               systemd's: its limits are changed by systemctl set-property alone
    /terrarium-TAG.scope/daemons       supervisor, keeper, worker, web: cgroup v2 has no processes beside groups
    /terrarium-TAG.scope/terrarium-TAG the sandboxes' groups, as directly below the root elsewhere

A scope, because whoever is killed, it stays as long as anything runs in it, and goes by itself with the last process; a
service would have to be started anew into a group with groups in it, which v2 refuses. It lies directly in the root slice,
where our groups lie on other hosts, because each level above would have to pass ``memory_low`` on. Of v1 hierarchies systemd
delegates those of cpu, memory and pids; in the others it makes the unit no group, and ours lie below the root as elsewhere.
Standard library only: deploy/lib uses it too.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

DAEMONS = "daemons"
_UNIT = re.compile(r"/terrarium-[0-9a-f]{6}\.scope(?=/|$)", re.ASCII)
_SECONDS = 20.0


def unit_name(tag: str) -> str:
    return f"terrarium-{tag}.scope"


def delegated(group: str) -> str:
    """The group of the unit of ours that a process of ``group`` (a line's end in /proc/PID/cgroup) runs in, or ""."""
    found = _UNIT.search(group)
    return group[: found.end()] if found else ""


def protect_memory(directory: str, value: str) -> None:
    """Have systemd protect this much memory of the unit, bytes or "max", until the next boot at most.

    When it does not, the limit's effective value tells.
    """
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if Path(directory, "memory.low").read_text().strip() != value:
            amount = "infinity" if value == "max" else value
            subprocess.run(
                ["systemctl", "--runtime", "set-property", os.path.basename(directory), f"MemoryLow={amount}"],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
            )  # fmt: skip
