"""Docker's containers in groups of the panel: a group's control group is the parent of theirs (`docker run --cgroup-parent`).

Docker makes a container's control group below its parent, and the parent too where it is missing, without limits: so the group
is made before each start that goes through us. It can't be changed after the container was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..errors import Unsupported
from .groups import Groups

_HINT = "Use a raw sandbox for that, or limit the container by itself."


class DockerGroups:
    """Those of one daemon. ``local``: it runs on this host. ``driver``: who keeps its control groups, cgroupfs or systemd."""

    def __init__(self, groups: Groups | None, *, local: bool) -> None:
        self._groups = groups if local else None
        self.driver = ""

    def parent(self, group: str) -> dict[str, str]:
        """What HostConfig says of a container in ``group``; {} for "" (none)."""
        if not group:
            return {}
        if self._groups is None:
            raise Unsupported("This Docker daemon is on another host, and groups are of this one.", hint=_HINT)
        if self.driver != "cgroupfs":
            raise Unsupported(
                f"This Docker daemon leaves control groups to {self.driver or 'others'}, where only slices can be parents.",
                hint=f"{_HINT} A daemon with native.cgroupdriver=cgroupfs can be in groups.",
            )
        if (above := self._groups.above()) is None:
            raise Unsupported(
                "systemd has delegated only some hierarchies of control groups here, and Docker knows one parent for all.",
                hint=_HINT,
            )
        return {"CgroupParent": f"{above}/{self._groups.place(self._groups.get(group).name)}"}

    def ensure(self, group: str) -> None:
        """Its control group is there, with its limits."""
        if group and self._groups is not None:
            self._groups.ensure(group)

    def expecting(self, group: str) -> AbstractContextManager[None]:
        """As ``ensure``, and it stays, for a container that is being made: Docker would make it anew, without limits."""
        return self._groups.expecting(group) if group and self._groups is not None else nullcontext()

    def named_by(self, host: Mapping[str, Any]) -> str:
        """The group that a container is in by its record, "" for none."""
        return self._groups.named_by(str(host.get("CgroupParent") or "")) if self._groups is not None else ""
