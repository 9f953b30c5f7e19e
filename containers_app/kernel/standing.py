"""Where a process stands and what holds it: all that another has to take on to be no freer beside it.

The kernel's own word of one moment, so that nothing has to be believed that an engine's record says. Sources: proc_pid_status(5),
cgroups(7), namespaces(7), prlimit(2).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import NotFound
from ..spec import NAMESPACE_TYPES
from . import confinement, procfs, rlimits
from .cgroups import files
from .syscalls import CLONE_FLAGS


@dataclass(frozen=True, slots=True)
class Standing:
    """``differs`` are the CLONE_NEW flags of its namespaces that are not ours. ``rlimits`` are (number, soft, hard)."""

    groups: tuple[str, ...]  # its path in each hierarchy, as the kernel says it
    cgroup2: str  # its directory in the v2 hierarchy, "" where none is mounted
    tasks: tuple[str, ...]  # the tasks files of its v1 groups
    bounding: tuple[str, ...]  # capabilities that it can ever have
    no_new_privs: bool
    seccomp: str  # off | strict | filter | unknown
    label: str  # of AppArmor or SELinux, "" without
    oom_score_adj: int
    rlimits: tuple[tuple[int, int, int], ...]
    differs: int


def read(pid: int, root: str = "/sys/fs/cgroup") -> Standing:
    """NotFound when it is gone, or in a control group that is not mounted here."""
    facts = confinement.read(pid)
    groups = files.read_all(f"/proc/{pid}/cgroup")
    score = procfs.read(f"/proc/{pid}/oom_score_adj")
    limits = procfs.read(f"/proc/{pid}/limits")
    if not facts or not groups or score is None or limits is None:
        raise _gone(pid)
    lines = [line.split(":", 2) for line in groups.decode(errors="surrogateescape").splitlines()]
    cgroup2, tasks = _directories(pid, lines, root)
    return Standing(
        groups=tuple(group for _, _, group in lines), cgroup2=cgroup2, tasks=tasks, bounding=tuple(facts["bounding"]),
        no_new_privs=facts["no_new_privs"], seccomp=facts["seccomp"], label=facts["lsm"], oom_score_adj=int(score),
        rlimits=rlimits.parse(limits.decode()), differs=join_flags(pid),
    )  # fmt: skip


def _directories(pid: int, lines: list[list[str]], root: str) -> tuple[str, tuple[str, ...]]:
    """Every hierarchy counts, "devices" above all: who is not in that group may open any device of the host."""
    mounts = {",".join(sorted(mount.controllers)) if mount.version == 1 else "": mount for mount in files.mounts(root, "/proc")}
    by_controller = {name: mount for mount in mounts.values() if mount.version == 1 for name in mount.controllers}
    cgroup2, tasks = "", []
    for _, names, group in lines:
        mount = mounts.get("") if not names else by_controller.get(names.split(",")[0])
        if mount is None:
            if group == "/":
                continue  # everybody's; nothing holds it there
            raise NotFound(f"Process {pid} is in the group {group} of {names or 'v2'}, which is not mounted at {root}.")
        if (directory := mount.place(group)) is None:
            raise NotFound(f"Process {pid} is in the group {group}, outside of what is mounted at {mount.directory}.")
        if names:
            tasks.append(f"{directory}/tasks")
        else:
            cgroup2 = directory
    return cgroup2, tuple(tasks)


def join_flags(pid: int) -> int:
    """The namespaces in which a process differs from us; joining one's own is refused by the kernel.

    NotFound when it can't be known of any type that there is: a process whose first thread has ended, while others run, has let
    go of most, and may have them again by executing a program. Who enters it must not stay in the host's.
    """
    flags = 0
    for kind in NAMESPACE_TYPES:
        try:
            ours = os.readlink(f"/proc/self/ns/{kind}")
        except OSError:
            continue  # this kernel has no such type
        try:
            theirs = os.readlink(f"/proc/{pid}/ns/{kind}")
        except OSError:
            raise _gone(pid) from None
        if theirs != ours:
            flags |= CLONE_FLAGS[kind]
    return flags


def _gone(pid: int) -> NotFound:
    return NotFound(f"There is no process {pid}.", hint="It may just have ended.")
