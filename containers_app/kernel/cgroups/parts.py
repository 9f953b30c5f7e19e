"""Limits that are a number for each disk or each size of huge page, and the disk weight: v1 and v2 side by side.

A value is an object, disk name or page size ("2M") → number. In a change, None for a part clears that part. Sources: kernel
Documentation/admin-guide/cgroup-v2.rst (io.max, io.weight, hugetlb), cgroup-v1/{blkio-controller,hugetlb}.rst.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from functools import cache

from ...errors import InvalidInput, KernelRefused, TerrariumError
from ...spec import DATA_DISK, LIMITS, LimitValue, whole
from .. import block
from . import files, values
from .files import Write

IO = {
    "io_read_bytes": ("rbps", "blkio.throttle.read_bps_device"),
    "io_write_bytes": ("wbps", "blkio.throttle.write_bps_device"),
    "io_read_ops": ("riops", "blkio.throttle.read_iops_device"),
    "io_write_ops": ("wiops", "blkio.throttle.write_iops_device"),
}  # limit → its word in v2's io.max, its file in v1
PARTED = (*IO, "hugetlb")
_HUGE = "/sys/kernel/mm/hugepages"
_PAGE = re.compile(r"([1-9][0-9]{0,5})([KMG])B?", re.ASCII)
_KILOBYTES = {"K": 1, "M": 1 << 10, "G": 1 << 20}


@cache
def page_sizes() -> Mapping[str, int]:
    """ "2M" → bytes of each size of huge page that this host has, smallest first. They are the same until the next boot."""
    try:
        found = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in os.listdir(_HUGE))
    except OSError:
        return {}
    return {_page_name(kilobytes): kilobytes << 10 for kilobytes in found}


def _page_name(kilobytes: int) -> str:
    for unit in ("G", "M"):
        if kilobytes >= _KILOBYTES[unit]:
            return f"{kilobytes // _KILOBYTES[unit]}{unit}"
    return f"{kilobytes}K"


def list_parts(limit: str) -> tuple[str, ...]:
    """What the limit can be set for on this host."""
    return tuple(page_sizes()) if limit == "hugetlb" else tuple(block.list_disks()) if limit in IO else ()


def resolve(limit: str, change: LimitValue | None, data: str) -> LimitValue | None:
    """With the parts' own names, DATA_DISK being the disk below ``data``. InvalidInput when one is not here, or named twice."""
    if limit not in PARTED or not isinstance(change, dict):
        return change
    found: dict[str, int | None] = {}
    for written, amount in change.items():
        part = block.disk_below(data) if written == DATA_DISK and limit in IO else find_part(limit, written)
        if part in found:
            raise InvalidInput(f"{LIMITS[limit].label}: {part} is named twice.", code="invalid_device", hint="Name it once.")
        found[part] = amount
    return found


def find_part(limit: str, written: str) -> str:
    """The part's own name. InvalidInput when this host has no such disk or page size."""
    if limit in IO:
        return block.find_disk(written)
    match = _PAGE.fullmatch(written)
    name = match[1] + match[2] if match else ""
    if name not in page_sizes():
        hint = "Sizes here are " + (", ".join(page_sizes()) or "none") + "."
        raise InvalidInput(f"“{written}” is no size of huge pages here.", code="invalid_device", hint=hint)
    return name


def plan(version: int, limit: str, change: LimitValue | None, directory: str, fresh: bool) -> list[Write]:
    """Lowering and raising are the same to the kernel here, so the order is free."""
    if not fresh and not os.path.isdir(directory):
        raise FileNotFoundError(errno.ENOENT, "no such group", directory)
    before = {} if fresh else kernel_value(version, limit, directory)
    parts = dict.fromkeys(before) if change is None else change
    assert isinstance(parts, Mapping)
    return [
        Write(limit, _file(version, limit, part, directory), _text(version, limit, part, amount),
              "" if fresh else _text(version, limit, part, before.get(part)))
        for part, amount in parts.items()
    ]  # fmt: skip


def _file(version: int, limit: str, part: str, directory: str) -> str:
    if limit == "hugetlb":
        return f"{directory}/hugetlb.{part}B.{'limit_in_bytes' if version == 1 else 'max'}"
    return f"{directory}/{IO[limit][1] if version == 1 else 'io.max'}"


def _text(version: int, limit: str, part: str, amount: int | None) -> str:
    if limit == "hugetlb":
        return str(amount) if amount is not None else "-1" if version == 1 else "max"
    try:
        number = block.number_of(part)
    except OSError:
        raise KernelRefused(f"The disk {part} is gone.", hint="Leave it out.") from None
    if version == 1:
        return f"{number} {amount or 0}"
    return f"{number} {IO[limit][0]}={'max' if amount is None else amount}"


def file_names(version: int, limit: str) -> list[str]:
    """Where it may stand; [] for limits of other kinds."""
    if limit == "hugetlb":
        return [os.path.basename(_file(version, limit, part, "")) for part in page_sizes()]
    if limit == "io_weight":
        return ["blkio.bfq.weight"] if version == 1 else ["io.bfq.weight", "io.weight"]
    return [os.path.basename(_file(version, limit, "", ""))] if limit in IO else []


def kernel_value(version: int, limit: str, directory: str) -> dict[str, int | None]:
    """{} is "no limit", or not known here."""
    if limit == "hugetlb":
        sizes = {part: files.size(_file(version, limit, part, directory)) for part in page_sizes()}
        return {part: size for part, size in sizes.items() if size is not None}
    data = files.read_or_none(_file(version, limit, "", directory)) or b""
    return io_limits(version, limit, data.decode())


def io_limits(version: int, limit: str, text: str) -> dict[str, int | None]:
    """A throttle file of v1 ("254:0 1000") or io.max of v2 ("254:0 rbps=1000 wbps=max …") → by disk."""
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(" ")
        amount = rest if version == 1 else dict(word.partition("=")[::2] for word in rest.split()).get(IO[limit][0], "max")
        if amount.strip().isdigit():
            found[block.name_of(number)] = int(amount)
    return found


def effective_value(version: int, limit: str, own: LimitValue | None, above: list[str]) -> dict[str, int | None]:
    """Part by part, the tightest of the group (``own`` is its kernel's value) and those above it."""
    tightest: dict[str, int | None] = dict(own) if isinstance(own, dict) else {}
    for directory in above:
        for part, amount in kernel_value(version, limit, directory).items():
            known = tightest.get(part)
            tightest[part] = amount if known is None or amount is None else min(amount, known)
    return tightest


def explain(write: Write, error: OSError) -> TerrariumError:
    """The kernel's errno as the user's cause."""
    if error.errno == errno.ENOENT and not os.path.isdir(os.path.dirname(write.path)):
        return files.gone()
    if error.errno in (errno.EROFS, errno.EPERM, errno.EACCES):
        return files.no_access(write.path, error)
    if error.errno == errno.EBUSY and write.limit == "hugetlb":
        directory, _, name = write.path.rpartition("/")
        stem = name.removesuffix(".max").removesuffix(".limit_in_bytes")
        used = files.size(f"{directory}/{stem}.current") or files.size(f"{directory}/{stem}.usage_in_bytes") or 0
        return files.in_use(int(write.value), used, "of huge pages in use")
    label = LIMITS[write.limit].label
    return KernelRefused(f"The kernel did not take {label} = {write.value}: {error.strerror}.", hint="Try another disk or value.")


# ── the weight ────────────────────────────────────────────────────────────────────────────────────────────────────────


def weight_file(version: int, root: str) -> str:
    """The file of whichever scheduler of this host's disks goes by weights."""
    if version == 1:
        return "blkio.bfq.weight"
    return "io.bfq.weight" if _by_bfq() or not _by_cost(root) else "io.weight"


def _by_bfq() -> bool:
    return any(block.scheduler(disk) == "bfq" for disk in block.list_disks())


def _by_cost(root: str) -> bool:
    return b"enable=1" in (files.read_or_none(root + "/io.cost.qos") or b"")


def weight_locked(version: int, root: str) -> str:
    if _by_bfq() or (version == 2 and _by_cost(root)):
        return ""
    disks = ", ".join(f"{disk} ({block.scheduler(disk)})" for disk in block.list_disks()) or "none"
    return f"Only the disk scheduler bfq goes by weights, and no disk here has it: {disks}."


def weight_text(file: str, value: LimitValue | None) -> str:
    weight = values.DEFAULT_WEIGHT if value is None else whole(value)
    return str(weight if file == "io.weight" else values.bfq_weight(weight))


def weight_value(file: str, data: bytes) -> int:
    """ "default 100", or on v1 "100", → 1 to 10000."""
    found = int(data.split(b"\n")[0].removeprefix(b"default "))
    return found if file == "io.weight" else values.weight_of_bfq(found)
