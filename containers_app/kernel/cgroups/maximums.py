"""The host's own size: memory, CPUs, processes, as the end of each slider."""

from __future__ import annotations

from . import files, values


def read_maximums(proc: str) -> dict[str, float]:
    """Limit → its largest value here. Swap is missing where the host has none."""
    memory: dict[str, int] = {}
    for line in (files.read_or_none(proc + "/meminfo") or b"").decode().splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "SwapTotal"):
            memory[name] = int(rest.split()[0]) * 1024
    online = values.cpu_list((files.read_or_none("/sys/devices/system/cpu/online") or b"0").decode())
    most = [
        int(data) for name in ("pid_max", "threads-max") if (data := files.read_or_none(f"{proc}/sys/kernel/{name}")) is not None
    ]
    found: dict[str, float] = {"cpu": len(online), "cpu_weight": 10_000, "cpuset": max(online)}
    if total := memory.get("MemTotal"):
        found |= {"memory": total, "memory_high": total, "memory_low": total}
    if swap := memory.get("SwapTotal"):
        found["swap"] = swap
    if most:
        found["pids"] = min(most)
    return found
