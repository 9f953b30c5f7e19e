"""After a restart: what became of a sandbox, from its record, the keeper's children and the kernel. Changes nothing."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Sequence

import msgspec

from ..kernel import procfs
from ..kernel import syscalls as sc
from .keeper_client import KeeperChild
from .raw_store import Ending, Record, Run

UNKNOWN = Ending(None, 0, None)


class Outcome(msgspec.Struct, frozen=True):
    """``action``: remove (half made, or half removed), adopt (it runs), end (it ran, and runs no more), keep (it was not
    running). ``pidfd`` of the run, where there is one, is the caller's."""

    action: str
    run: Run | None = None
    pidfd: int = -1
    ending: Ending | None = None


def look(record: Record, children: Sequence[KeeperChild], group_pids: Sequence[int]) -> Outcome:
    if record.phase == "removing":
        return Outcome("remove")
    if record.phase == "ready" or record.run is None:
        return Outcome("keep")
    run = record.run
    if run.boot_id != procfs.boot_id():
        return Outcome("end", ending=UNKNOWN)  # the host was restarted
    pid = run.pid or _launched_unseen(run, children, group_pids)
    if not pid:
        return Outcome("end")
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return Outcome("end")
    ticks = procfs.start_time(pid)
    if ticks is None or (run.start_ticks and ticks != run.start_ticks):
        os.close(pidfd)
        return Outcome("end")  # gone, and its pid is another's now
    found = Run(run.id, run.boot_id, pid, ticks, run.started_at or _started_at(ticks))
    return Outcome("end" if select.select([pidfd], [], [], 0)[0] else "adopt", found, pidfd)


def _launched_unseen(run: Run, children: Sequence[KeeperChild], group_pids: Sequence[int]) -> int:
    """The worker died between asking for a launch and hearing of it: ask the keeper, or else the cgroup."""
    for child in children:
        if child.run == run.id:
            return child.pid
    firsts = [process.pid for process in procfs.processes(group_pids) if process.ns_pid == 1]
    return firsts[0] if firsts else 0


def _started_at(ticks: int) -> float:
    return procfs.boot_time() + ticks / os.sysconf("SC_CLK_TCK")


def how_it_ended(record: Record, home: str, pidfd: int) -> Ending:
    """The keeper's exit record of this very run, else what the kernel tells by ``pidfd`` (-1 for none), or unknown."""
    run = record.run
    try:
        with open(f"{home}/exit.json") as file:
            told = json.load(file)
        if run is not None and told["run"] == run.id:
            return Ending(int(told["code"]), int(told["signal"]), float(told["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if run is None or pidfd < 0:
        return UNKNOWN
    # Until init, which has got it from a keeper that died, reaps it its stat tells; from then on its pidfd does.
    status = sc.exit_status(pidfd)
    if status is None and (status := procfs.zombie_status(run.pid, run.start_ticks)) is None:
        status = sc.exit_status(pidfd)
    return UNKNOWN if status is None else from_wait_status(status, time.time())


def from_wait_status(status: int, at: float) -> Ending:
    """A wait status (wait(2)) → how it ended."""
    code = os.waitstatus_to_exitcode(status)
    return Ending(128 - code, -code, at) if code < 0 else Ending(code, 0, at)
