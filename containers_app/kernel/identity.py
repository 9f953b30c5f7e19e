"""Who and where a sandbox's first process is: id maps, cgroups, host name, network, terminal.

Standard library only; the keeper runs this. Sources: user_namespaces(7), cgroups(7), cgroup_namespaces(7), pty(7).
"""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import struct
import termios
from dataclasses import dataclass

from . import netlink
from . import syscalls as sc
from .operation import Operation, Stage

_RIGHTS = (socket.SOL_SOCKET, socket.SCM_RIGHTS)


def write_file(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


# ── the parent's side ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class WriteIdMaps(Operation):
    """Lines of (first id inside, first id on the host, count), for users and for groups.

    Where a single group is mapped, setgroups(2) is denied: it has none to give, and could only drop some, to get past a file
    that refuses a group. With more it stays allowed: the keeper has no groups that could be dropped, and it gives mapped ones.
    """

    lines: tuple[tuple[int, int, int], ...]

    @property
    def denies_setgroups(self) -> bool:
        return sum(count for _, _, count in self.lines) == 1

    def execute(self, stage: Stage) -> None:
        if self.denies_setgroups:
            write_file(f"/proc/{stage.pid}/setgroups", "deny")
        text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in self.lines)
        write_file(f"/proc/{stage.pid}/uid_map", text)
        write_file(f"/proc/{stage.pid}/gid_map", text)

    def describe(self) -> list[str]:
        text = "\\n".join(f"{inside} {outside} {count}" for inside, outside, count in self.lines)
        deny = ["echo deny > /proc/$PID/setgroups"] if self.denies_setgroups else []
        return [*deny, f"printf '{text}\\n' | tee /proc/$PID/uid_map > /proc/$PID/gid_map"]


@dataclass(frozen=True, slots=True)
class AdjustOomScore(Operation):
    score: int

    def execute(self, stage: Stage) -> None:
        try:
            write_file(f"/proc/{stage.pid}/oom_score_adj", str(self.score))
        except PermissionError as error:  # below what this process was given, proc_pid_oom_score_adj(5)
            text = f"oom_score_adj {self.score} is below the panel's own, and only CAP_SYS_RESOURCE, which it lacks, lowers it"
            raise OSError(error.errno, text) from None

    def describe(self) -> list[str]:
        return [f"echo {self.score} > /proc/$PID/oom_score_adj"]


@dataclass(frozen=True, slots=True)
class AttachLink(Operation):
    """The veth pair in one netlink message; the child's pid goes into the four bytes at ``offset``."""

    message: bytes
    offset: int
    commands: tuple[str, ...]

    def execute(self, stage: Stage) -> None:
        message = bytearray(self.message)
        struct.pack_into("=I", message, self.offset, stage.pid)
        netlink.send([bytes(message)])

    def describe(self) -> list[str]:
        return list(self.commands)


# ── the child's side ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class BecomeRoot(Operation):
    """Take the ids of the new user namespace's root, so that what is made from here on belongs to it.

    The keeper has no groups beside its own, so there are none to let go, which not every user namespace would let us do.
    """

    def execute(self, stage: Stage) -> None:
        if os.getgroups():
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)

    def describe(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class TakeRlimits(Operation):
    """Resource limits as another process has them: (number, soft, hard) of each, setrlimit(2); -1 is unlimited."""

    limits: tuple[tuple[int, int, int], ...]

    def execute(self, stage: Stage) -> None:
        for number, soft, hard in self.limits:
            resource.setrlimit(number, (soft, hard))

    def describe(self) -> list[str]:
        return ["prlimit " + " ".join(f"{number}={soft}:{hard}" for number, soft, hard in self.limits)]


@dataclass(frozen=True, slots=True)
class SetHostname(Operation):
    name: str

    def execute(self, stage: Stage) -> None:
        sc.sethostname(self.name)

    def describe(self) -> list[str]:
        return [f"hostname {self.name}"]


@dataclass(frozen=True, slots=True)
class NewCgroupNamespace(Operation):
    """Only now, in the final cgroup: the namespace's root is where its maker stands."""

    def execute(self, stage: Stage) -> None:
        sc.unshare(sc.CLONE_NEWCGROUP)

    def describe(self) -> list[str]:
        return ["unshare --cgroup \\"]


@dataclass(frozen=True, slots=True)
class QuietIpv6(Operation):
    """Keep the IPv6 settings of the new network namespace at hand, which inside will be read-only. Its link is to believe no
    router that calls itself one, and to take no address of its own making. Source: networking/ip-sysctl.rst.
    """

    def execute(self, stage: Stage) -> None:
        stage.settings = os.open("/proc/sys/net/ipv6/conf", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def describe(self) -> list[str]:
        return []  # ConfigureNetwork writes them


@dataclass(frozen=True, slots=True)
class ConfigureNetwork(Operation):
    """Addresses and routes inside, as netlink messages that the worker built."""

    messages: tuple[bytes, ...]
    commands: tuple[str, ...]

    def execute(self, stage: Stage) -> None:
        stage.await_link()
        if stage.settings >= 0:
            for name, value in (("accept_ra", b"0"), ("addr_gen_mode", b"1")):
                fd = os.open(f"eth0/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=stage.settings)
                os.write(fd, value)
                os.close(fd)
        netlink.send(list(self.messages))

    def describe(self) -> list[str]:
        return list(self.commands)


_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431


@dataclass(frozen=True, slots=True)
class OpenTerminal(Operation):
    """A pty of the container's own /dev/pts becomes standard input, output and error and the controlling terminal.

    The container may have put anything there, so the multiplexer must be character device 5:2, and the other end is
    asked for by TIOCGPTPEER, never opened by name (CVE-2025-52565). Where there is no such device, the host's pty serves.
    """

    rows: int
    columns: int
    owner: int = 0  # the user inside who may open it again by name, as `tmux` and /dev/stdout do

    def execute(self, stage: Stage) -> None:
        try:
            master = self._inside()
        except OSError:
            if stage.terminal < 0:
                raise
            master = stage.terminal
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
        if self.owner:
            os.fchown(slave, self.owner, -1)
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", self.rows, self.columns, 0, 0))
        for number in (0, 1, 2):
            os.dup2(slave, number)
        if slave > 2:
            os.close(slave)
        stage.terminal = master

    @staticmethod
    def _inside() -> int:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            resolve = sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_SYMLINKS
            master = sc.openat2(root, "dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, resolve=resolve)
        finally:
            os.close(root)
        if os.fstat(master).st_rdev != os.makedev(5, 2):
            os.close(master)
            raise OSError(6, "/dev/pts/ptmx is not a pty multiplexer")
        return master

    def describe(self) -> list[str]:
        return ["setsid -c \\"]


@dataclass(frozen=True, slots=True)
class UseStreams(Operation):
    """Descriptors that the worker sent become standard input, output and error; a new session without a terminal."""

    first: int  # index into Stage.fds of three descriptors, or of one (output and error) when ``log`` is true
    log: bool

    def execute(self, stage: Stage) -> None:
        os.setsid()
        if self.log:
            null = os.open("/dev/null", os.O_RDONLY)
            os.dup2(null, 0)
            if null > 2:
                os.close(null)
            os.dup2(stage.fds[self.first], 1)
            os.dup2(stage.fds[self.first], 2)
            return
        for number in (0, 1, 2):
            os.dup2(stage.fds[self.first + number], number)

    def describe(self) -> list[str]:
        return ["setsid \\"]


def receive_fds(connection: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """One datagram and its descriptors, each close-on-exec (``socket.recv_fds`` drops its flags in Python 3.11)."""
    space = socket.CMSG_SPACE(most * 4)
    data, ancillary, flags, _ = connection.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += struct.unpack(f"={len(payload) // 4}i", payload[: len(payload) // 4 * 4])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        raise OSError(90, "a message was longer than its bound")
    return data, fds
