"""How a sandbox reads from above: its record and the kernel's word → ``base.Container``."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from typing import Any

from ..errors import NotFound
from ..kernel import confinement, namespaces, security, shaping
from ..kernel.cgroups import Cgroups
from ..kernel.network import DEFAULT
from ..spec import NAMESPACE_TYPES, NET_LIMITS, LimitReading
from . import raw_isolation, raw_plan, raw_restart
from .base import Container, NamespaceView
from .limit_readings import readings
from .raw_checks import REFERENCES, without_link
from .raw_store import UIDS_EACH, Ending, Record

STATE_OF_PHASE = {"ready": "created", "starting": "created", "running": "running", "removing": "exited"}


def state(record: Record) -> str:
    if record.phase == "running":
        return "paused" if record.paused else "running"
    return "exited" if record.ending is not None else STATE_OF_PHASE[record.phase]


def describe_ending(ending: Ending, stopped_by: str, *, init: bool = False) -> str:
    """In words, most telling cause first.

    An ``init`` ends with 128 + the signal that ended its program. The kernel counts OOM kills of any process in the group: the
    first one's end is one of them where it was killed, or where it hands on, as shells do, that its child was.
    """
    killed = signal.SIGKILL in (ending.signal, (ending.code or 0) - 128)
    if ending.oom_killed and killed and not stopped_by:
        if ending.oom_limit is None:
            return "OOM killed"
        limit = f"{ending.oom_limit / (1 << 20):g} MiB"
        return f"OOM killed at {limit}" if ending.oom_own else f"OOM killed: its group may have {limit}"
    return f"{_plainly(ending, stopped_by, init=init)}{'; a process in it was OOM killed' if ending.oom_killed else ''}"


def _plainly(ending: Ending, stopped_by: str, *, init: bool) -> str:
    if ending.code is None:
        return "ended while nobody watched; its exit code is unknown"
    number = ending.signal or (ending.code - 128 if init and 128 < ending.code <= 192 else 0)
    if number:
        name = _signal_name(number)
        return f"stopped with {name}" if stopped_by else f"killed by {name}"
    return "stopped" if stopped_by else f"exited {ending.code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def view(
    record: Record, paths: dict[str, str], cgroups: Cgroups, tag: str, limits: dict[str, LimitReading] | None = None
) -> Container:
    """``limits`` where they have just been read."""
    running = record.phase == "running"
    run, ending = record.run, record.ending
    reason = ""
    if ending is not None and not running:
        reason = describe_ending(ending, record.stopped_by, init=record.spec.init)
        if ending.signal == signal.SIGKILL and not (ending.oom_killed or record.stopped_by) and _shares_pids(record):
            reason += ", as all in a pid namespace are when its first process ends"
        reason = "; ".join(filter(None, (reason, raw_restart.describe(record))))
    return Container(
        id=record.id,
        node=record.node,
        engine="raw",
        name=record.spec.name,
        state=state(record),
        image=record.spec.image,
        command=record.spec.command,
        cwd=record.spec.cwd,
        user=record.spec.user,
        pid=run.pid if running and run else 0,
        namespaces=_namespaces(record, run.pid if running and run else 0),
        limits=limits if limits is not None else read_limits(record, paths if running else {}, cgroups, tag),
        exit_code=ending.code if ending is not None and not running else None,
        reason=reason,
        created_at=record.created_at,
        started_at=run.started_at if run and run.started_at else None,
        finished_at=ending.at if ending is not None and not running else None,
        owner=record.owner,
        group=record.spec.group,
        hostname=_hostname(record),
        addresses=_addresses(record),
        labels=record.spec.labels,
        restart_policy=record.spec.restart.policy,
        restart_count=record.restart_count,
        restarting=record.restart_at is not None,
        user_map=_user_map(record),
        cgroups=paths if running else {},
        ports=record.ports if running else (),
        networks=(record.spec.network or DEFAULT,) if record.attachment is not None else (),
    )


def _addresses(record: Record) -> tuple[str, ...]:
    place = record.attachment
    if place is None:
        return ()
    four = f"{place.address}/{place.prefix}"
    return (four, f"{place.address6}/{place.prefix6}") if place.address6 else (four,)


def _shares_pids(record: Record) -> bool:
    return record.spec.namespaces.pid.startswith(REFERENCES)


def _hostname(record: Record) -> str:
    """Its own; the host's where it shares that; "" where another container decides."""
    mode = record.spec.namespaces.uts
    return raw_plan.hostname(record.spec) if mode == "private" else os.uname().nodename if mode == "host" else ""


def _user_map(record: Record) -> str:
    """ "" where root inside is root outside."""
    if not record.uid_base:
        return ""
    return ", ".join("{} {} {}".format(*line) for line in raw_plan.id_lines(record.spec, record.uid_base, UIDS_EACH))


def _namespaces(record: Record, pid: int) -> dict[str, NamespaceView]:
    found: dict[str, int] = {}
    if pid:
        with contextlib.suppress(NotFound):  # it is ending at this moment
            found = namespaces.namespaces_of(pid)
    initial = namespaces.initial()
    views = {}
    for kind in NAMESPACE_TYPES:
        inode = found.get(kind, 0)
        views[kind] = NamespaceView(inode, getattr(record.spec.namespaces, kind), bool(inode) and inode == initial.get(kind))
    return views


def read_limits(record: Record, paths: dict[str, str], cgroups: Cgroups, tag: str) -> dict[str, LimitReading]:
    """Every limit of the table; kernel's and effective value are None without a cgroup to read them from."""
    requested, locked = dict(record.requested), without_link(record.spec)
    with contextlib.suppress(NotFound):
        return readings(requested, paths, cgroups, read_rates(record, tag) if paths else {}, locked)
    return readings(requested, {}, cgroups, locked=locked)


def read_changed_limits(
    record: Record, paths: dict[str, str], cgroups: Cgroups, tag: str, before: dict[str, LimitReading], changes: Collection[str]
) -> dict[str, LimitReading]:
    """``before`` with what a change of these limits can have touched read anew: a quarter of the files."""
    only = cgroups.touched_by(changes) | set(changes)
    rates = read_rates(record, tag) if paths and not only.isdisjoint(NET_LIMITS) else {}
    with contextlib.suppress(NotFound):
        return before | readings(dict(record.requested), paths, cgroups, rates, without_link(record.spec), only)
    return read_limits(record, {}, cgroups, tag)


def read_rates(record: Record, tag: str) -> dict[str, int | None]:
    """What the kernel holds its link to, in bytes per second; {} without a link."""
    return shaping.read_rates(tag, record.attachment.link) if record.attachment is not None else {}


def security_facts(record: Record) -> dict[str, Any]:
    """What confines the first process: the kernel's own word where it runs, the spec's where it doesn't."""
    spec = record.spec
    facts: dict[str, Any] = {"isolation": raw_isolation.level(spec), "warnings": raw_isolation.warnings(spec)}
    asked = spec.security.capabilities
    facts["asked"] = {
        "capabilities": sorted(asked if asked is not None else security.DEFAULT_CAPABILITIES),
        "no_new_privs": spec.security.no_new_privs,
        "seccomp": spec.security.seccomp,
        "read_only_root": spec.security.read_only_root,
        "seccomp_profile": spec.security.seccomp_profile is not None,
        "masked_paths": (*security.MASKED_PATHS, *spec.security.masked_paths),
        "read_only_paths": (*security.READ_ONLY_PATHS, *spec.security.read_only_paths),
        "user_map": _user_map(record),
        "rlimits": {name: [limit.soft, limit.hard] for name, limit in spec.rlimits.items()},
        "oom_score_adj": spec.oom_score_adj,
    }
    if record.phase == "running" and record.run is not None:
        facts["kernel"] = confinement.read(record.run.pid)
    return facts
