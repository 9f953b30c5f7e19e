"""The table of limits: name, unit, range and the kernel's files of each; and how a value that somebody wrote becomes one."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ..errors import InvalidInput
from ..units import parse_share, parse_size, plain, shown

LimitValue = int | float | str | dict[str, int | None]  # an object is by disk or page size; None only in a change
Limits = dict[str, LimitValue]
LimitChanges = dict[str, LimitValue | None]  # None clears; in an object, that part alone
DATA_DISK = ""  # stands for the disk that holds the panel's data directory


class Limit(msgspec.Struct, frozen=True):
    """One row of the table of limits; ``unit`` is what the number means, files are where the kernel keeps it."""

    name: str
    label: str
    unit: str  # cores | weight | cpus | bytes | processes | bytes/s | operations/s
    kind: str  # share | weight | cpuset | size | count | disk_size, disk_count: by disk | page_size: by size of huge page
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
    Limit(
        "io_read_bytes",
        "Disk reads",
        "bytes/s",
        "disk_size",
        1,
        None,
        "blkio.throttle.read_bps_device",
        "io.max",
        "Most it may read from a disk in a second.",
    ),
    Limit(
        "io_write_bytes",
        "Disk writes",
        "bytes/s",
        "disk_size",
        1,
        None,
        "blkio.throttle.write_bps_device",
        "io.max",
        "Most it may write to a disk in a second. On cgroup v1 only what is written past the page cache.",
    ),
    Limit(
        "io_read_ops",
        "Disk read operations",
        "operations/s",
        "disk_count",
        1,
        None,
        "blkio.throttle.read_iops_device",
        "io.max",
        "Most reads from a disk in a second.",
    ),
    Limit(
        "io_write_ops",
        "Disk write operations",
        "operations/s",
        "disk_count",
        1,
        None,
        "blkio.throttle.write_iops_device",
        "io.max",
        "Most writes to a disk in a second. On cgroup v1 only those past the page cache.",
    ),
    Limit(
        "io_weight",
        "Disk weight",
        "weight",
        "weight",
        1,
        10000,
        "blkio.bfq.weight",
        "io.weight, io.bfq.weight",
        "Its share when a disk is contended. 100 is the default.",
    ),
    Limit(
        "hugetlb",
        "Huge pages",
        "bytes",
        "page_size",
        0,
        None,
        "hugetlb.SIZE.limit_in_bytes",
        "hugetlb.SIZE.max",
        "Most memory in huge pages, by their size.",
    ),
)
NET_LIMITS = ("net_in", "net_out")  # of the link (kernel/shaping.py), not of a control group
LIMITS: dict[str, Limit] = {row.name: row for row in _LIMIT_ROWS}


class LimitReading(msgspec.Struct, frozen=True):
    """One limit as it stands. None means "no limit". ``locked`` says why it can't be set here, "" if it can.

    ``parts`` are the disks or page sizes that it can be set for, where it is an object.
    """

    requested: LimitValue | None
    kernel: LimitValue | None
    effective: LimitValue | None
    unit: str
    maximum: float | None = None
    locked: str = ""
    parts: tuple[str, ...] = ()
    drift: bool = False  # somebody else has changed it: the kernel has not what was requested


_MOST_PARTS = 64
_PART = re.compile(r"(?:/dev/)?[A-Za-z0-9][A-Za-z0-9_.:!-]{0,63}|", re.ASCII)
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
    if row.kind in ("disk_size", "disk_count", "page_size"):
        return _parse_parts(row, value)
    return _parse_number(row, value)


def _parse_parts(row: Limit, value: object) -> dict[str, int | None]:
    """An object by disk or page size; a bare amount is meant for the disk that holds the panel's data directory."""
    if not isinstance(value, Mapping):
        if row.kind == "page_size":
            raise InvalidInput(f"{row.label} are limited by page size.", hint='Write for example {"2M": "64M"}.')
        value = {DATA_DISK: value}
    if len(value) > _MOST_PARTS:
        raise InvalidInput(f"{row.label} takes at most {_MOST_PARTS} entries.")
    parts: dict[str, int | None] = {}
    for part, amount in value.items():
        if not isinstance(part, str) or not _PART.fullmatch(part):
            what = "size of a huge page" if row.kind == "page_size" else "disk"
            raise InvalidInput(f"{shown(part)} is not a {what}.", code="invalid_device", hint="For example vda, 253:0 or 2M.")
        parts[part] = None if amount is None else int(_parse_number(row, amount))
    return parts


def _parse_number(row: Limit, value: object) -> int | float:
    number: float | int
    if row.kind in ("size", "disk_size", "page_size"):
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
    """A mapping of limit names; null clears, in an object that part alone. Any bad entry refuses the whole."""
    if not isinstance(raw, Mapping):
        raise InvalidInput("Limits are an object of names and values.", hint='For example {"memory": "64M", "pids": 50}.')
    return {str(name): parse_limit(str(name), value) for name, value in raw.items()}


def amount(value: LimitValue) -> float:
    """A limit that is one number."""
    assert isinstance(value, (int, float))
    return value


def whole(value: LimitValue) -> int:
    """A limit that is one whole number."""
    return int(amount(value))


def set_limits(changes: LimitChanges) -> Limits:
    """What ``changes`` ask for where there was nothing before: without what they clear."""
    return merge_limits({}, changes)


def merge_limits(limits: Mapping[str, LimitValue], changes: LimitChanges) -> Limits:
    """``limits`` after ``changes``."""
    merged = dict(limits)
    for name, change in changes.items():
        value: LimitValue | None
        if isinstance(change, dict):
            before = merged.get(name)
            parts = (before if isinstance(before, dict) else {}) | change
            left = {part: amount for part, amount in parts.items() if amount is not None}
            value = dict[str, int | None](left) or None
        else:
            value = change
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged


def change_to(wanted: LimitValue | None, now: LimitValue | None) -> LimitValue | None:
    """The change of one limit that leaves ``wanted``, and no other part of what is there ``now``."""
    return dict.fromkeys(now) | wanted if isinstance(wanted, dict) and isinstance(now, dict) else wanted
