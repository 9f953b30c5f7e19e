"""Conversions between the panel's units and the kernel's, and back. Pure arithmetic and text, no files.

CPU is in cores, weights are cgroup v2's 1 to 10000 (100 is the default), sizes are bytes, CPU lists are text like "0-1,3".
Sources: kernel Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/{memory,cpusets}.rst, scheduler/sched-bwc.rst; the formula
between shares and weight is the one that OCI runtimes use today, chosen so that both defaults (1024 and 100) meet.
"""

from __future__ import annotations

import math
import resource

from ...errors import InvalidInput
from ...spec import LimitValue, amount, whole

PERIOD = 100_000  # µs, the kernel's default CPU period
SMALLEST_QUOTA = 1_000  # µs, below it the kernel answers EINVAL
DEFAULT_WEIGHT, DEFAULT_SHARES = 100, 1024
MIN_SHARES, MAX_SHARES = 2, 262_144
CLOSE_CORES = 5e-4  # the least that can be requested is in thousandths
PAGE = resource.getpagesize()
_WEIGHTS = ("cpu_weight", "io_weight")
_IN_PAGES = ("memory", "memory_high", "memory_low", "swap")
V1_UNLIMITED = 1 << 62  # v1 writes "no limit" as the largest page count, 2^63 minus a page


def quota(cores: float, period: int = PERIOD) -> tuple[int, int]:
    """Cores → (quota, period) in µs. Keeps a period set by someone else unless its quota would be too small."""
    microseconds = round(cores * period)
    if microseconds >= SMALLEST_QUOTA:
        return microseconds, period
    return max(SMALLEST_QUOTA, round(cores * PERIOD)), PERIOD


def cores(quota_us: int, period_us: int) -> float | None:
    """(quota, period) in µs → cores; None for "no limit" (v1 says -1)."""
    return round(quota_us / period_us, 6) if quota_us >= 0 and period_us > 0 else None


def weight(shares: int) -> int:
    """cpu.shares (2 to 262144) → cpu.weight (1 to 10000)."""
    if shares <= MIN_SHARES:
        return 1
    if shares >= MAX_SHARES:
        return 10_000
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34) * (1 - 1e-12))


def weight_by_older_runtimes(shares_: int) -> int:
    """What runc before 1.3.2 and crun before 1.23 make of it: a straight line, by which the defaults don't meet."""
    return 1 + (max(MIN_SHARES, min(MAX_SHARES, shares_)) - MIN_SHARES) * 9999 // 262_142


def shares(weight_: int) -> int:
    """cpu.weight → the cpu.shares that read back as the same weight (the formula above, solved for the shares)."""
    log = (math.sqrt(125 * 125 + 4 * 612 * (math.log10(weight_) + 7 / 34)) - 125) / 2
    return min(MAX_SHARES, max(MIN_SHARES, math.floor(2**log * (1 + 1e-9))))


def bfq_weight(weight_: int) -> int:
    """1 to 10000 → bfq's 1 to 1000. Two straight lines, so that both defaults (100) meet; what systemd does too."""
    return weight_ if weight_ <= 100 else 100 + round((weight_ - 100) * 900 / 9900)


def weight_of_bfq(bfq: int) -> int:
    """The other way; the nearest that there is for the weights that share one."""
    return bfq if bfq <= 100 else 100 + (bfq - 100) * 11


def cpu_list(text: str) -> frozenset[int]:
    """ "0-1,3" → {0, 1, 3}; "" → the empty set. A range that runs backwards is InvalidInput."""
    mask = 0  # bits, not a growing set: thousands of overlapping ranges must cost next to nothing
    for part in text.strip().split(","):
        if not part:
            continue
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if high < low:
            raise InvalidInput(f"{part} is not a range of CPUs.", hint=f"Write it the other way round: {high}-{low}.")
        mask |= ((1 << (high - low + 1)) - 1) << low
    return frozenset(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)


def cpu_text(cpus: frozenset[int]) -> str:
    """{0, 1, 3} → "0-1,3", as the kernel writes it."""
    parts: list[str] = []
    ordered = sorted(cpus)
    start = 0
    for index, cpu in enumerate(ordered):
        if index + 1 == len(ordered) or ordered[index + 1] != cpu + 1:
            parts.append(f"{ordered[start]}-{cpu}" if ordered[start] != cpu else str(cpu))
            start = index + 1
    return ",".join(parts)


def same(limit: str, requested: LimitValue | None, kernel: LimitValue | None) -> bool:
    """Does the kernel have what was requested, as far as it can? It rounds sizes down to pages, and CPU to µs."""
    if isinstance(requested, dict) or isinstance(kernel, dict):
        one, other = (value if isinstance(value, dict) else {} for value in (requested, kernel))
        return one.keys() == other.keys() and all(_same_part(limit, part, one[part], other[part]) for part in one)
    if limit in _WEIGHTS:
        asked, has = (DEFAULT_WEIGHT if value is None else whole(value) for value in (requested, kernel))
        return asked == has or (limit == "io_weight" and bfq_weight(asked) == bfq_weight(has))
    if requested is None or kernel is None:
        return (requested or None) == (kernel or None) if limit == "memory_low" else requested == kernel
    if limit == "cpuset":
        return cpu_list(str(requested)) == cpu_list(str(kernel))
    if limit == "cpu":
        return abs(amount(requested) - amount(kernel)) <= CLOSE_CORES
    if limit in _IN_PAGES:
        apart = abs(whole(requested) // PAGE - whole(kernel) // PAGE)
        return apart <= (limit == "swap")  # on v1 memory, and memory with swap, are each rounded down: that may be a page
    return requested == kernel


def _same_part(limit: str, part: str, requested: int | None, kernel: int | None) -> bool:
    if limit == "hugetlb" and requested is not None and kernel is not None:
        size = int(part[:-1]) << {"K": 10, "M": 20, "G": 30}[part[-1]]
        return requested // size == kernel // size
    return requested == kernel


def megabytes(size: float, *, up: bool = False) -> str:
    """Bytes as people read them: "64 MB", "1.5 GB" (binary units). ``up`` rounds up, for a use that a limit must exceed."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if size >= unit:
            tenths = size * 10 / unit
            return f"{(math.ceil(tenths) if up else round(tenths)) / 10:g} {name}"
    return f"{int(size)} bytes"
