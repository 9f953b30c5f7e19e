"""What is known of a running container as rows of a table: its numbers, processes, mounts and confinement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from containers_app.worker.protocol import Stats

Table = tuple[tuple[str, ...], list[list[str]]]  # head, rows
_NONE = "-"
_UNITS = {
    "cpu": "cores", "cpu_limit": "cores", "memory": "bytes", "memory_limit": "bytes", "throttled": "of its CPU periods",
    "io_read": "bytes/s", "io_write": "bytes/s", "net_in": "bytes/s", "net_out": "bytes/s",
}  # fmt: skip


def stats(found: Stats) -> Table:
    numbers = msgspec.structs.asdict(found).items()
    return ("NUMBER", "VALUE", "UNIT"), [[name, _word(value), _UNITS.get(name, "")] for name, value in numbers]


def processes(found: list[dict[str, Any]]) -> Table:
    head = ("PID", "INSIDE", "PARENT", "UID", "STATE", "CPU S", "MEMORY", "THREADS", "COMMAND")
    fields = ("pid", "ns_pid", "ppid", "uid", "state", "cpu_seconds", "rss", "threads")
    return head, [[*(_word(one[field]) for field in fields), " ".join(one["argv"]) or f"[{one['name']}]"] for one in found]


def mounts(found: list[dict[str, Any]]) -> Table:
    head = ("TARGET", "TYPE", "SOURCE", "PROPAGATION", "OPTIONS")
    fields = ("target", "type", "source", "propagation", "options")
    return head, [[_word(one[field]) for field in fields] for one in found]


def security(found: dict[str, Any]) -> Table:
    """One row for each fact; those below another have a dot."""
    return ("FACT", "VALUE"), [[name, _word(value)] for name, value in _flat(found)]


def _flat(facts: dict[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _word(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_word, value)) or _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return _NONE
    return f"{value:.3g}" if isinstance(value, float) else str(value)
