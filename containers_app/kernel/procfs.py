"""Readers of /proc: processes, host facts, and what the kernel of this host can do. Nothing here changes anything.

Every file may vanish between two reads because its process ended: single readers return None then, lists leave it out.
``proc`` is a parameter so that tests can hand in a made-up tree. Source: proc(5), kernel Documentation/filesystems/proc.rst.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypedDict

from . import mountinfo

TICKS = os.sysconf("SC_CLK_TCK")  # of utime, stime and starttime, per second
PAGE = os.sysconf("SC_PAGE_SIZE")
MAX_ARGUMENTS = 4096  # bytes of a command line that are told, as the kernel itself once had it
_BOOT_TIME_KEPT = 10.0  # seconds
_GONE = (FileNotFoundError, ProcessLookupError, NotADirectoryError)
_STATES = {
    "R": "running", "S": "sleeping", "D": "waiting", "Z": "zombie", "T": "stopped", "t": "traced", "I": "idle", "X": "dead",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Process:
    """One process. ``ns_pid`` is its pid in its innermost pid namespace; times are Unix seconds, sizes bytes."""

    pid: int
    ppid: int
    ns_pid: int
    uid: int
    name: str
    argv: tuple[str, ...]  # () for kernel threads and zombies
    state: str
    cpu_seconds: float
    rss: int
    threads: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Memory:
    total: int
    available: int
    swap_total: int
    swap_free: int


class Check(TypedDict):
    """One line of the host page. ``ok`` None is "can't be known"; the hint says what to do when it is not ok."""

    name: str
    ok: bool | None
    detail: str
    hint: str


def read(path: str) -> bytes | None:
    """The whole file; None when it (or its process) is gone."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except _GONE:
        return None
    except OSError as error:
        if isinstance(error, PermissionError):
            return None
        raise


def arguments(pid: int, proc: str = "/proc") -> tuple[str, ...]:
    """The first of them: a process may say that gigabytes are its arguments (PR_SET_MM, prctl(2))."""
    try:
        with open(f"{proc}/{pid}/cmdline", "rb", buffering=0) as file:
            words = file.read(MAX_ARGUMENTS).split(b"\0")
    except OSError:
        return ()
    if not words[-1]:  # each ends with a zero
        words.pop()
    return tuple(word.decode(errors="replace") for word in words)


def _stat(pid: int, proc: str) -> tuple[str, list[bytes]] | None:
    """(name, the fields after it) of /proc/PID/stat. The name is in brackets and may hold spaces and brackets."""
    data = read(f"{proc}/{pid}/stat")
    if not data or b")" not in data:
        return None
    name = data[data.index(b"(") + 1 : data.rindex(b")")].decode(errors="replace")
    return name, data[data.rindex(b")") + 2 :].split()


def start_time(pid: int, proc: str = "/proc") -> int | None:
    """Clock ticks from boot to its start: with the pid it names a process for good (until a reboot)."""
    found = _stat(pid, proc)
    return int(found[1][19]) if found else None


def zombie_status(pid: int, started: int, proc: str = "/proc") -> int | None:
    """The wait status of a process that has ended and was not reaped yet, field 52 of proc_pid_stat(5), which root may read.

    ``started`` as ``start_time`` gave it. None when it lives, or has gone.
    """
    found = _stat(pid, proc)
    return int(found[1][49]) if found and found[1][0] in (b"Z", b"X") and int(found[1][19]) == started else None


def is_kernel_thread(pid: int, proc: str = "/proc") -> bool:
    """PF_KTHREAD of the flags in proc_pid_stat(5); False when it is gone."""
    found = _stat(pid, proc)
    return bool(found and int(found[1][6]) & 0x200000)


def boot_time(proc: str = "/proc") -> float:
    """Unix seconds. It moves when somebody sets the clock."""
    return _boot_time(proc, int(time.monotonic() / _BOOT_TIME_KEPT))


@lru_cache(maxsize=4)
def _boot_time(proc: str, _: int) -> float:
    data = read(f"{proc}/stat") or b""
    at = data.find(b"\nbtime ")
    return float(data[at + 7 : data.index(b"\n", at + 7)]) if at >= 0 else time.time()


@lru_cache(maxsize=4)
def boot_id(proc: str = "/proc") -> str:
    return (read(f"{proc}/sys/kernel/random/boot_id") or b"").decode().strip()


def process(pid: int, proc: str = "/proc") -> Process | None:
    """One process, None when it is gone."""
    found = _stat(pid, proc)
    status = read(f"{proc}/{pid}/status")
    if found is None or not status:
        return None
    name, stat = found
    return Process(
        pid=pid,
        ppid=int(stat[1]),
        ns_pid=int((_status_field(status, b"NSpid") or [b"%d" % pid])[-1]),
        uid=int((_status_field(status, b"Uid") or [b"0"])[0]),
        name=name,
        argv=arguments(pid, proc),
        state=_STATES.get(stat[0].decode(), stat[0].decode()),
        cpu_seconds=(int(stat[11]) + int(stat[12])) / TICKS,
        rss=int(stat[21]) * PAGE,
        threads=int(stat[17]),
        started_at=boot_time(proc) + int(stat[19]) / TICKS,
    )


def _status_field(status: bytes, name: bytes) -> list[bytes]:
    at = status.find(b"\n" + name + b":")
    if at < 0:
        return []
    start = at + len(name) + 2
    end = status.find(b"\n", start)
    return status[start : end if end >= 0 else None].split()


def processes(pids: Iterable[int], proc: str = "/proc") -> list[Process]:
    """Those of ``pids`` (a cgroup's) that still live, oldest first."""
    found = [one for pid in pids if (one := process(pid, proc)) is not None]
    return sorted(found, key=lambda one: (one.started_at, one.pid))


def all_pids(proc: str = "/proc") -> list[int]:
    return [int(name) for name in os.listdir(proc) if name.isascii() and name.isdigit()]


def descendants(pid: int, proc: str = "/proc") -> list[int]:
    """``pid`` and everything below it, parents first; [] when it is gone."""
    children: dict[int, list[int]] = {}
    for each in all_pids(proc):
        if (found := _stat(each, proc)) is not None:
            children.setdefault(int(found[1][1]), []).append(each)
    if start_time(pid, proc) is None:
        return []
    family = [pid]
    for each in family:
        family.extend(children.get(each, ()))
    return family


# -- the host ------------------------------------------------------------------------------------------------------


def local_addresses(pid: int, proc: str = "/proc") -> set[str]:
    """IPv4 addresses of a process' network namespace but the loopback's (proc_pid_net(5), fib_trie)."""
    found, shown = set(), ""
    for line in (read(f"{proc}/{pid}/net/fib_trie") or b"").decode().splitlines():
        if "|-- " in line:
            shown = line.rpartition("|-- ")[2].strip()
        elif line.strip() == "/32 host LOCAL" and not shown.startswith("127."):
            found.add(shown)
    return found


def cpus() -> int:
    """CPUs that are online."""
    return os.sysconf("SC_NPROCESSORS_ONLN")


def memory(proc: str = "/proc") -> Memory:
    data = read(f"{proc}/meminfo") or b""

    def field(name: bytes) -> int:
        at = data.find(name)
        return int(data[at + len(name) : data.index(b"k", at)]) * 1024 if at >= 0 else 0

    return Memory(field(b"MemTotal:"), field(b"MemAvailable:"), field(b"SwapTotal:"), field(b"SwapFree:"))


def load(proc: str = "/proc") -> float:
    """The one-minute load average."""
    return float((read(f"{proc}/loadavg") or b"0").split()[0])


def pressure(proc: str = "/proc") -> dict[str, float]:
    """Resource → share of the last ten seconds in which some task waited for it, in per cent. {} without PSI."""
    found: dict[str, float] = {}
    for resource in ("cpu", "memory", "io"):
        try:
            data = read(f"{proc}/pressure/{resource}") or b""
        except OSError:  # PSI built in but switched off (boot with psi=1): EOPNOTSUPP
            continue
        at = data.find(b"avg10=")
        if at >= 0:
            found[resource] = float(data[at + 6 : data.index(b" ", at)])
    return found


def filesystems(proc: str = "/proc") -> set[str]:
    """File systems the kernel has right now; a module may bring more when it is first used."""
    return {line.split()[-1].decode() for line in (read(f"{proc}/filesystems") or b"").splitlines() if line.strip()}


@lru_cache(maxsize=4)
def kernel_config(proc: str = "/proc", boot: str = "/boot") -> dict[str, str] | None:
    """CONFIG_… → "y" or "m", from /proc/config.gz or /boot/config-RELEASE. None when neither can be read."""
    try:
        text = gzip.decompress(data) if (data := read(f"{proc}/config.gz")) else read(f"{boot}/config-{os.uname().release}")
    except (gzip.BadGzipFile, EOFError):
        text = None
    if not text:
        return None
    pairs = (line.partition("=") for line in text.decode(errors="replace").splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, _, value in pairs if value in ("y", "m")}


# -- what the kernel can do: the lines of the host page --------------------------------------------------------------

_NAMESPACES = {
    "mnt": "mount points", "uts": "host name", "ipc": "System V IPC, message queues", "pid": "process ids", "net": "network",
    "user": "user and group ids", "cgroup": "view of the control groups", "time": "monotonic and boot clocks",
}  # fmt: skip
_CONTROLLERS = {
    "cpu": "CPU limits and weights", "cpuset": "choice of CPUs", "memory": "memory and swap limits", "pids": "process limits",
    "io": "disk limits",
}  # fmt: skip
_OTHER_KERNEL = "Boot a kernel that has it; Debian's and Ubuntu's do."


def checks(proc: str = "/proc", boot: str = "/boot", sys: str = "/sys") -> list[Check]:
    """All lines, in the order in which they are shown. Nothing is tried or loaded.

    What is neither seen at work nor named in a readable kernel configuration is unknown.
    """
    config = kernel_config(proc, boot)
    return [
        *_namespace_checks(proc),
        _user_namespaces(proc),
        *_controller_checks(proc, sys),
        _pressure(proc),
        _overlay(proc, config),
        _seccomp(proc),
        *(_module(*row, sys, config) for row in _MODULES),
        _forwarding(proc),
        _config_known(config),
    ]


def _namespace_checks(proc: str) -> list[Check]:
    return [
        Check(
            name=f"{kind} namespace",
            ok=(there := os.path.lexists(f"{proc}/self/ns/{kind}")),
            detail=f"isolates {what}" if there else "this kernel does not have it",
            hint="" if there else _OTHER_KERNEL,
        )
        for kind, what in _NAMESPACES.items()
    ]


def _number(path: str) -> int | None:
    data = read(path)
    return int(data) if data and data.strip().isdigit() else None


def _user_namespaces(proc: str) -> Check:
    most = _number(f"{proc}/sys/user/max_user_namespaces")
    return Check(
        name="user namespaces allowed",
        ok=None if most is None else most > 0,
        detail="the kernel does not say" if most is None else f"at most {most} (user.max_user_namespaces)",
        hint="" if most is None or most > 0 else "Run: sysctl -w user.max_user_namespaces=15000",
    )


def _controller_checks(proc: str, sys: str) -> list[Check]:
    """Enabled in the kernel (/proc/cgroups for v1, cgroup.controllers for v2) and mounted somewhere."""
    mounted: set[str] = set()
    for mount in mountinfo.mounts("self", proc):
        if mount.type == "cgroup":
            mounted.update(mount.super_options)
        elif mount.type == "cgroup2":
            mounted.update((read(mount.target + "/cgroup.controllers") or b"").decode().split())
    if "blkio" in mounted:  # its name on v1
        mounted.add("io")
    return [
        Check(
            name=f"{name} controller",
            ok=name in mounted,
            detail=what if name in mounted else f"{what}: the controller is not mounted or not in the kernel",
            hint="" if name in mounted else f"Mount it, or boot without cgroup_disable={name}.",
        )
        for name, what in _CONTROLLERS.items()
    ]


def _pressure(proc: str) -> Check:
    there = bool(pressure(proc))
    return Check(
        name="pressure (PSI)",
        ok=there,
        detail="shows who waits for CPU, memory and disk" if there else "not counted by this kernel",
        hint="" if there else "Boot with psi=1 to see pressure.",
    )


def _overlay(proc: str, config: dict[str, str] | None) -> Check:
    there: bool | None = "overlay" in filesystems(proc)
    detail = "writable layers over read-only images"
    if not there and (config is None or "CONFIG_OVERLAY_FS" in config):
        there, detail = (True, "a module, loaded when needed") if config else (None, "not loaded; it may be a module")
    elif not there:
        detail = "this kernel does not have it"
    return Check(name="overlay file system", ok=there, detail=detail, hint="" if there else "Run: modprobe overlay")


def _seccomp(proc: str) -> Check:
    actions = read(f"{proc}/sys/kernel/seccomp/actions_avail")
    return Check(
        name="seccomp filters",
        ok=actions is not None,
        detail="system call filters" if actions is not None else "this kernel does not have them",
        hint="" if actions is not None else _OTHER_KERNEL,
    )


_MODULES = (
    ("bridge", "the network between sandboxes", "CONFIG_BRIDGE"),
    ("veth", "cables into sandboxes", "CONFIG_VETH"),
    ("nf_tables", "address translation and firewall", "CONFIG_NF_TABLES"),
    ("nf_nat", "address translation", "CONFIG_NF_NAT"),
    ("sch_tbf", "network rates", "CONFIG_NET_SCH_TBF"),
)


def _module(name: str, what: str, option: str, sys: str, config: dict[str, str] | None) -> Check:
    """Loaded or built in with parameters shows in /sys/module; else only the configuration can tell."""
    there: bool | None
    if os.path.isdir(f"{sys}/module/{name}"):
        there, detail = True, what
    elif config is None:
        there, detail = None, f"{what}: not loaded now; it may be a module"
    elif option in config:
        there, detail = True, what if config[option] == "y" else f"{what}: a module, loaded when needed"
    else:
        there, detail = False, f"{what}: this kernel does not have it ({option})"
    return Check(name=name, ok=there, detail=detail, hint="" if there else f"Run: modprobe {name}")


def _forwarding(proc: str) -> Check:
    on = _number(f"{proc}/sys/net/ipv4/ip_forward")
    return Check(
        name="IPv4 forwarding",
        ok=None if on is None else on == 1,
        detail="sandboxes can reach other networks" if on == 1 else "off: sandboxes reach only this host",
        hint="" if on == 1 else "Run: sysctl -w net.ipv4.ip_forward=1",
    )


def _config_known(config: dict[str, str] | None) -> Check:
    return Check(
        name="kernel configuration",
        ok=None if config is None else True,
        detail="readable" if config else "neither /proc/config.gz nor /boot/config-* can be read",
        hint="" if config else "Unknown lines above are settled by trying.",
    )
