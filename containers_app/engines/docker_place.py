"""Where a Docker container stands on this host: its first process and its control groups, proven by the id in their names.

A daemon tells pids of its own host, which need not be this one, and a pid is another process's once it was given again. Every
runtime names the group that it makes for a container after it (``docker/ID``, ``docker-ID.scope``, ``libpod-ID.scope``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import NotFound
from ..kernel import namespaces
from ..kernel.cgroups import Cgroups

_LIVING = ("running", "paused")
_PODMANS = ("libpod-", "container")  # its runtime crun keeps the processes in a group of that name below the container's own


@dataclass(frozen=True)
class Place:
    """``pid`` 0: it does not run, or not on this host."""

    pid: int = 0
    cgroups: Mapping[str, str] = field(default_factory=dict)  # controller → directory, as Cgroups.paths_of has them
    inodes: Mapping[str, int] = field(default_factory=dict)  # of its namespaces, by type
    user_map: str = ""


NOWHERE = Place()


def first_pid(inspected: Mapping[str, Any]) -> int:
    """By the daemon's word, on the daemon's host; 0 when it does not run."""
    state = inspected.get("State") or {}
    return int(state.get("Pid") or 0) if state.get("Status") in _LIVING else 0


def find(inspected: Mapping[str, Any], cgroups: Cgroups) -> Place:
    """Reads /proc: a fraction of a millisecond."""
    pid, container = first_pid(inspected), str(inspected.get("Id") or "")
    if not pid or not container:
        return NOWHERE
    try:
        groups = {name: _own_group(path, container) for name, path in cgroups.paths_of(pid).items() if container in path}
        if not groups:
            return NOWHERE
        return Place(pid, groups, namespaces.namespaces_of(pid), namespaces.id_map(pid).text)
    except NotFound:  # it ends at this moment; an event will tell
        return NOWHERE


def _own_group(path: str, container: str) -> str:
    """A container may move its first process below (docker:dind, systemd): limits and counters are the whole container's."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if container in part:
            inner = parts[index + 1 : index + 2]
            return "/".join(parts[: index + 1 + (part.startswith(_PODMANS[0]) and inner == [_PODMANS[1]])])
    raise ValueError(path)
