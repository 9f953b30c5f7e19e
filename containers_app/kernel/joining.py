"""Entering namespaces that exist, and what only a process inside them can make. Standard library only; the keeper runs this.

These steps run in a launch's helper (plan.py), as the host's root, in this order: every namespace but mnt and user is joined;
views of the joined ones are made; a time namespace with offsets is made; then mnt and user are joined. User comes last, because
setns(2) asks for power over the owner of each namespace, which the host's root has and a sandbox's root mostly has not.
Sources: setns(2), pid_namespaces(7), time_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from . import syscalls as sc
from .identity import receive_fds, write_file
from .operation import Operation, Stage
from .rootfs import attach, new_mount

_SAFE = sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV | sc.MOUNT_ATTR_NOEXEC
_NSENTER = {
    "mnt": "mount",
    "uts": "uts",
    "ipc": "ipc",
    "pid": "pid",
    "net": "net",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}
# The file system that shows a namespace, by the namespace's type: its name, its mount attributes, where it belongs.
VIEWS = {
    "pid": ("proc", _SAFE, "/proc"),
    "net": ("sysfs", _SAFE | sc.MOUNT_ATTR_RDONLY, "/sys"),
    "ipc": ("mqueue", _SAFE, "/dev/mqueue"),
    "cgroup": ("cgroup2", _SAFE | sc.MOUNT_ATTR_RDONLY, "/sys/fs/cgroup"),
}


def made_by_a_child(make: Callable[[], int], what: str) -> int:
    """The descriptor that a child of ours makes, which may go where we don't."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            socket.send_fds(theirs, [b"0"], [make()])
        except OSError as error:
            theirs.send(str(error.errno or 5).encode())
        finally:
            os._exit(0)
    theirs.close()
    try:
        answer, fds = receive_fds(ours, 16, 1)
    finally:
        os.waitpid(pid, 0)
        ours.close()
    if not fds:
        number = int(answer or b"3")  # ESRCH: killed with its namespace
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return fds[0]


@dataclass(frozen=True, slots=True)
class JoinNamespace(Operation):
    """``index`` is that of the namespace's descriptor in what the worker sent; ``reference`` is for those who read."""

    kind: str
    index: int
    reference: str

    def execute(self, stage: Stage) -> None:
        sc.setns(stage.fds[self.index], sc.CLONE_FLAGS[self.kind])

    def describe(self) -> list[str]:
        scheme, _, target = self.reference.partition(":")
        if scheme == "path":
            return [f"nsenter --{_NSENTER[self.kind]}={target} \\"]
        return [
            f"# $FIRST is the host pid of the first process of {target}",
            f"nsenter --{_NSENTER[self.kind]} --target $FIRST \\",
        ]


@dataclass(frozen=True, slots=True)
class PrepareView(Operation):
    """A detached mount that shows a joined namespace.

    The kernel gives it only to whoever has power over the namespace's owner, and that need not be the sandbox. What can be
    done through it stays decided by that owner: to another user namespace, the files of its processes are nobody's.
    """

    kind: str

    def execute(self, stage: Stage) -> None:
        name, attributes, _ = VIEWS[self.kind]
        if self.kind == "pid":
            # setns(2) puts only our children into a pid namespace, and proc shows that of its maker: so a child makes it.
            stage.views[self.kind] = made_by_a_child(lambda: new_mount(name, attributes, source=name), f"mount {name}")
        else:
            stage.views[self.kind] = new_mount(name, attributes, source=name)

    def describe(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class AttachView(Operation):
    """The child's part: what ``PrepareView`` made goes to its place below the new root."""

    kind: str

    def execute(self, stage: Stage) -> None:
        attach(stage.views.pop(self.kind), stage, VIEWS[self.kind][2], make="" if self.kind == "cgroup" else "dir")

    def describe(self) -> list[str]:
        name, attributes, target = VIEWS[self.kind]
        flags = ("ro," if attributes & sc.MOUNT_ATTR_RDONLY else "") + "nosuid,nodev,noexec"
        return [f"mount -t {name} -o {flags} {name} $ROOT{target}  # as the host's root, inside the joined {self.kind} namespace"]


@dataclass(frozen=True, slots=True)
class SealFiles(Operation):
    """A mount namespace of its own in which all that is mounted is read-only, and nothing gives privileges or devices."""

    def execute(self, stage: Stage) -> None:
        sc.unshare(sc.CLONE_NEWNS)
        sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
        root = os.open("/", os.O_PATH | os.O_CLOEXEC)
        try:
            sc.mount_setattr(root, set_=sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV, recursive=True)
        finally:
            os.close(root)

    def describe(self) -> list[str]:
        return ["unshare --mount && mount -o remount,bind,ro=recursive,nosuid,nodev /"]


@dataclass(frozen=True, slots=True)
class NewTimeNamespace(Operation):
    """Offsets can be written only until the first process enters, and clone3 enters at once: so unshare, write, clone.

    Seconds, added to the clocks CLOCK_MONOTONIC and CLOCK_BOOTTIME.
    """

    monotonic: int
    boottime: int

    def execute(self, stage: Stage) -> None:
        sc.unshare(sc.CLONE_NEWTIME)
        write_file("/proc/self/timens_offsets", f"monotonic {self.monotonic} 0\nboottime {self.boottime} 0\n")

    def describe(self) -> list[str]:
        return [f"unshare --time --monotonic {self.monotonic} --boottime {self.boottime} \\"]
