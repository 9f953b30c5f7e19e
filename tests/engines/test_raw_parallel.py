"""Many at once: launched, entered and removed side by side, each with its own everything, and nothing left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from containers_app.engines.raw import RawEngine
from containers_app.engines.raw_spares import COUNT as SPARES
from containers_app.kernel import cgroups

from .conftest import Home, spec, until

COUNT = 20


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_twenty_are_launched_entered_and_removed_at_once_and_nothing_leaks(raw: RawEngine, home: Home) -> None:
    assert home.keeper is not None
    before = open_files(home.keeper.pid), open_files(os.getpid())
    boxes = await asyncio.gather(*(raw.create(spec(f"box-{number}"), "") for number in range(COUNT)))
    assert {box.state for box in boxes} == {"running"}
    for distinct in ("id", "pid", "addresses", "user_map"):
        assert len({getattr(box, distinct) for box in boxes}) == COUNT, distinct

    script = "hostname; ip -4 addr show dev eth0; cat /proc/1/cgroup; readlink /proc/self/ns/pid"
    told = await asyncio.gather(*(raw.execute(box.id, ("sh", "-c", script), 30) for box in boxes))
    for box, result in zip(boxes, told, strict=True):
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith(f"{box.name}\n") and f"inet {box.addresses[0]} " in result.stdout
        assert f"pid:[{box.namespaces['pid'].inode}]" in result.stdout
        assert all(line.endswith(":/") or "terrarium" not in line for line in result.stdout.splitlines())
        groups = Path(f"/proc/{box.pid}/cgroup").read_text().splitlines()
        assert [line for line in groups if box.id not in line and "name=" not in line] == unlimited(groups)

    await asyncio.gather(*(raw.remove(box.id, force=True) for box in boxes))
    assert raw.all() == [] and os.listdir(home.data / "sandboxes") == []
    assert not [box.pid for box in boxes if os.path.exists(f"/proc/{box.pid}")]
    for path in set(cgroups.choose().paths(f"terrarium-{home.tag}").values()):
        assert not [name for name in os.listdir(path) if os.path.isdir(f"{path}/{name}") and name not in home.spares()]
    await until(lambda: len(home.spares()) == SPARES)  # each is two descriptors to the keeper and one to the worker
    with_spares = before[0] + 2 * SPARES, before[1] + SPARES
    await until(lambda: (open_files(home.keeper.pid), open_files(os.getpid())) == with_spares)  # type: ignore[union-attr]
    await until(lambda: len([name for name in os.listdir("/sys/class/net") if name.startswith(f"tr{home.tag}-")]) == SPARES)


def unlimited(groups: list[str]) -> list[str]:
    """Lines of /proc/PID/cgroup whose hierarchy has no controller that we have a use for, so that no group was made there."""
    ours = set(cgroups.choose().paths("any"))
    return [line for line in groups if "name=" not in line and not ours & set(line.split(":")[1].split(","))]


async def test_programs_that_end_at_once_are_each_told_with_their_own_exit_code(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    codes = range(COUNT)
    told = await asyncio.gather(*(raw.execute(box.id, ("sh", "-c", f"echo {code}; exit {code}"), 30) for code in codes))
    assert [(result.exit_code, result.stdout) for result in told] == [(code, f"{code}\n") for code in codes]
