"""Restart policies: what is to become of a sandbox that has ended, and when.

Decided once, as it ends, and kept in its record together with the ending: a worker killed at any instruction finds there what
was due. After a restart of the host whatever had been running begins anew ("unless-stopped", "always"), and "always" also
what a user had stopped.
"""

from __future__ import annotations

import time

from ..kernel import procfs
from .raw_store import Ending, Record

FIRST_DELAY = 0.1  # seconds; doubles with each attempt in a row
LONGEST_DELAY = 60.0
STEADY_SECONDS = 10.0  # of running, after which it counts from the beginning


def decide(record: Record, ending: Ending) -> None:
    """Set when it is to start again, if it is. To be saved together with the ending."""
    record.restart_at = None
    policy = record.spec.restart.policy
    if not record.wanted or policy == "no":
        return
    rebooted = record.run is not None and record.run.boot_id != procfs.boot_id()
    if policy == "on-failure" and (ending.code == 0 or rebooted):
        return
    if rebooted or _ran(record, ending) >= STEADY_SECONDS:
        record.attempts = 0
    again(record)


def again(record: Record) -> None:
    """One more attempt, later than the one before; none once the policy's are used up."""
    record.restart_at = None
    if not record.spec.restart.retries or record.attempts < record.spec.restart.retries:
        record.attempts += 1
        record.restart_at = time.time() + delay(record.attempts)


def delay(attempt: int) -> float:
    """Seconds before attempt 1, 2, …: 0.1, 0.2, 0.4, … 60."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempt - 1, 20))


def _ran(record: Record, ending: Ending) -> float:
    if record.run is None or not record.run.started_at:
        return 0.0
    return (ending.at or time.time()) - record.run.started_at


def due_at_boot(record: Record) -> bool:
    """ "always" holds for what a user had stopped too, from the next start of the host on."""
    last = record.run
    stopped = record.phase == "ready" and record.restart_at is None and last is not None
    return stopped and record.spec.restart.policy == "always" and last is not None and last.boot_id != procfs.boot_id()


def describe(record: Record) -> str:
    """In words, behind the way it ended: ""; "restarting after 0.4 s, attempt 3 of 5"; "given up after 5 attempts"."""
    restart = record.spec.restart
    of = f" of {restart.retries}" if restart.retries else ""
    if record.restart_at is not None:
        words = f"restarting after {delay(record.attempts):g} s, attempt {record.attempts}{of}"
    elif record.wanted and restart.retries and record.attempts >= restart.retries and restart.policy == "on-failure":
        failed = record.ending is not None and record.ending.code != 0
        words = f"given up after {record.attempts} attempts" if failed else ""
    else:
        return ""
    return f"{words}; the last one failed: {record.restart_error}" if record.restart_error and words else words
