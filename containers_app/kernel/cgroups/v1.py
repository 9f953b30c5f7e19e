"""cgroup v1: one hierarchy per controller. The same function names as v2.py; sizes are bytes, CPU is cores.

``directories`` maps a controller to the group's directory in that controller's hierarchy. Nothing here decides between
v1 and v2. Sources: kernel Documentation/admin-guide/cgroup-v1/{memory,cpusets,freezer-subsystem,pids}.rst.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Mapping

from ...errors import KernelRefused, TerrariumError
from ...spec import LIMITS, LimitValue, amount, whole
from . import files, parts, values
from .files import Counters, Write

FILES = {
    "cpu": "cpu.cfs_quota_us",
    "cpu_weight": "cpu.shares",
    "cpuset": "cpuset.cpus",
    "memory": "memory.limit_in_bytes",
    "memory_low": "memory.soft_limit_in_bytes",
    "swap": "memory.memsw.limit_in_bytes",
    "pids": "pids.max",
}
_PERIOD = "cpu.cfs_period_us"
_FREEZE_SECONDS = 1.0  # longest wait; a task in uninterruptible sleep freezes only after it


def locked(limit: str, mount: str) -> str:
    """Why this host can't enforce the limit, "" if it can. ``mount`` is the controller's root group."""
    if limit == "io_weight":
        return parts.weight_locked(1, mount)
    if limit in parts.PARTED:
        return _parts_locked(limit, mount)
    if limit == "memory_high":
        return "cgroup v1 has no such limit; it needs the memory controller on cgroup v2."
    if limit != "pids" and not os.path.exists(f"{mount}/{FILES[limit]}"):  # the root group has no pids.max
        if limit == "swap":
            return "This kernel does not count swap per group (booted without swapaccount=1)."
        return f"This kernel has no {FILES[limit]}."
    return ""


def _parts_locked(limit: str, mount: str) -> str:
    if limit == "hugetlb":
        return "" if parts.page_sizes() else "This kernel has no huge pages."
    file = parts.IO[limit][1]
    return "" if os.path.exists(f"{mount}/{file}") else f"This kernel has no {file}."


def unshared(limit: str) -> str:
    """Why a group's limit does not hold the groups inside it, "" if it does. Source: blkio-controller.rst."""
    return "cgroup v1 holds a group's own processes to a disk rate, but no group inside it." if limit in parts.IO else ""


def prepare(parent: str, directory: str, controllers: Iterable[str]) -> None:
    """Make ``directory`` a group that other groups are made in. Its cpusets fill themselves from then on."""
    files.make(directory)
    if "cpuset" in controllers:
        ready(directory, controllers)
        files.write(directory + "/cgroup.clone_children", "1")


def prepare_commands(parent: str, directory: str, controllers: Iterable[str]) -> list[str]:
    commands = [f"mkdir -p {directory}"]
    if "cpuset" in controllers:
        commands += [f"cat {parent}/cpuset.{name} > {directory}/cpuset.{name}" for name in ("mems", "cpus")]
        commands.append(f"echo 1 > {directory}/cgroup.clone_children")
    return commands


def ready(directory: str, controllers: Iterable[str]) -> None:
    """A new cpuset is empty unless the parent clones; joining an empty one gives ENOSPC."""
    if "cpuset" not in controllers:
        return
    for name in ("/cpuset.mems", "/cpuset.cpus"):
        if not files.read(directory + name).strip():
            files.write(directory + name, files.text(os.path.dirname(directory) + name))


def plan(changes: Mapping[str, LimitValue | None], directories: Mapping[str, str], fresh: bool) -> list[Write]:
    """Everything that is to be written, in the order in which the kernel takes it. Memory first: it may be refused.

    ``fresh``: the group is new (or only described), so there is nothing to read and nothing to put back.
    Raises OSError when the group is gone, KernelRefused or InvalidInput for what can't be.
    """
    writes = _memory_writes(changes, directories.get("memory", ""), fresh)
    for limit in ("memory_low", "pids", "cpu_weight"):
        if limit in changes:
            path = f"{directories[files.LIMIT_CONTROLLERS[limit]]}/{FILES[limit]}"
            writes.append(Write(limit, path, _plain(limit, changes[limit]), "" if fresh else files.text(path)))
    if "cpu" in changes:
        writes += _cpu_writes(changes["cpu"], directories["cpu"], fresh)
    if "cpuset" in changes:
        writes.append(_cpuset_write(changes["cpuset"], directories["cpuset"], fresh))
    if "io_weight" in changes:
        path = f"{directories['blkio']}/{parts.weight_file(1, '')}"
        before = "" if fresh else files.text(path)
        writes.append(Write("io_weight", path, parts.weight_text("", changes["io_weight"]), before))
    for limit in parts.PARTED:
        if limit in changes:
            writes += parts.plan(1, limit, changes[limit], directories["hugetlb" if limit == "hugetlb" else "blkio"], fresh)
    return writes


def _plain(limit: str, value: LimitValue | None) -> str:
    if limit == "cpu_weight":
        return str(values.DEFAULT_SHARES if value is None else values.shares(whole(value)))
    if value is None:
        return "max" if limit == "pids" else "-1"
    return str(whole(value))


def _memory_writes(changes: Mapping[str, LimitValue | None], directory: str, fresh: bool) -> list[Write]:
    """memsw counts memory and swap together and may never be below memory: raise it first, lower it last."""
    if "memory" not in changes and "swap" not in changes:
        return []
    memory_path, both_path = f"{directory}/{FILES['memory']}", f"{directory}/{FILES['swap']}"
    old_memory = None if fresh else files.size(memory_path)
    old_both = None if fresh else files.size(both_path)
    if not fresh and not os.path.exists(memory_path):
        raise FileNotFoundError(errno.ENOENT, "no such group", memory_path)
    old_swap = None if old_both is None else old_both - (old_memory or 0)
    memory = changes.get("memory", old_memory)
    swap = changes.get("swap", old_swap)
    if swap is not None and memory is None:
        raise KernelRefused(
            "Swap can be limited here only together with memory.",
            hint="On cgroup v1 the kernel counts memory and swap as one sum: set a memory limit too, or clear the swap limit.",
        )
    new_memory = None if memory is None else whole(memory)
    both = None if swap is None or memory is None else whole(memory) + whole(swap)
    writes: list[Write] = []
    if "memory" in changes:
        writes.append(Write("memory", memory_path, _size(new_memory), _size(old_memory)))
    if both != old_both:
        write = Write("swap", both_path, _size(both), _size(old_both))
        rises = both is None or (old_both is not None and both > old_both)
        writes.insert(0 if rises else len(writes), write)
    return writes


def _size(value: int | None) -> str:
    return "-1" if value is None else str(value)


def hand_down_protection(group: str) -> str:
    """Soft limits are not handed down here."""
    return ""


def _cpu_writes(value: LimitValue | None, directory: str, fresh: bool) -> list[Write]:
    old_period = values.PERIOD if fresh else int(files.read(f"{directory}/{_PERIOD}"))
    old_quota = "-1" if fresh else files.text(f"{directory}/{FILES['cpu']}")
    quota, period = (-1, old_period) if value is None else values.quota(amount(value), old_period)
    writes = [Write("cpu", f"{directory}/{FILES['cpu']}", str(quota), old_quota)]
    if period != old_period:
        writes.insert(0, Write("cpu", f"{directory}/{_PERIOD}", str(period), str(old_period)))
    return writes


def _cpuset_write(value: LimitValue | None, directory: str, fresh: bool) -> Write:
    path = f"{directory}/{FILES['cpuset']}"
    allowed = files.read_or_none(f"{os.path.dirname(directory)}/{FILES['cpuset']}")
    text = (allowed or b"").decode().strip()
    if value is not None:
        wanted = values.cpu_list(str(value))
        if allowed is not None and not wanted <= values.cpu_list(text):
            raise KernelRefused(
                f"CPU {values.cpu_text(wanted - values.cpu_list(text))} can't be used here.", hint=f"There are {text}."
            )
        text = values.cpu_text(wanted)
    return Write("cpuset", path, text, "" if fresh else files.text(path))


def kernel_value(limit: str, directory: str) -> LimitValue | None:
    """What the kernel has for this group alone; None is "no limit" or not known here."""
    if limit == "memory_high":
        return None
    if limit in parts.PARTED:
        return parts.kernel_value(1, limit, directory) or None
    if limit == "io_weight":
        weight = files.read_or_none(f"{directory}/{parts.weight_file(1, '')}")
        return parts.weight_value("", weight) if weight else None
    path = f"{directory}/{FILES[limit]}"
    if limit in ("memory", "memory_low", "pids"):
        return files.size(path)
    if limit == "swap":
        both = files.size(path)
        return None if both is None else both - (files.size(f"{directory}/{FILES['memory']}") or 0)
    data = files.read_or_none(path)
    if data is None:
        return None
    if limit == "cpu":
        return None if data.startswith(b"-") else values.cores(int(data), int(files.read_or_none(f"{directory}/{_PERIOD}") or 0))
    return values.weight(int(data)) if limit == "cpu_weight" else data.decode().strip()


def inherited_cpus(directory: str) -> str | None:
    """A new group has its parent's, see ``ready``."""
    data = files.read_or_none(f"{os.path.dirname(directory)}/{FILES['cpuset']}")
    return data.decode().strip() if data is not None else None


def file_names(limit: str) -> list[str]:
    return parts.file_names(1, limit) or ([FILES[limit]] if limit in FILES else []) + ([_PERIOD] if limit == "cpu" else [])


def effective_value(limit: str, own: LimitValue | None, directories: list[str]) -> LimitValue | None:
    """The tightest of the group (first; ``own`` is its kernel's value) and its ancestors up to the mount's root."""
    if limit in ("cpu_weight", "io_weight", "memory_low") or unshared(limit):  # soft limits are not inherited
        return own
    if limit == "hugetlb":
        return parts.effective_value(1, limit, own, directories[1:]) or None
    if limit == "cpuset":
        data = files.read_or_none(f"{directories[0]}/cpuset.effective_cpus")
        return data.decode().strip() if data is not None else own
    above = (kernel_value(limit, directory) for directory in directories[1:])
    return min((amount(value) for value in (own, *above) if value is not None), default=None)


def explain(write: Write, error: OSError) -> TerrariumError:
    """The kernel's errno as the user's cause."""
    if write.limit in parts.PARTED:
        return parts.explain(write, error)
    directory = os.path.dirname(write.path)
    label = LIMITS[write.limit].label
    if error.errno in files.GONE:
        return files.gone()
    if error.errno == errno.EBUSY and write.limit in ("memory", "swap"):
        used = files.size(f"{directory}/{FILES[write.limit].replace('limit', 'usage')}") or 0
        what = "in use" if write.limit == "memory" else "of memory and swap in use"
        return files.in_use(int(write.value), used, what)
    if error.errno == errno.EBUSY and write.limit == "cpuset":
        return KernelRefused(f"A group inside it uses other CPUs than {write.value}.", hint="Change those groups first.")
    if error.errno == errno.EINVAL and write.limit == "cpu":
        return KernelRefused(
            "The kernel did not take this CPU limit: a group above it allows less, or one inside it is promised more.",
            hint="Raise the group above, or lower the groups inside it, first.",
        )
    if error.errno in (errno.EROFS, errno.EPERM):
        return files.no_access(write.path, error)
    return KernelRefused(f"The kernel did not take {label} = {write.value}: {error.strerror}.", hint="Try another value.")


def freeze(directory: str) -> None:
    """Raises KernelRefused (and thaws) when it takes over a second."""
    deadline = time.monotonic() + _FREEZE_SECONDS
    wait = 0.0005
    with files.vanishing():
        while True:
            files.write(directory + "/freezer.state", "FROZEN")  # again and again: new tasks may have got away
            if frozen(directory):
                return
            if time.monotonic() > deadline:
                thaw(directory)
                raise KernelRefused(
                    "It could not be paused within a second: a process in it waits for the kernel.", hint="Try again."
                )
            time.sleep(wait)
            wait *= 2


def thaw(directory: str) -> None:
    with files.vanishing():
        files.write(directory + "/freezer.state", "THAWED")


def frozen(directory: str) -> bool:
    return (files.read_or_none(directory + "/freezer.state") or b"").startswith(b"FROZEN")


def kill(directory: str) -> None:
    """Freeze, so that no pid can be used again and nobody can fork, then signal all, then thaw: the signal acts then."""
    state = directory + "/freezer.state"
    if not files.pids(directory):
        return
    files.write(state, "FROZEN")
    try:
        files.signal_all(files.pids(directory) or [])
    finally:
        files.write(state, "THAWED")


def oom_kills(directory: str) -> int:
    return files.number(files.read_or_none(directory + "/memory.oom_control") or b"", b"oom_kill ") or 0


def populated(directory: str) -> bool:
    return bool(files.pids(directory))


def counters(directories: Mapping[str, str]) -> dict[str, Counters]:
    """Controller → where its numbers are, for the controllers given."""
    table = {
        "cpuacct": lambda d: Counters(cpu=d + "/cpuacct.usage", cpu_unit=1e-9),
        "cpu": lambda d: Counters(periods=d + "/cpu.stat", held_key=b"throttled_time ", held_unit=1e-9),
        "memory": lambda d: Counters(
            memory=d + "/memory.usage_in_bytes",
            memory_stat=d + "/memory.stat",
            cache_key=b"total_inactive_file ",
            anonymous_key=b"total_rss ",
            files_key=b"total_cache ",
        ),
        "pids": lambda d: Counters(pids=d + "/pids.current"),
        "blkio": lambda d: Counters(
            io=d + "/blkio.throttle.io_service_bytes_recursive", read_key=b" Read ", write_key=b" Write "
        ),
    }
    return {name: table[name](directory) for name, directory in directories.items() if name in table}
