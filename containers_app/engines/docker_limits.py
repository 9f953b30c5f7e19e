"""Limits in Docker's words: what its record (HostConfig) asks for, and what to write into it.

The record counts swap together with memory, CPU in 10⁻⁹ cores (or as quota and period), weight as cgroup v1 shares; and 0
means "leave it" in an update, so "no limit" must be written as a number that means as much:

    cpu         NanoCpus = all CPUs (CpuQuota = -1 where the record has a quota; beside NanoCpus a -1 would stay for good)
    cpu_weight  CpuShares = 1024, the default          memory      Memory = UNLIMITED
    cpuset      CpusetCpus = all CPUs                  memory_low  MemoryReservation = -1
    swap        MemorySwap = -1                        pids        PidsLimit = -1
    io_…_bytes, io_…_ops  BlkioDevice… when it is made; an update knows no words for them
    io_weight   BlkioWeight, bfq's, is read where others have set it
    memory_high, hugetlb, net_in, net_out  Docker has no word for them

Source: moby daemon/daemon_unix.go, container/container_unix.go (UpdateContainer); tried with 20.10.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import InvalidInput, Unsupported
from ..kernel.cgroups import values
from ..spec import LIMITS, NET_LIMITS, LimitChanges, LimitReading, LimitValue, amount, change_to, whole

UNLIMITED = (1 << 63) - 4096  # bytes: the kernel's own largest limit in whole pages; v1 and v2 read it as "no limit"
MIN_MEMORY = 6 << 20  # bytes; the daemon refuses less
FIELDS = (
    "NanoCpus", "CpuQuota", "CpuPeriod", "CpuShares", "CpusetCpus", "Memory", "MemorySwap", "MemoryReservation", "PidsLimit",
)  # fmt: skip
BY_DISK = {
    "io_read_bytes": "BlkioDeviceReadBps", "io_write_bytes": "BlkioDeviceWriteBps", "io_read_ops": "BlkioDeviceReadIOps",
    "io_write_ops": "BlkioDeviceWriteIOps",
}  # fmt: skip
KEPT_ONLY_HERE = ("memory_high", "io_weight", "hugetlb", *BY_DISK, *NET_LIMITS)
_MISPUT = "cpu_weight"  # where older runtimes make another weight of the record's shares on cgroup v2
KEPT_ON_CREATION = (*KEPT_ONLY_HERE, _MISPUT, "swap")  # the record has a limit on swap whether it was asked for or not
Values = dict[str, LimitValue | None]


def requested(host: Mapping[str, Any], cpus: int) -> Values:
    """The record → every limit of the table; None is "no limit". ``cpus``: how many the host has."""
    memory, both = int(host.get("Memory") or 0), int(host.get("MemorySwap") or 0)
    limited = 0 < memory < UNLIMITED
    quota, nano = int(host.get("CpuQuota") or 0), int(host.get("NanoCpus") or 0)
    cpu: float | None = None
    if quota:
        cpu = values.cores(quota, int(host.get("CpuPeriod") or values.PERIOD))
    elif nano:
        cpu = round(nano / 1e9, 6)
    reservation, pids = int(host.get("MemoryReservation") or 0), int(host.get("PidsLimit") or 0)
    return {
        "cpu": cpu,
        "cpu_weight": values.weight(int(host["CpuShares"])) if host.get("CpuShares") else None,
        "cpuset": str(host.get("CpusetCpus") or "") or None,
        "memory": memory if limited else None,
        "memory_high": None,
        "memory_low": reservation if 0 < reservation < UNLIMITED else None,
        "swap": both - memory if limited and both >= memory else None,
        "pids": pids if pids > 0 else None,
        "io_weight": values.weight_of_bfq(int(host["BlkioWeight"])) if host.get("BlkioWeight") else None,
        "hugetlb": None,
        **{name: _by_disk(host.get(word)) for name, word in BY_DISK.items()},
        **dict.fromkeys(NET_LIMITS),
    }


def _by_disk(entries: list[dict[str, Any]] | None) -> LimitValue | None:
    """By the kernel's names: people write /dev/mapper/… and /dev/disk/by-id/… too."""
    return {os.path.basename(os.path.realpath(str(entry["Path"]))): int(entry["Rate"]) for entry in entries or ()} or None


def check(changes: Mapping[str, LimitValue | None]) -> None:
    memory = changes.get("memory")
    if memory is not None and whole(memory) < MIN_MEMORY:
        raise InvalidInput("Docker takes no memory limit below 6 MB.", hint="Set at least 6M, or use a raw sandbox.")


def check_elsewhere(changes: Mapping[str, LimitValue | None]) -> None:
    """Of one that runs where its control groups can't be reached: the daemon writes what it has words for."""
    for name, value in changes.items():
        if value is not None and name in KEPT_ONLY_HERE:
            raise Unsupported(
                f"{LIMITS[name].label} can't be set: the container runs, but not on this host, and Docker has no word for it.",
                code="limit_locked",
            )


def with_swap(changes: LimitChanges, asked: Values, kept: Values) -> LimitChanges:
    """Who clears memory alone clears the limit on swap too: Docker gives one to whoever limits memory (as much again), and has
    no words for one without memory. InvalidInput where it was asked for through us (``kept``): that is not ours to drop."""
    if changes.get("memory", 0) is not None or "swap" in changes or asked.get("swap") is None:
        return changes
    if kept.get("swap") is not None:
        raise InvalidInput("Docker limits swap only together with memory.", hint="Clear both, or leave memory limited.")
    return {**changes, "swap": None}


def record(changes: Mapping[str, LimitValue | None], wanted: Values, host: Mapping[str, Any], cpus: int) -> dict[str, Any]:
    """The fields of HostConfig for the limits in ``changes``. ``wanted`` has memory and swap as both are to be in the end."""
    body: dict[str, Any] = {}
    if "cpu" in changes:
        body |= _cpu(changes["cpu"], host, cpus)
    if "cpu_weight" in changes:
        weight = changes["cpu_weight"]
        body["CpuShares"] = values.DEFAULT_SHARES if weight is None else values.shares(whole(weight))
    if "cpuset" in changes:
        body["CpusetCpus"] = str(changes["cpuset"] or values.cpu_text(frozenset(range(cpus))))
    if "memory" in changes or "swap" in changes:
        body |= _memory(wanted.get("memory"), wanted.get("swap"), in_update=bool(host))
    if "memory_low" in changes:
        body["MemoryReservation"] = -1 if changes["memory_low"] is None else whole(changes["memory_low"])
    if "pids" in changes:
        body["PidsLimit"] = -1 if changes["pids"] is None else whole(changes["pids"])
    if not host:
        for name, word in BY_DISK.items():
            if isinstance(disks := changes.get(name), dict):
                body[word] = [{"Path": f"/dev/{disk}", "Rate": rate} for disk, rate in disks.items()]
    return body


def _cpu(cores: LimitValue | None, host: Mapping[str, Any], cpus: int) -> dict[str, Any]:
    if host.get("CpuQuota") or host.get("CpuPeriod"):
        period = int(host.get("CpuPeriod") or values.PERIOD)
        return {"CpuQuota": -1 if cores is None else max(values.SMALLEST_QUOTA, round(amount(cores) * period))}
    if cores is None and not host.get("NanoCpus"):
        return {}
    return {"NanoCpus": round((cpus if cores is None else amount(cores)) * 1e9)}


def _memory(memory: LimitValue | None, swap: LimitValue | None, *, in_update: bool) -> dict[str, Any]:
    if memory is None:
        if swap is not None:
            raise InvalidInput("Docker limits swap only together with memory.", hint="Set a memory limit too.")
        return {"Memory": UNLIMITED, "MemorySwap": -1}
    if swap is None:  # a new container gets Docker's default then: as much swap as memory
        return {"Memory": whole(memory)} | ({"MemorySwap": -1} if in_update else {})
    return {"Memory": whole(memory), "MemorySwap": whole(memory) + whole(swap)}


def drifted(host: Mapping[str, Any], kernel: Values, cpus: int) -> set[str]:
    """Memory limits that the kernel has otherwise than the record. An update would write the record's, so put these right."""
    asked = requested(host, cpus)
    return {name for name in ("memory", "swap") if asked[name] != kernel.get(name)}


def still_asked(kept: Values, same_record: bool) -> Values:
    """What was asked for through us and still holds: a record that others have changed since says better what it can say."""
    return {name: value for name, value in kept.items() if same_record or name in KEPT_ONLY_HERE}


def not_kept(limits: Mapping[str, LimitReading], kept: Values, recorded: bool) -> Values:
    """What was asked for through us and a new start has lost, as far as the record can't say it. ``recorded``: it can at all."""
    return {
        name: change_to(value, limits[name].kernel)
        for name, value in kept.items()
        if name not in NET_LIMITS  # docker_rates.py
        and (value is None or name in (*KEPT_ONLY_HERE, _MISPUT) or not recorded)
        and name in limits
        and limits[name].kernel != value
        and not limits[name].locked
    }


def as_put(limits: Mapping[str, LimitReading], host: Mapping[str, Any]) -> dict[str, LimitReading]:
    """``limits`` of a container that others gave its shares: what an older runtime made of them is what was asked for."""
    found = dict(limits)
    reading, shares = found[_MISPUT], int(host.get("CpuShares") or 0)
    if reading.drift and shares and reading.kernel == values.weight_by_older_runtimes(shares):
        found[_MISPUT] = msgspec.structs.replace(reading, requested=reading.kernel, drift=False)
    return found


def signature(host: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(host.get(field) for field in FIELDS)
