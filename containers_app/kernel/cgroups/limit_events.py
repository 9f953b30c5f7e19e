"""What limits did to a group: how often it was held back, refused or killed, since it was made.

None is "this kernel does not count it". Sources: kernel Documentation/admin-guide/cgroup-v2.rst, scheduler/sched-bwc.rst,
cgroup-v1/{memory,pids}.rst, accounting/psi.rst. Pressure is in the v2 hierarchy, which a hybrid host has too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import files

_PRESSURE = re.compile(rb"some avg10=([0-9.]+) .*total=([0-9]+)")


def read(versions: Mapping[str, int], paths: Mapping[str, str]) -> dict[str, float | None]:
    """``versions``: controller → that of the hierarchy it is mounted in. Times in seconds, pressure in per cent."""
    found: dict[str, float | None] = {}
    if "cpu" in paths:
        found |= _cpu(versions["cpu"], paths["cpu"])
    if "memory" in paths:
        found |= _memory(versions["memory"], paths["memory"])
    if "pids" in paths:
        found["pids_max"] = _number(paths["pids"] + "/pids.events", b"max ")
    if "" in paths:
        for resource in ("cpu", "memory", "io"):
            match = _PRESSURE.search(files.read_or_none(f"{paths['']}/{resource}.pressure") or b"")
            found[f"{resource}_pressure"] = float(match[1]) if match else None
            found[f"{resource}_waited"] = int(match[2]) / 1e6 if match else None
    return found


def _cpu(version: int, directory: str) -> dict[str, float | None]:
    path = directory + "/cpu.stat"
    key, unit = (b"throttled_time ", 1e-9) if version == 1 else (b"throttled_usec ", 1e-6)
    held = _number(path, key)
    return {
        "periods": _number(path, b"nr_periods "),
        "throttled_periods": _number(path, b"nr_throttled "),
        "throttled": None if held is None else held * unit,
    }


def _memory(version: int, directory: str) -> dict[str, float | None]:
    if version == 1:
        return {
            "memory_max": _number(directory + "/memory.failcnt", b""),
            "oom_kill": _number(directory + "/memory.oom_control", b"oom_kill "),
        }
    path = directory + "/memory.events"
    words = {"memory_low": "low", "memory_high": "high", "memory_max": "max", "oom": "oom", "oom_kill": "oom_kill"}
    return {name: _number(path, f"{word} ".encode()) for name, word in words.items()}


def _number(path: str, key: bytes) -> int | None:
    data = files.read_or_none(path)
    return files.number(data, key) if data else None
