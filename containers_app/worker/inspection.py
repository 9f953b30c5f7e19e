"""What the kernel says of containers and host, in the words of the API. Blocking; the commands run it in a thread."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from .. import errors
from ..engines.base import Container, EngineStatus
from ..engines.policy import UidRange
from ..kernel import namespaces as kernel_namespaces
from ..kernel import procfs
from ..kernel.cgroups import Cgroups
from ..spec import LIMITS

MAX_PROCESSES = 4096  # that are told


def processes(container: Container, cgroups: Cgroups) -> list[procfs.Process]:
    """Oldest first; [] when it does not run. No more than ``MAX_PROCESSES``."""
    return procfs.processes(_pids(container, cgroups)[:MAX_PROCESSES])


def namespaces(container: Container, everything: Iterable[Container]) -> list[dict[str, Any]]:
    """One item for each type: inode, mode, owner, parent, and which other containers are in the same."""
    try:
        found = {one.type: one for one in kernel_namespaces.details(container.pid)} if container.pid else {}
    except errors.NotFound:
        found = {}  # it has just ended
    users: dict[tuple[str, int], list[dict[str, str]]] = {}
    for other in everything:
        if other.id != container.id:
            for kind, view in other.namespaces.items():
                if view.inode:
                    users.setdefault((kind, view.inode), []).append({"id": other.id, "name": other.name})
    return [
        {
            "type": kind,
            "inode": one.inode if (one := found.get(kind)) else 0,
            "mode": view.mode,
            "initial": one.initial if one else view.initial,
            "owner": one.owner if one else None,
            "parent": one.parent if one else None,
            "shared_with": users.get((kind, one.inode), []) if one else [],
        }
        for kind, view in container.namespaces.items()
    ]


def graph(everything: Iterable[Container], cgroups: Cgroups) -> dict[str, Any]:
    """Nodes and edges of all containers that run, their namespaces and the host's."""
    return kernel_namespaces.graph(
        {one.id: (one.name, one.engine, one.state, _pids(one, cgroups)) for one in everything}, os.uname().nodename
    )


def host(node: str, engines: list[EngineStatus], cgroups: Cgroups, uids: UidRange) -> dict[str, Any]:
    facts = os.uname()
    return {
        "node": node,
        "hostname": facts.nodename,
        "kernel": f"{facts.sysname} {facts.release} {facts.machine}",
        "cgroups": cgroups.version,
        "controllers": dict(cgroups.controllers),
        "cpus": procfs.cpus(),
        "memory_total": procfs.memory().total,
        "engines": engines,
        "checks": procfs.checks(),
        "limits": _limits(cgroups),
        "uids": uids,
    }


def _limits(cgroups: Cgroups) -> dict[str, dict[str, Any]]:
    """What this host can limit: how far, for which disks or sizes of huge page, and if it can't, why."""
    locked, maximums, parts = cgroups.locked(), cgroups.maximums(), cgroups.parts()
    return {
        name: {"maximum": maximums.get(name, row.maximum), "locked": locked.get(name, ""), "parts": parts.get(name, ())}
        for name, row in LIMITS.items()
    }


def _pids(container: Container, cgroups: Cgroups) -> list[int]:
    """Its first process first; all in its cgroups, else (none of its own) all below its first process."""
    if not container.pid:
        return []
    try:
        members = cgroups.pids(container.cgroups) if container.cgroups else procfs.descendants(container.pid)
    except errors.TerrariumError:  # it has just ended
        members = []
    return [container.pid, *(pid for pid in members if pid != container.pid)]
