"""Reading, writing and parsing cgroup files, and the table of what is mounted where.

Every reader expects the file to vanish at any moment, because the container's last process may just have ended: opening
gives ENOENT then, and reading an open file of a removed group ENODEV. Paths are plain strings; this is the hot path.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from ...errors import Conflict, KernelRefused, NotFound, TerrariumError, Unsupported
from .. import delegation, mountinfo
from . import values

GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ESRCH, errno.ENOTDIR})
# Where each is mounted is the host's business. Both versions have the same controllers, but for io, which v1 calls blkio.
LIMIT_CONTROLLERS = {
    "cpu": "cpu", "cpu_weight": "cpu", "cpuset": "cpuset", "memory": "memory", "memory_high": "memory",
    "memory_low": "memory", "swap": "memory", "pids": "pids", "io_read_bytes": "io", "io_write_bytes": "io",
    "io_read_ops": "io", "io_write_ops": "io", "io_weight": "io", "hugetlb": "hugetlb",
}  # fmt: skip
_BUFFER = 16384  # bytes; the longest file we read whole is memory.stat, about 2 KB
_FIRST_WAIT, _LAST_WAIT = 0.001, 0.256  # seconds; a group is busy for as long as its killed processes need to go


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted hierarchy: ``root`` is the group that is seen at ``directory`` ("/" but in a container).

    ``base`` is the directory below which our groups are made: ``directory``, or where systemd delegates, our unit's;
    ``usable`` are the controllers that they can have there.
    """

    directory: str
    root: str
    version: int
    controllers: tuple[str, ...]
    base: str
    usable: tuple[str, ...]

    def place(self, group: str) -> str | None:
        """The directory of a group as /proc/PID/cgroup names it; None when it lies outside of what is mounted here."""
        root = self.root.rstrip("/")
        if group != root and not group.startswith(root + "/"):
            return None
        return (self.directory + group[len(root) :]).rstrip("/")


@dataclass(frozen=True, slots=True)
class Write:
    """One value to write for ``limit``; ``before`` is what to put back if a later write fails."""

    limit: str
    path: str
    value: str
    before: str = ""

    def describe(self) -> str:
        return f"echo {shlex.quote(self.value)} > {shlex.quote(self.path)}"


@dataclass(frozen=True, slots=True)
class Counters:
    """Where a group's numbers are; "" is "not here". Keys are the text before a number, b"" when it is the whole file."""

    cpu: str = ""
    cpu_key: bytes = b""
    cpu_unit: float = 1.0  # seconds in one unit of the file's number
    periods: str = ""  # has nr_periods and nr_throttled
    held_key: bytes = b""  # there: how long it was throttled
    held_unit: float = 1.0  # seconds
    memory: str = ""
    memory_stat: str = ""
    cache_key: bytes = b""  # inactive file cache, which does not count as use
    anonymous_key: bytes = b""  # memory that no file backs
    files_key: bytes = b""  # the whole file cache
    pids: str = ""
    io: str = ""
    read_key: bytes = b""
    write_key: bytes = b""

    def filled(self, other: Counters) -> Counters:
        """With what ``other`` knows; its own where it does not."""
        changes: dict[str, Any] = {f.name: value for f in fields(other) if (value := getattr(other, f.name)) != f.default}
        if other.cpu:
            changes["cpu_key"] = other.cpu_key
        return replace(self, **changes)


def read(path: str) -> bytes:
    """The whole file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _BUFFER)
    finally:
        os.close(fd)


def read_or_none(path: str) -> bytes | None:
    """The whole file, or None when it (or its group) is not there or has no such value."""
    try:
        return read(path)
    except OSError as error:
        if error.errno in GONE or error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return None
        raise


def text(path: str) -> str:
    return read(path).decode().strip()


def write(path: str, value: str) -> None:
    """One write(2), as the kernel wants it; the newline makes an empty value a write too. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode() + b"\n")
    finally:
        os.close(fd)


def number(data: bytes, key: bytes) -> int | None:
    """The number after ``key`` ("oom_kill "), which begins a line."""
    at = 0 if data.startswith(key) else data.find(b"\n" + key) + 1
    if at == 0 and not data.startswith(key):
        return None
    start = at + len(key)
    end = data.find(b"\n", start)
    return int(data[start : end if end >= 0 else None])


def size(path: str) -> int | None:
    """A file of one number of bytes or "max"; None for "max", -1, v1's huge number or no file."""
    data = read_or_none(path)
    if not data or data.startswith((b"max", b"-1")):
        return None
    value = int(data)
    return value if value < values.V1_UNLIMITED else None


@contextmanager
def vanishing() -> Iterator[None]:
    """A file of a group that went away in between becomes NotFound; one that may not be used, Unsupported."""
    try:
        yield
    except OSError as error:
        raise (gone() if error.errno in GONE else no_access(str(error.filename), error)) from None


def gone() -> NotFound:
    return NotFound("Its control group is gone: the container has ended.", hint="Start it again.")


def in_use(wanted: int, used: int, what: str = "in use") -> KernelRefused:
    least = values.megabytes(used, up=True)
    return KernelRefused(
        f"{values.megabytes(wanted)} is below the {least} {what}.", hint=f"Stop something in it, or lower to {least}."
    )


def no_access(path: str, error: OSError) -> TerrariumError:
    return Unsupported(
        f"The control group file system does not let us use {path}: {error.strerror}.",
        hint="The panel's worker must be root on the host, and /sys/fs/cgroup must be mounted writable.",
    )


def subgroups(directory: str) -> list[str]:
    """Direct children. The link count of a kernfs directory is 2 + children, so that most calls list nothing."""
    try:
        if os.stat(directory).st_nlink == 2:
            return []
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in GONE:
            return []
        raise


def tree(directory: str) -> list[str]:
    """The group and everything below it, parents first."""
    found = [directory]
    for group in found:
        found.extend(subgroups(group))
    return found


def pids(directory: str) -> list[int] | None:
    """All processes in and below the group (0 are ones of another pid namespace); None when it can't be read."""
    found: list[int] = []
    for group in tree(directory):
        data = read_all(group + "/cgroup.procs")
        if data is None:
            return None if group == directory else found
        found.extend(map(int, data.split()))
    return found


def read_all(path: str) -> bytes | None:
    """Like read_or_none, for files of any length (cgroup.procs)."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        if error.errno in GONE or error.errno == errno.EOPNOTSUPP:
            return None
        raise


def signal_all(pids: Iterable[int]) -> None:
    """SIGKILL to each; one that is gone already is fine, 0 is a process of another pid namespace."""
    for pid in pids:
        if pid > 0:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def make_new(directory: str) -> None:
    """mkdir, open to all whatever our umask: Debian 12's kernel lets a sandbox mount its group only if it may walk there."""
    os.mkdir(directory)
    os.chmod(directory, 0o755)  # noqa: S103


def make(directory: str) -> None:
    """The same; there already is fine. Raises OSError."""
    try:
        make_new(directory)
    except FileExistsError:
        return


def remove(directory: str) -> None:
    """rmdir, deepest first, waiting up to half a second for the last processes to be gone. Gone already is fine."""
    for group in reversed(tree(directory)):
        wait = _FIRST_WAIT
        while True:
            try:
                os.rmdir(group)
                break
            except OSError as error:
                if error.errno in GONE:
                    break
                if error.errno != errno.EBUSY:
                    raise no_access(group, error) from None
                if wait > _LAST_WAIT:
                    raise Conflict(
                        f"The control group {group} still has processes.", hint="Stop them first, then try again."
                    ) from None
                time.sleep(wait)
                wait *= 2


def mounts(root: str, proc: str) -> list[Mount]:
    """The hierarchies mounted at or below ``root``, from /proc/self/mountinfo (proc(5))."""
    found: list[Mount] = []
    units = _units(proc)
    for one in mountinfo.mounts("self", proc):
        if one.type not in ("cgroup", "cgroup2") or not (one.target + "/").startswith(root.rstrip("/") + "/"):
            continue
        version = 2 if one.type == "cgroup2" else 1
        controllers = one.super_options if version == 1 else _controllers(one.target)
        mount = Mount(one.target, one.root, version, controllers, one.target, controllers)
        for names, unit in units.items():
            if (names == "") if version == 2 else set(names.split(",")) <= set(controllers):
                base = mount.place(unit) or mount.directory
                mount = replace(mount, base=base, usable=controllers if version == 1 else _controllers(base))
        found.append(mount)
    return found


def _controllers(directory: str) -> tuple[str, ...]:
    """What a v2 group can hand down."""
    return tuple((read_or_none(directory + "/cgroup.controllers") or b"").decode().split())


def _units(proc: str) -> dict[str, str]:
    """Controllers with commas ("" for v2) → our unit's group, for the hierarchies in which this very process is in one."""
    lines = (read_all(f"{proc}/self/cgroup") or b"").decode(errors="surrogateescape").splitlines()
    groups = [line.split(":", 2) for line in lines]
    return {names: unit for _, names, group in groups if (unit := delegation.delegated(group))}
