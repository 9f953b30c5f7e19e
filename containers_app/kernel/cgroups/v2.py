"""cgroup v2: one hierarchy for all controllers. The same function names as v1.py; sizes are bytes, CPU is cores.

Nothing here decides between v1 and v2; on a hybrid host this module serves the v2 hierarchy for kill, freeze and
pressure, which need no controller. Source: kernel Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterable, Mapping

from ...errors import KernelRefused, TerrariumError, Unsupported
from ...spec import LIMITS, LimitValue, amount, whole
from . import files, parts, values
from .files import Counters, Write

FILES = {
    "cpu": "cpu.max",
    "cpu_weight": "cpu.weight",
    "cpuset": "cpuset.cpus",
    "memory": "memory.max",
    "memory_high": "memory.high",
    "memory_low": "memory.low",
    "swap": "memory.swap.max",
    "pids": "pids.max",
}
_FREEZE_SECONDS = 1.0  # longest wait; a task in uninterruptible sleep freezes only after it


def locked(limit: str, mount: str) -> str:
    """Why this host can't enforce the limit, "" if it can. The root group has no limit files, so a child is asked."""
    if limit == "io_weight":
        return parts.weight_locked(2, mount)
    if limit == "hugetlb":
        return "" if parts.page_sizes() else "This kernel has no huge pages."
    enabled = (files.read_or_none(mount + "/cgroup.subtree_control") or b"").decode().split()
    if files.LIMIT_CONTROLLERS[limit] not in enabled:
        return ""  # no child can tell yet
    for child in files.subgroups(mount):
        if os.path.exists(f"{child}/{FILES.get(limit, 'io.max')}"):
            return ""
        if os.path.exists(child + "/cgroup.events"):
            return (
                "This kernel does not count swap per group (booted with swapaccount=0)."
                if limit == "swap"
                else f"This kernel has no {FILES.get(limit, 'io.max')}."
            )
    return ""


def unshared(limit: str) -> str:
    """Every limit of a group holds what is inside it."""
    return ""


def prepare(parent: str, directory: str, controllers: Iterable[str]) -> None:
    """Make ``directory`` a group that other groups are made in, with the controllers handed down to them.

    A controller that can't be handed down is left out: its limits then say so when they are set.
    """
    files.make(directory)
    for group in (parent, directory):
        path = group + "/cgroup.subtree_control"
        enabled = (files.read_or_none(path) or b"").decode().split()
        for controller in controllers:
            if controller not in enabled:
                try:
                    files.write(path, "+" + controller)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EBUSY, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EROFS):
                        raise


def prepare_commands(parent: str, directory: str, controllers: Iterable[str]) -> list[str]:
    enable = " ".join("+" + controller for controller in controllers)
    commands = [f"mkdir -p {directory}"]
    if enable:
        commands += [f'echo "{enable}" > {group}/cgroup.subtree_control' for group in (parent, directory)]
    return commands


def ready(directory: str, controllers: Iterable[str]) -> None:
    """A new group needs nothing here: an empty cpuset means the parent's."""


def plan(changes: Mapping[str, LimitValue | None], directories: Mapping[str, str], fresh: bool) -> list[Write]:
    """Everything that is to be written. Lowering memory below the use makes the kernel kill, so room is made first.

    ``fresh``: the group is new (or only described), so there is nothing to read and nothing to put back.
    Raises OSError when the group is gone, KernelRefused or InvalidInput for what can't be.
    """
    writes: list[Write] = []
    for limit, file in FILES.items():
        if limit in changes:
            directory = directories[files.LIMIT_CONTROLLERS[limit]]
            path = f"{directory}/{file}"
            before = "" if fresh else _read(path, limit)
            if limit == "cpuset" and not fresh:
                before = before or _all_cpus(directory)
            writes.append(Write(limit, path, _text(limit, changes[limit], directory, before), before))
    for limit in parts.PARTED:
        if limit in changes:
            writes += parts.plan(2, limit, changes[limit], directories[files.LIMIT_CONTROLLERS[limit]], fresh)
    if "io_weight" in changes:
        file = _weight_file(directories["io"])
        path = f"{directories['io']}/{file}"
        before = "" if fresh else _read(path, "io_weight")
        writes.append(Write("io_weight", path, parts.weight_text(file, changes["io_weight"]), before))
    memory = changes.get("memory")
    if memory is not None and not fresh:
        _make_room(directories["memory"], whole(memory))
    return writes


def _weight_file(directory: str) -> str:
    """io.cost.qos, which tells the two apart, is in the root group alone: where there is no parent with limits."""
    root = directory
    while os.path.exists(f"{root}/cgroup.events"):
        root = os.path.dirname(root)
    return parts.weight_file(2, root)


def _read(path: str, limit: str) -> str:
    try:
        return files.text(path)
    except FileNotFoundError:
        if os.path.isdir(os.path.dirname(path)):
            raise _not_enabled(path, limit) from None
        raise


def _not_enabled(path: str, limit: str) -> Unsupported:
    parent = os.path.dirname(os.path.dirname(path))
    return Unsupported(
        f"{LIMITS[limit].label} can't be limited here: the {files.LIMIT_CONTROLLERS[limit]} controller is not handed down to it.",
        hint=f"Run: echo +{files.LIMIT_CONTROLLERS[limit]} > {parent}/cgroup.subtree_control",
    )


def _text(limit: str, value: LimitValue | None, directory: str, before: str) -> str:
    if limit == "cpu":
        period = int(before.split()[1]) if before else values.PERIOD
        quota: int | str = "max"
        if value is not None:
            quota, period = values.quota(amount(value), period)
        return f"{quota} {period}"
    if limit == "cpuset":
        return _all_cpus(directory) if value is None else _cpus(str(value), os.path.dirname(directory))
    if value is None:
        return {"cpu_weight": str(values.DEFAULT_WEIGHT), "memory_low": "0"}.get(limit, "max")
    return str(whole(value))


def _all_cpus(directory: str) -> str:
    """What clears a cpuset. Older kernels (6.1) refuse an empty one where processes run, so those get the parent's."""
    return inherited_cpus(directory) or "" if populated(directory) else ""


def _cpus(value: str, parent: str) -> str:
    """The kernel would take CPUs that are not there and quietly use the parent's; say so instead."""
    wanted = values.cpu_list(value)
    allowed = files.read_or_none(parent + "/cpuset.cpus.effective")
    if allowed is not None and not wanted <= values.cpu_list(allowed.decode()):
        missing = values.cpu_text(wanted - values.cpu_list(allowed.decode()))
        raise KernelRefused(f"CPU {missing} can't be used here.", hint=f"There are {allowed.decode().strip()}.")
    return values.cpu_text(wanted)


def hand_down_protection(group: str) -> str:
    """A group's memory.low counts no more than the one above it: keep ``group``'s at the sum of those in it, and tell it."""
    lows = [files.read_or_none(child + "/memory.low") for child in files.subgroups(group)]
    total = "max" if any(low and low.startswith(b"max") for low in lows) else str(sum(int(low) for low in lows if low))
    path = group + "/memory.low"
    before = files.read_or_none(path)
    if before is not None and before.decode().strip() != total:
        files.write(path, total)
    return total


def _make_room(directory: str, wanted: int) -> None:
    """Reclaim down to ``wanted`` bytes, or KernelRefused. Kernels before 5.19 can't be asked; they estimate from the cache."""
    used = files.size(directory + "/memory.current")
    if used is None or used <= wanted:
        return
    try:
        files.write(directory + "/memory.reclaim", str(used - wanted))
    except FileNotFoundError:
        stat = files.read(directory + "/memory.stat")
        used -= sum(files.number(stat, key) or 0 for key in (b"inactive_file ", b"active_file ", b"slab_reclaimable "))
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EINTR):
            raise
        used = files.size(directory + "/memory.current") or 0
    else:
        used = files.size(directory + "/memory.current") or 0
    if used > wanted:
        raise files.in_use(wanted, used)


def kernel_value(limit: str, directory: str) -> LimitValue | None:
    """What the kernel has for this group alone; None is "no limit" or not known here."""
    if limit in parts.PARTED:
        return parts.kernel_value(2, limit, directory) or None
    if limit == "io_weight":
        file = _weight_file(directory)
        weight = files.read_or_none(f"{directory}/{file}")
        return parts.weight_value(file, weight) if weight else None
    path = f"{directory}/{FILES[limit]}"
    if limit not in ("cpu", "cpu_weight", "cpuset"):
        return files.size(path) if limit != "memory_low" else files.size(path) or None
    data = files.read_or_none(path)
    if not data or not data.strip():
        return None
    if limit == "cpu":
        quota, period = data.split()
        return None if quota == b"max" else values.cores(int(quota), int(period))
    return int(data) if limit == "cpu_weight" else data.decode().strip()


def inherited_cpus(directory: str) -> str | None:
    """An empty list means these, the parent's."""
    data = files.read_or_none(os.path.dirname(directory) + "/cpuset.cpus.effective")
    return data.decode().strip() if data is not None else None


def file_names(limit: str) -> list[str]:
    return parts.file_names(2, limit) or [FILES[limit]]


def effective_value(limit: str, own: LimitValue | None, directories: list[str]) -> LimitValue | None:
    """The tightest of the group (first; ``own`` is its kernel's value) and its ancestors up to the mount's root.

    Protection is capped by each ancestor.
    """
    if limit in parts.PARTED:
        return parts.effective_value(2, limit, own, directories[1:]) or None
    if limit in ("cpu_weight", "io_weight"):
        return own
    if limit == "cpuset":
        data = files.read_or_none(f"{directories[0]}/cpuset.cpus.effective")
        return data.decode().strip() if data is not None else None
    every = [own, *(kernel_value(limit, directory) for directory in directories[1:])]
    if limit == "memory_low":
        return None if every[0] is None else min(whole(value or 0) for value in (every[:-1] or every))
    found = [value for value in every if value is not None]
    return min(map(amount, found), default=None)


def explain(write: Write, error: OSError) -> TerrariumError:
    """The kernel's errno as the user's cause."""
    if write.limit in parts.PARTED and not (error.errno == errno.ENOENT and os.path.isdir(os.path.dirname(write.path))):
        return parts.explain(write, error)
    if error.errno in files.GONE:
        missing = error.errno == errno.ENOENT and os.path.isdir(os.path.dirname(write.path))
        return _not_enabled(write.path, write.limit) if missing else files.gone()
    if error.errno in (errno.EROFS, errno.EPERM, errno.EACCES):
        return files.no_access(write.path, error)
    if error.errno in (errno.EBUSY, errno.ENOSPC) and write.limit == "cpuset":
        return KernelRefused(f"CPUs {write.value} are kept by another group.", hint="Choose CPUs that no group keeps to itself.")
    label = LIMITS[write.limit].label
    return KernelRefused(f"The kernel did not take {label} = {write.value}: {error.strerror}.", hint="Try another value.")


def freeze(directory: str) -> None:
    """Raises KernelRefused (and thaws) when it takes over a second. cgroup.events wakes a poll when it changes."""
    with files.vanishing():
        fd = os.open(directory + "/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        deadline = time.monotonic() + _FREEZE_SECONDS
        with files.vanishing():
            files.write(directory + "/cgroup.freeze", "1")
            while files.number(os.pread(fd, 256, 0), b"frozen ") == 0:
                left = deadline - time.monotonic()
                if left <= 0:
                    thaw(directory)
                    raise KernelRefused(
                        "It could not be paused within a second: a process in it waits for the kernel.", hint="Try again."
                    )
                poll.poll(left * 1000)
    finally:
        os.close(fd)


def thaw(directory: str) -> None:
    with files.vanishing():
        files.write(directory + "/cgroup.freeze", "0")


def frozen(directory: str) -> bool:
    return files.number(files.read_or_none(directory + "/cgroup.events") or b"", b"frozen ") == 1


def kill(directory: str) -> None:
    """cgroup.kill (Linux 5.14) ends everything in and below, frozen or forking. Before: freeze, signal, thaw. Gone is fine."""
    try:
        files.write(directory + "/cgroup.kill", "1")
    except OSError as error:
        if error.errno not in files.GONE and error.errno != errno.EOPNOTSUPP:
            raise files.no_access(directory, error) from None
        if files.pids(directory):
            files.write(directory + "/cgroup.freeze", "1")
            files.signal_all(files.pids(directory) or [])
            thaw(directory)
    else:  # it signals first threads, and a process whose first one has ended while others run hears nothing of it
        files.signal_all(files.pids(directory) or [])


def oom_kills(directory: str) -> int:
    return files.number(files.read_or_none(directory + "/memory.events") or b"", b"oom_kill ") or 0


def populated(directory: str) -> bool:
    return files.number(files.read_or_none(directory + "/cgroup.events") or b"", b"populated ") == 1


def counters(directories: Mapping[str, str]) -> dict[str, Counters]:
    """Controller → where its numbers are, for the controllers given; "" (no controller) has the CPU time."""
    table = {
        "": lambda d: Counters(cpu=d + "/cpu.stat", cpu_key=b"usage_usec ", cpu_unit=1e-6),
        "cpu": lambda d: Counters(periods=d + "/cpu.stat", held_key=b"throttled_usec ", held_unit=1e-6),
        "memory": lambda d: Counters(
            memory=d + "/memory.current",
            memory_stat=d + "/memory.stat",
            cache_key=b"inactive_file ",
            anonymous_key=b"anon ",
            files_key=b"file ",
        ),
        "pids": lambda d: Counters(pids=d + "/pids.current"),
        "io": lambda d: Counters(io=d + "/io.stat", read_key=b" rbytes=", write_key=b" wbytes="),
    }
    return {name: table[name](directory) for name, directory in directories.items() if name in table}
