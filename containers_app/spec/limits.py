"""The table of limits: name, unit, range and the kernel's files of each; and how a value that somebody wrote becomes one."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ..errors import InvalidInput
from ..units import parse_share, parse_size, plain, shown

LimitValue = int | float | str
Limits = dict[str, LimitValue]
LimitChanges = dict[str, LimitValue | None]


class Limit(msgspec.Struct, frozen=True):
    """One row of the table of limits; ``unit`` is what the number means, files are where the kernel keeps it."""

    name: str
    label: str
    unit: str  # cores | weight | cpus | bytes | processes | bytes/s
    kind: str  # share | weight | cpuset | size | count
    minimum: float
    maximum: float | None  # None: the host says
    v1: str
    v2: str
    help: str


_LIMIT_ROWS = (
    Limit(
        "cpu",
        "CPU",
        "cores",
        "share",
        0.01,
        None,
        "cpu.cfs_quota_us, cpu.cfs_period_us",
        "cpu.max",
        "Most CPU time it may use, in cores. 0.5 is half of one core.",
    ),
    Limit(
        "cpu_weight",
        "CPU weight",
        "weight",
        "weight",
        1,
        10000,
        "cpu.shares",
        "cpu.weight",
        "Its share when CPUs are contended. 100 is the default.",
    ),
    Limit(
        "cpuset",
        "CPUs",
        "cpus",
        "cpuset",
        0,
        None,
        "cpuset.cpus",
        "cpuset.cpus",
        "The CPUs it may run on, as a list such as 0-1,3.",
    ),
    Limit(
        "memory",
        "Memory",
        "bytes",
        "size",
        1 << 20,
        None,
        "memory.limit_in_bytes",
        "memory.max",
        "Most memory it may use; past it the kernel reclaims, then kills.",
    ),
    Limit(
        "memory_high",
        "Memory high",
        "bytes",
        "size",
        1 << 20,
        None,
        "",
        "memory.high",
        "Above this the kernel slows it down and reclaims.",
    ),
    Limit(
        "memory_low",
        "Memory low",
        "bytes",
        "size",
        0,
        None,
        "memory.soft_limit_in_bytes",
        "memory.low",
        "Memory that the kernel tries to leave to it.",
    ),
    Limit(
        "swap",
        "Swap",
        "bytes",
        "size",
        0,
        None,
        "memory.memsw.limit_in_bytes",
        "memory.swap.max",
        "Most swap it may use beside its memory.",
    ),
    Limit(
        "pids",
        "Processes",
        "processes",
        "count",
        1,
        None,
        "pids.max",
        "pids.max",
        "Most processes and threads it may have at once.",
    ),
    Limit(
        "net_in",
        "Network in",
        "bytes/s",
        "size",
        1 << 13,
        12_500_000_000,
        "",
        "",
        "Most that its link brings to it, in bytes per second.",
    ),
    Limit(
        "net_out",
        "Network out",
        "bytes/s",
        "size",
        1 << 13,
        12_500_000_000,
        "",
        "",
        "Most that its link takes from it, in bytes per second.",
    ),
)
NET_LIMITS = ("net_in", "net_out")  # of the link (kernel/shaping.py), not of a control group
LIMITS: dict[str, Limit] = {row.name: row for row in _LIMIT_ROWS}


class LimitReading(msgspec.Struct, frozen=True):
    """One limit as it stands. None means "no limit". ``locked`` says why it can't be set here, "" if it can."""

    requested: LimitValue | None
    kernel: LimitValue | None
    effective: LimitValue | None
    unit: str
    maximum: float | None = None
    locked: str = ""


_CPUSET = re.compile(r"[0-9]{1,4}(?:-[0-9]{1,4})?(?:,[0-9]{1,4}(?:-[0-9]{1,4})?)*", re.ASCII)


def parse_limit(name: str, value: object) -> LimitValue | None:
    """One limit as the API sends it → its value in the table's unit, or None (no limit)."""
    row = LIMITS.get(name)
    if row is None:
        raise InvalidInput(f"There is no limit called {shown(name)}.", hint="Limits are " + ", ".join(LIMITS) + ".")
    if value is None:
        return None
    if row.kind == "cpuset":
        if not isinstance(value, str) or not _CPUSET.fullmatch(value.strip()):
            raise InvalidInput(f"{shown(value)} is not a list of CPUs.", hint="Write for example 0-1,3.")
        return value.strip()
    number: float | int
    if row.kind == "size":
        number = parse_size(value)
    elif row.kind == "share":
        number = round(parse_share(value, 1.0), 3)
    else:
        number = parse_share(value, row.maximum or 0)
        if number != int(number):
            raise InvalidInput(f"{row.label} takes a whole number, not {shown(value)}.")
        number = int(number)
    if number < row.minimum:
        raise InvalidInput(f"{row.label} can't be below {plain(row.minimum)} {row.unit}.", hint="Send null to clear the limit.")
    if row.maximum is not None and number > row.maximum:
        raise InvalidInput(f"{row.label} can't be above {plain(row.maximum)} {row.unit}.", hint="Send null to clear the limit.")
    if number > 1 << 53:
        raise InvalidInput(f"{shown(value)} is more than any machine has.", hint="Send null to clear the limit.")
    return number


def parse_limits(raw: object) -> LimitChanges:
    """A mapping of limit names; null clears. Any bad entry refuses the whole."""
    if not isinstance(raw, Mapping):
        raise InvalidInput("Limits are an object of names and values.", hint='For example {"memory": "64M", "pids": 50}.')
    return {str(name): parse_limit(str(name), value) for name, value in raw.items()}
