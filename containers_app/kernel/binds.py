"""Paths of the host inside a sandbox: copied as detached mounts, given their propagation, attached below the new root.

Standard library only; the keeper runs this. Sources: mount_namespaces(7), open_tree(2), mount_setattr(2), proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass

from . import syscalls as sc
from .operation import Operation, Stage
from .rootfs import attach


def detached_copy(source: str, read_only: bool, propagation: int, peers: str = "") -> int:
    """A detached copy of a path of our own mount namespace, with all that is mounted below it.

    ``peers`` is the field of proc_pid_mountinfo(5) that its mount must have, "shared" or "master", else EINVAL: without it
    nothing would ever propagate.
    """
    # No symbolic link on the way: the policy looked at this very path.
    place = sc.openat2(sc.AT_FDCWD, source, os.O_PATH, resolve=sc.RESOLVE_NO_MAGICLINKS | sc.RESOLVE_NO_SYMLINKS)
    try:
        if peers and peers not in _peer_groups(place):
            raise OSError(22, f"{source} is on a mount that the host does not share; mount --make-shared changes that")
        tree = sc.open_tree(place, "", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_EMPTY_PATH | sc.AT_RECURSIVE)
    finally:
        os.close(place)
    try:
        attributes = sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV | (sc.MOUNT_ATTR_RDONLY if read_only else 0)
        sc.mount_setattr(tree, set_=attributes, propagation=propagation, recursive=True)
    except OSError:
        os.close(tree)
        raise
    return tree


def _peer_groups(place: int) -> list[str]:
    """ "shared", "master" or both, of the mount that an open path is on."""
    with open(f"/proc/self/fdinfo/{place}") as file:
        number = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
    with open("/proc/self/mountinfo") as file:
        fields = next(line.split() for line in file if line.split(" ", 1)[0] == number)
    return [field.partition(":")[0] for field in fields[6 : fields.index("-")]]


@dataclass(frozen=True, slots=True)
class PrepareBind(Operation):
    """A detached copy of a host path, to be attached inside. The policy has allowed the source.

    ``follow``: what the host mounts below it later appears inside too ("slave"); the other way nothing ever goes.
    """

    source: str
    read_only: bool
    follow: bool = False

    def execute(self, stage: Stage) -> None:
        # The keeper's own mounts are the host's slaves, and so is a copy of them.
        propagation = sc.MS_SLAVE if self.follow else sc.MS_PRIVATE
        stage.mounts.append(detached_copy(self.source, self.read_only, propagation, "master" if self.follow else ""))

    def describe(self) -> list[str]:
        follow = ", following what is mounted there" if self.follow else ""
        return [f"# {self.source} is opened on the host, {'read-only' if self.read_only else 'read-write'}{follow}"]


@dataclass(frozen=True, slots=True)
class AttachBind(Operation):
    """Attach the next mount that the parent prepared."""

    source: str
    target: str
    links: bool = True  # of the image's that the target may go through

    def execute(self, stage: Stage) -> None:
        mount = stage.mounts.pop(0)
        kind = "dir" if stat.S_ISDIR(os.fstat(mount).st_mode) else "file"
        attach(mount, stage, self.target, make=kind, links=self.links)

    def describe(self) -> list[str]:
        return [f"mount --bind {shlex.quote(self.source)} $ROOT{shlex.quote(self.target)}"]


@dataclass(frozen=True, slots=True)
class AttachShared(Operation):
    """Attach a copy that the worker made: only in the host's own mount namespace is a copy the host's peer ("shared")."""

    source: str
    target: str
    index: int  # of the copy's descriptor in what the worker sent

    def execute(self, stage: Stage) -> None:
        mount = os.dup(stage.fds[self.index])
        kind = "dir" if stat.S_ISDIR(os.fstat(mount).st_mode) else "file"
        attach(mount, stage, self.target, make=kind, links=True)

    def describe(self) -> list[str]:
        return [f"mount --rbind {shlex.quote(self.source)} $ROOT{shlex.quote(self.target)}  # and a peer of the host's mount"]
