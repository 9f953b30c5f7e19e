"""The kernel's own totals of every container that runs and of the host, for a monitoring system that makes its own rates.

Read anew for each scrape, in a thread: the sampler's open files are the event loop's. Docker's containers and sandboxes
are read the same way. A network namespace that several containers share is counted for one of them: for the one that has
it as its own, and else for the oldest.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from functools import lru_cache

from ..engines.base import Container
from ..kernel import namespaces, procfs
from ..kernel.cgroups import Cgroups
from ..kernel.cgroups.files import Counters, number, read_or_none
from ..kernel.cgroups.values import shares
from ..spec import amount
from .protocol import DiskTotals, Metrics, NetworkTotals, Totals

# Bridges and the host's ends of containers' cables carry what is counted elsewhere already.
_INNER = re.compile(r"lo|veth|docker|br-|tr[0-9a-f]{6}(-|$)")


def read(containers: Iterable[Container], cgroups: Cgroups, proc: str = "/proc") -> Metrics:
    """Containers that have just ended are left out."""
    running = [one for one in containers if one.state in ("running", "paused") and one.cgroups]
    owners = _network_owners(running, proc)
    found = [_host(proc)]
    for container in running:
        totals = _totals(container, cgroups, container.id in owners, proc)
        if totals is not None:
            found.append(totals)
    memory = procfs.memory(proc)
    return Metrics(time.time(), os.uname().release, procfs.cpus(), memory.total, memory.swap_total, tuple(found))


def _network_owners(running: Iterable[Container], proc: str) -> set[str]:
    """Ids of the containers that their network namespace is counted for; the host's is the host's."""
    owners: dict[int, str] = {}
    counted = {namespaces.initial(proc).get("net", 0), 0}
    for one in sorted(running, key=lambda one: (_joined(one), one.started_at or 0.0, one.id)):
        try:
            inode = os.stat(f"{proc}/{one.pid}/ns/net").st_ino if one.pid else 0
        except OSError:  # ended
            continue
        if inode not in counted:
            owners.setdefault(inode, one.id)
    return set(owners.values())


def _joined(container: Container) -> bool:
    view = container.namespaces.get("net")
    return view is not None and view.mode.startswith(("container:", "path:"))


def _totals(container: Container, cgroups: Cgroups, has_network: bool, proc: str) -> Totals | None:
    paths = container.cgroups
    files = cgroups.counters(paths)
    processes = len(cgroups.pids(paths))
    if not processes:  # ended
        return None
    cpu = _number(files.cpu, files.cpu_key)
    weight = _limit(container, "cpu_weight")
    periods = read_or_none(files.periods) if files.periods else None
    held = number(periods, files.held_key) if periods else None
    usage = _number(files.memory, b"")
    stat = (read_or_none(files.memory_stat) if files.memory_stat else None) or b""
    cache = number(stat, files.cache_key) if stat else None
    return Totals(
        group=_group(container, cgroups),
        name=container.name,
        image=container.image,
        engine=container.engine,
        labels=container.labels,
        started_at=container.started_at,
        cpu=None if cpu is None else cpu * files.cpu_unit,
        cpu_limit=_limit(container, "cpu"),
        cpu_shares=_shares(paths.get("cpu", ""), weight),
        periods=number(periods, b"nr_periods ") if periods else None,
        throttled_periods=number(periods, b"nr_throttled ") if periods else None,
        throttled=None if held is None else held * files.held_unit,
        memory=usage,
        working_set=None if usage is None or cache is None else max(0, usage - cache),
        anonymous=number(stat, files.anonymous_key) if stat else None,
        files=number(stat, files.files_key) if stat else None,
        memory_limit=_whole(_limit(container, "memory")),
        memory_low=_whole(_limit(container, "memory_low")),
        oom_kills=cgroups.oom_kills(paths) if "memory" in paths else None,
        processes=processes,
        threads=_number(files.pids, b""),
        pids_limit=_whole(_limit(container, "pids")),
        networks=_networks(f"{proc}/{container.pid}/net/dev") if has_network else (),
        disks=_disks(files),
    )


def _host(proc: str) -> Totals:
    """cpu: all but idle and waiting for a disk. memory: what is not available."""
    ticks = (procfs.read(f"{proc}/stat") or b"").partition(b"\n")[0].split()[1:9]
    busy = [int(value) for place, value in enumerate(ticks) if place not in (3, 4)]
    memory = procfs.memory(proc)
    used = memory.total - memory.available
    networks = tuple(one for one in _networks(f"{proc}/net/dev") if not _INNER.match(one.interface))
    return Totals(
        group="/",
        started_at=procfs.boot_time(proc),
        cpu=sum(busy) / os.sysconf("SC_CLK_TCK") if busy else None,
        memory=used,
        working_set=used,
        networks=networks,
    )


def _group(container: Container, cgroups: Cgroups) -> str:
    """As cAdvisor names it: the path below the hierarchy's root."""
    for controller in ("memory", "cpu", "pids", ""):
        path, root = container.cgroups.get(controller, ""), cgroups.controllers.get(controller, "")
        if path and root and path.startswith(root + "/"):
            return path[len(root) :]
    return "/" + container.id


def _shares(directory: str, weight: float | None) -> int | None:
    """v1 has them as they are; of v2's weight, those that mean as much."""
    own = _number(f"{directory}/cpu.shares", b"") if directory else None
    return own or (shares(int(weight)) if weight else None)


def _limit(container: Container, name: str) -> float | None:
    """What the kernel has; 0 for none, None when the host has no such limit."""
    reading = container.limits.get(name)
    return None if reading is None else amount(reading.kernel or 0)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _number(path: str, key: bytes) -> int | None:
    data = read_or_none(path) if path else None
    return number(data, key) if data else None


def _disks(files: Counters) -> tuple[DiskTotals, ...]:
    """One for each block device that has been used: lines "8:0 Read 1" (v1) or "8:0 rbytes=1 wbytes=2 …" (v2)."""
    found: dict[str, list[int]] = {}
    for line in ((read_or_none(files.io) if files.io else None) or b"").splitlines():
        device = line.partition(b" ")[0].decode()
        for place, key in enumerate((files.read_key, files.write_key)):
            at = line.find(key)
            if at >= 0 and ":" in device:
                found.setdefault(device, [0, 0])[place] += int(line[at + len(key) :].split(None, 1)[0])
    return tuple(DiskTotals(_device(number), read, written) for number, (read, written) in found.items())


@lru_cache(maxsize=256)
def _device(number: str) -> str:
    """ "8:0" → "/dev/sda"; the number itself when the device has gone."""
    try:
        return "/dev/" + os.readlink(f"/sys/dev/block/{number}").rpartition("/")[2]
    except OSError:
        return number


def _networks(path: str) -> tuple[NetworkTotals, ...]:
    """All interfaces but lo; () when the process is gone. Columns: proc(5), /proc/net/dev."""
    found: list[NetworkTotals] = []
    for line in (procfs.read(path) or b"").splitlines()[2:]:
        name, _, rest = line.partition(b":")
        columns = rest.split()
        if len(columns) >= 12 and name.strip() != b"lo":
            numbers = map(int, (*columns[:4], *columns[8:12]))
            found.append(NetworkTotals(name.strip().decode(errors="replace"), *numbers))
    return tuple(found)
