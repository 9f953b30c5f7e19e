"""The host's whole disks, by name and by number. Partitions are throttled as their disk, so they are none.

Source: kernel Documentation/ABI/stable/sysfs-block, Documentation/admin-guide/cgroup-v1/blkio-controller.rst.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re

from ..errors import InvalidInput

_SYS = "/sys"
_NUMBER = re.compile(r"[0-9]{1,7}:[0-9]{1,7}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.!-]{0,63}", re.ASCII)
_IN_MEMORY = ("ram", "zram")  # no disks: what they hold is memory, and counted there


def list_disks() -> list[str]:
    """Names of those that hold something, sorted."""
    return sorted(name for name in os.listdir(f"{_SYS}/block") if _is_disk(name))


def _is_disk(name: str) -> bool:
    if name.rstrip("0123456789") in _IN_MEMORY:
        return False
    try:
        with open(f"{_SYS}/block/{name}/size") as file:
            return int(file.read()) > 0
    except (OSError, ValueError):
        return False


def devices_on(number: str) -> frozenset[str]:
    """Numbers of the devices that lie on this one or its partitions (device mapper, md), as "253:0"."""
    found = set()
    for holders in glob.glob(f"{_SYS}/dev/block/{number}/holders/*") + glob.glob(f"{_SYS}/dev/block/{number}/*/holders/*"):
        with contextlib.suppress(OSError), open(f"{_SYS}/block/{os.path.basename(holders)}/dev") as file:
            found.add(file.read().strip())
    return frozenset(found)


def find_disk(written: str) -> str:
    """ "vda", "/dev/vda" or "254:0" → "vda". InvalidInput when this host has no such disk, or it is only a part of one."""
    wanted = written.removeprefix("/dev/")
    name = name_of(wanted) if _NUMBER.fullmatch(wanted) else wanted
    if _NAME.fullmatch(name) and _is_disk(name):
        return name
    hint = "Disks here are " + (", ".join(list_disks()) or "none") + "."
    is_part = os.path.exists(f"{_SYS}/class/block/{name}/partition")
    what = "is a part of a disk; name the whole one" if is_part else "is no disk here"
    raise InvalidInput(f"“{written}” {what}.", code="invalid_device", hint=hint)


def number_of(name: str) -> str:
    """ "vda" → "254:0". OSError when it has gone."""
    with open(f"{_SYS}/block/{name}/dev") as file:
        return file.read().strip()


def name_of(number: str) -> str:
    """ "254:0" → "vda"; the number itself when there is no such device (any more)."""
    try:
        return os.path.basename(os.readlink(f"{_SYS}/dev/block/{number}"))
    except OSError:
        return number


def disk_below(path: str) -> str:
    """The disk that a file system lies on, from /proc/self/mountinfo where the file's own device is no disk (btrfs, overlay)."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    source = f"{_SYS}/dev/block/{number}" if os.major(device) else _mounted_from(number)
    real = os.path.realpath(source)
    if os.path.exists(f"{real}/partition"):
        real = os.path.dirname(real)
    name = os.path.basename(real)
    if not _is_disk(name):
        raise InvalidInput("The panel's data lies on no disk of its own.", code="invalid_device", hint="Name the disk.")
    return name


def _mounted_from(number: str) -> str:
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            source = after.split(" ")[1]
            if before.split(" ")[2] == number and source.startswith("/dev/"):
                return f"{_SYS}/class/block/{os.path.basename(os.path.realpath(source))}"
    return ""


def scheduler(name: str) -> str:
    """The active one, "none" where there is none."""
    try:
        with open(f"{_SYS}/block/{name}/queue/scheduler") as file:
            found = re.search(r"\[([a-z-]+)\]", file.read())
    except OSError:
        return "none"
    return found[1] if found else "none"
