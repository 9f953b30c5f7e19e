"""Numbers of all containers and of the host, once a second, for next to nothing.

    Counter                  unit      kind      from
    cpu                      seconds   counter   cpuacct.usage | cpu.stat
    periods, throttled       periods   counter   cpu.stat
    memory                   bytes     instant   memory.usage_in_bytes | memory.current, without inactive file cache
    pids                     count     instant   pids.current
    io read, io write        bytes     counter   blkio.throttle.io_service_bytes_recursive | io.stat
    net in, net out          bytes     counter   /proc/PID/net/dev, once per network namespace, without lo

Files are kept open and read again with pread; the parsers look for the one number they need. When there are more
containers than the process may open files, the busiest keep theirs and the others are opened for each sample.
A counter becomes a rate from two samples; until then, and whenever a number can't be had, it is None, never 0.
The files of /proc/PID/net are never kept: an open one holds the network namespace of a dead container, and its veth.
"""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from ..kernel import block, namespaces, procfs
from ..kernel.cgroups.files import Counters
from ..spec import LimitValue, amount, whole
from .protocol import HostStats, Stats, StatsFrame

_SPARE_FILES = 256  # fds left to the rest of the worker: connections, pidfds, logs
_FILES_EACH = 6
_REBALANCE_EVERY = 10  # samples; activity shifts slowly, and moving fds costs opens
_SHORT, _LONG = 128, 8192  # bytes; a number, and a memory.stat or io.stat
_CACHE_KEEPS = 5  # samples; how long an unchanged charge is believed to have an unchanged part of cache
_SMALLEST_INTERVAL = 0.01  # seconds; a rate over less is noise
_STACKS_KEPT = 60.0  # seconds; how long devices are believed to lie on each other as they do
# Bridges, cables and tunnels inside (a container that has containers, or a VPN) carry what its own links carry too.
_INNER = re.compile(rb"lo$|docker|br-|virbr|cni|flannel|veth|tun|tap|wg|tr[0-9a-f]{6}(-|$)")
_NO_LIMITS: Mapping[str, LimitValue | None] = {}


class CounterFiles(Protocol):
    """What the sampler needs of ``kernel.cgroups.Cgroups``."""

    def counters(self, paths: Mapping[str, str]) -> Counters: ...


class _Tracked:
    """One container: its files, its limits and the counters of the sample before."""

    __slots__ = (
        "activity", "before", "cache", "cache_age", "counters", "cpu_limit", "fds", "files", "keep", "memory_limit",
        "net_before", "net_inode", "paths", "pid", "pids_limit", "started", "usage",
    )  # fmt: skip

    def __init__(self, paths: Mapping[str, str], counters: Counters) -> None:
        self.paths = dict(paths)
        self.counters = counters
        periods = "" if counters.periods == counters.cpu else counters.periods  # on v2 one file has both
        self.files = (counters.cpu, periods, counters.memory, counters.memory_stat, counters.pids, counters.io)
        self.fds: list[int] | None = None
        self.keep = True  # its files stay open between samples
        self.before: _Sample | None = None
        self.net_before: tuple[float, int, int] | None = None
        self.net_inode = 0  # 0: none of its own to count
        self.usage = self.cache = self.cache_age = 0  # memory charged, its inactive file cache, samples since that was read
        self.pid = 0
        self.started: int | None = None
        self.activity = 0.0
        self.memory_limit: int | None = None
        self.cpu_limit: float | None = None
        self.pids_limit: int | None = None


# time, cpu, nr_periods, nr_throttled, memory, pids, io read, io write
_Sample = tuple[float, float | None, int | None, int | None, int | None, int | None, int | None, int | None]


class Sampler:
    """``cgroups`` says where a group's counters are. ``file_budget`` is how many fds it may keep (None: by RLIMIT_NOFILE)."""

    def __init__(self, cgroups: CounterFiles, *, proc: str = "/proc", file_budget: int | None = None) -> None:
        self._cgroups = cgroups
        self._proc = proc
        self._tracked: dict[str, _Tracked] = {}
        self._host_net = namespaces.initial(proc).get("net", 0)
        self._net_owner: dict[int, str] = {}  # inode of a network namespace → the container it is counted for
        self._host_before: tuple[int, int] | None = None
        self._budget = raise_file_limit() - _SPARE_FILES if file_budget is None else file_budget
        self._open = 0
        self._samples = 0

    # -- what is sampled -----------------------------------------------------------------------------------------

    def track(self, id: str, paths: Mapping[str, str], pid: int, limits: Mapping[str, LimitValue | None] = _NO_LIMITS) -> None:
        """Sample this container from now on, or take its new paths, first process and effective limits (cpu, memory, pids).

        Calling it again for the same running container is cheap and loses nothing.
        """
        entry = self._tracked.get(id)
        if entry is None or entry.paths != paths or entry.pid != pid:
            if entry is not None:
                self._drop(id, entry)
            entry = self._tracked[id] = _Tracked(paths, self._cgroups.counters(paths))
            entry.pid = pid
            entry.started = procfs.start_time(pid, self._proc) if pid else None
            entry.net_inode = self._net_of(id, pid) if entry.started is not None else 0
        cpu, memory, pids = limits.get("cpu"), limits.get("memory"), limits.get("pids")
        entry.cpu_limit = None if cpu is None else amount(cpu)
        entry.memory_limit = None if memory is None else whole(memory)
        entry.pids_limit = None if pids is None else whole(pids)

    def forget(self, id: str) -> None:
        """Stop sampling it. Unknown ids are fine."""
        entry = self._tracked.pop(id, None)
        if entry is not None:
            self._drop(id, entry)

    def close(self) -> None:
        for id in list(self._tracked):
            self.forget(id)

    def _drop(self, id: str, entry: _Tracked) -> None:
        self._close_files(entry)
        if entry.net_inode:
            self._hand_over_net(id, entry)

    def _hand_over_net(self, id: str, entry: _Tracked) -> None:
        """Another container that shared its network namespace is counted for it from now on."""
        inode, entry.net_inode = entry.net_inode, 0
        del self._net_owner[inode]
        for other, candidate in self._tracked.items():
            if other != id and not candidate.net_inode and self._inode(candidate.pid) == inode:
                candidate.net_inode = inode
                self._net_owner[inode] = other
                return

    def _inode(self, pid: int) -> int:
        try:
            return os.stat(f"{self._proc}/{pid}/ns/net").st_ino if pid else 0
        except OSError:  # ended
            return 0

    def _net_of(self, id: str, pid: int) -> int:
        """The inode to count for this container: not the host's, and not one that another container is counted for."""
        inode = self._inode(pid)
        if inode in (0, self._host_net) or self._net_owner.setdefault(inode, id) != id:
            return 0
        return inode

    # -- one sample ----------------------------------------------------------------------------------------------

    def sample(self) -> StatsFrame:
        """Read everything once. Containers whose group is gone are left out until it is there again."""
        rows: dict[str, Stats] = {}
        for id, entry in self._tracked.items():
            now = self._read(entry)
            if now is None:
                entry.before = entry.net_before = None
                continue
            rows[id] = self._row(id, entry, now)
            entry.before = now
        self._samples += 1
        if self._samples % _REBALANCE_EVERY == 0:
            self._rebalance()
        return StatsFrame(time=time.time(), host=self._host(), rows=rows)

    def _read(self, entry: _Tracked) -> _Sample | None:
        if entry.fds is not None:
            try:
                return _parse(entry, entry.fds)
            except OSError:  # the group is gone; one of the same name may be there by now
                self._close_files(entry)
                entry.before = None
        fds = _open_files(entry.files)
        if fds is None:
            return None
        entry.fds = fds
        self._open += _FILES_EACH
        try:
            return _parse(entry, fds)
        except OSError:
            self._close_files(entry)
            return None
        finally:
            if self._open > self._budget or not entry.keep:
                self._close_files(entry)

    def _close_files(self, entry: _Tracked) -> None:
        if entry.fds is not None:
            _close(entry.fds)
            entry.fds = None
            self._open -= _FILES_EACH

    def _rebalance(self) -> None:
        """Busiest first, as many as the budget allows, keep their files."""
        room = max(0, self._budget // _FILES_EACH)
        ordered = list(self._tracked.values())
        if len(ordered) > room:
            ordered.sort(key=lambda entry: entry.activity, reverse=True)
        for place, entry in enumerate(ordered):
            entry.keep = place < room
            if not entry.keep:
                self._close_files(entry)

    def _row(self, id: str, entry: _Tracked, now: _Sample) -> Stats:
        at, cpu, periods, throttled, memory, pids, io_read, io_write = now
        cores = held = read_rate = write_rate = None
        before = entry.before
        if before is not None and (passed := at - before[0]) >= _SMALLEST_INTERVAL:
            cores = _rate(cpu, before[1], passed)
            read_rate = _rate(io_read, before[6], passed)
            write_rate = _rate(io_write, before[7], passed)
            if periods is not None and throttled is not None and before[2] is not None and before[3] is not None:
                held = _held(periods - before[2], throttled - before[3])
                if not held and periods == before[2] and cpu != before[1] and entry.cpu_limit is not None:
                    held = None  # it ran, and no period of its own began: the limit is its group's, which counts
            entry.activity = cores or 0.0
        net_in = net_out = None
        if entry.net_inode:
            net_in, net_out = self._net(id, entry)
        limits = entry.memory_limit, entry.cpu_limit, entry.pids_limit
        return Stats(cores, memory, pids, *limits, held, read_rate, write_rate, net_in, net_out)

    def _net(self, id: str, entry: _Tracked) -> tuple[float | None, float | None]:
        now = net_counters(f"{self._proc}/{entry.pid}/net/dev")
        before, entry.net_before = entry.net_before, now
        if now is None and procfs.start_time(entry.pid, self._proc) != entry.started:
            self._hand_over_net(id, entry)  # its first process ended, and the pid may soon be someone else's
        if now is None or before is None or (passed := now[0] - before[0]) < _SMALLEST_INTERVAL:
            return None, None
        return _rate(now[1], before[1], passed), _rate(now[2], before[2], passed)

    # -- the host ------------------------------------------------------------------------------------------------

    def _host(self) -> HostStats:
        memory = procfs.memory(self._proc)
        return HostStats(
            cpu=self._host_cpu(),
            cpus=procfs.cpus(),
            memory=memory.total - memory.available if memory.total else None,
            memory_total=memory.total,
            load=procfs.load(self._proc),
            pressure=procfs.pressure(self._proc),
        )

    def _host_cpu(self) -> float | None:
        """Cores in use: the part of all ticks since the last sample that was neither idle nor waiting for a disk."""
        line = (procfs.read(f"{self._proc}/stat") or b"").partition(b"\n")[0].split()
        if len(line) < 9:
            return None
        ticks = list(map(int, line[1:9]))  # user nice system idle iowait irq softirq steal; guest is in user already
        total = sum(ticks)
        now = (total, total - ticks[3] - ticks[4])
        before, self._host_before = self._host_before, now
        if before is None or now[0] <= before[0]:
            return None
        return round(max(0, now[1] - before[1]) / (now[0] - before[0]) * procfs.cpus(), 3)


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one and return it. At most a million: some hosts say "infinity"."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _held(periods: int, throttled: int) -> float:
    return min(1.0, max(0.0, throttled / periods)) if periods > 0 else 0.0


def _rate(now: float | None, before: float | None, passed: float) -> float | None:
    """Per second; None without two readings or when the counter began anew."""
    return (now - before) / passed if now is not None and before is not None and now >= before else None


def _open_files(paths: tuple[str, ...]) -> list[int] | None:
    """An fd each, -1 for files that this host does not have; None when there is none at all."""
    fds: list[int] = []
    for path in paths:
        try:
            fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else -1)
        except OSError:  # the group, or this file of it, is not there
            fds.append(-1)
    return fds if max(fds) >= 0 else None


def _close(fds: list[int]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _parse(entry: _Tracked, fds: list[int]) -> _Sample:
    """Read all files of one container. Raises OSError (ENODEV) when its group was removed.

    What can't have changed is not read again: CPU periods only pass while it runs; memory.stat, half of the whole cost,
    is read when the charge changed, or when the last reading is a few samples old.
    """
    pread = os.pread
    counters, before = entry.counters, entry.before
    cpu_fd, periods_fd, memory_fd, memory_stat_fd, pids_fd, io_fd = fds
    cpu = periods = throttled = memory = pids = io_read = io_write = None
    now = time.monotonic()
    data = b""
    if cpu_fd >= 0:
        data = pread(cpu_fd, _LONG if counters.cpu_key else _SHORT, 0)
        used = _number(data, counters.cpu_key)
        cpu = None if used is None else used * counters.cpu_unit
    if before is not None and cpu is not None and cpu == before[1]:
        periods, throttled = before[2], before[3]
    elif counters.periods:
        if periods_fd >= 0:
            data = pread(periods_fd, _LONG, 0)
        periods, throttled = _number(data, b"nr_periods "), _number(data, b"nr_throttled ")
    if memory_fd >= 0:
        usage = int(pread(memory_fd, _SHORT, 0))
        entry.cache_age += 1
        if memory_stat_fd >= 0 and (usage != entry.usage or entry.cache_age >= _CACHE_KEEPS or before is None):
            entry.cache = _number(pread(memory_stat_fd, _LONG, 0), counters.cache_key) or 0
            entry.usage, entry.cache_age = usage, 0
        memory = max(0, usage - entry.cache)
    if pids_fd >= 0:
        pids = int(pread(pids_fd, _SHORT, 0))
    if io_fd >= 0:
        data = pread(io_fd, _LONG, 0)
        data = each_byte_once(data)
        io_read, io_write = _total(data, counters.read_key), _total(data, counters.write_key)
    return now, cpu, periods, throttled, memory, pids, io_read, io_write


def _number(data: bytes, key: bytes) -> int | None:
    """The number after ``key``; the whole when the key is empty. The keys are unique in their files, or come first."""
    if not key:
        return int(data)
    at = data.find(key)
    if at < 0:
        return None
    start = at + len(key)
    return int(data[start : data.find(b"\n", start)])


def each_byte_once(data: bytes) -> bytes:
    """io.stat without the devices that another one of it lies on: what goes through both has a line in each."""
    lines = data.splitlines(keepends=True)
    numbers = tuple(dict.fromkeys(line.partition(b" ")[0] for line in lines))
    below = _below(numbers, int(time.monotonic() / _STACKS_KEPT)) if len(numbers) > 1 else ()
    return b"".join(line for line in lines if line.partition(b" ")[0] not in below) if below else data


@lru_cache(maxsize=256)
def _below(numbers: tuple[bytes, ...], _: int) -> frozenset[bytes]:
    return frozenset(
        number
        for number in numbers
        if not block.devices_on(number.decode(errors="replace")).isdisjoint(other.decode(errors="replace") for other in numbers)
    )


def _total(data: bytes, key: bytes) -> int:
    """The sum of the numbers after each ``key``: one per block device."""
    total = 0
    at = data.find(key)
    while at >= 0:
        start = at + len(key)
        total += int(data[start : start + 24].split(None, 1)[0])
        at = data.find(key, start)
    return total


def net_counters(path: str) -> tuple[float, int, int] | None:
    """(time, bytes in, bytes out) of all interfaces but inner ones; None when the process is gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    data = b""
    try:
        while more := os.read(fd, _LONG):  # a page at a time, whatever is asked for
            data += more
    except OSError:
        return None
    finally:
        os.close(fd)
    received = sent = 0
    for line in data.split(b"\n")[2:]:
        name, _, rest = line.partition(b":")
        if rest and not _INNER.match(name.strip()):
            columns = rest.split(None, 9)
            received += int(columns[0])
            sent += int(columns[8])
    return time.monotonic(), received, sent
