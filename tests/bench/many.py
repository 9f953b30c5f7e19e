"""deploy/bench many [NUMBER]: so many (1,000) full sandboxes at once on this machine, and what each costs beyond its own process.

Memory is what MemAvailable (proc_meminfo(5)) lost for each, less what it lost for a plain process of the same program, which has
page tables and a kernel stack too: the kernel's namespaces, mounts, links and control groups, and what keeper and engine keep of
each. The floor, counted alike, is a process of the same program in new namespaces of all types with a proc, a tmpfs and a veth
pair, and nothing else: no limits, no overlay, no masks, nobody who looks after it.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import operator
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pyroute2 import IPRoute

from containers_app.engines.policy import Policy, UidRange
from containers_app.engines.raw import RawEngine
from containers_app.kernel import cgroups
from containers_app.kernel import syscalls as sc
from containers_app.kernel.networks import links
from tests.bench.panel import forker, pss
from tests.bench.table import Row, median, show
from tests.engines.conftest import UID_BASE, Home, new_home, spec, wait_until

NUMBER, AT_ONCE, LISTINGS = 1000, 4, 21
FLOOR = 400  # processes


def roomy_engine(home: Home, number: int) -> RawEngine:
    policy = Policy(uids=UidRange(UID_BASE, 65536 * number))
    return RawEngine(
        node="bench", tag=home.tag, data=str(home.data), run=str(home.run), policy=policy,
        cgroups=cgroups.choose(), resolve=lambda name: 0,
    )  # fmt: skip


def available() -> float:
    """MiB that could be had without swapping."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


async def at_once(works: Iterable[Callable[[], Awaitable[object]]]) -> float:
    """Do them all, so many at a time; how many a second that was."""
    turn, number = asyncio.Semaphore(AT_ONCE), itertools.count(1)

    async def work(one: Callable[[], Awaitable[object]]) -> None:
        async with turn:
            await one()
            next(number)

    begun = time.perf_counter()
    await asyncio.gather(*map(work, works))
    return (next(number) - 1) / (time.perf_counter() - begun)


def bare(busybox: str) -> int:
    """The pid of a program in new namespaces of all types, with a proc and a tmpfs of its own."""
    go, told = os.pipe()
    ran, running = os.pipe()
    pid, pidfd = sc.clone3(functools.reduce(operator.or_, sc.CLONE_FLAGS.values()))
    if pid == 0:
        try:
            os.close(told)
            os.read(go, 1)
            sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
            for kind, place in (("proc", "/proc"), ("tmpfs", "/mnt")):
                sc.mount(kind, place, kind)
            os.execv(busybox, ["sleep", "100000"])
        finally:
            os._exit(1)
    os.close(pidfd)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text("0 0 65536")
    for fd in (go, running, told):
        os.close(fd)
    assert os.read(ran, 1) == b""  # both ends of it close as the program begins
    os.close(ran)
    return pid


def lost_for_each(begin: Callable[[int], int]) -> float:
    """MiB, of ``begin(number)``, which returns the pid of a new process."""
    before, pids = available(), []
    try:
        for number in range(FLOOR):
            pids.append(begin(number))
        return (before - available()) / FLOOR
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def measure(home: Home, number: int) -> list[Row]:
    engine = roomy_engine(home, number)
    assert home.keeper is not None
    with asyncio.Runner() as runner:
        runner.run(engine.open(home.changes.append))
        try:
            busybox = str(home.data / "images/busybox/rootfs/bin/busybox")
            plain = lost_for_each(lambda _: os.posix_spawn(busybox, ["sleep", "100000"], os.environ))
            with IPRoute() as route:

                def linked(number: int) -> int:
                    pid = bare(busybox)
                    route.link("add", ifname=f"floor{number}", kind="veth", peer={"ifname": "eth0", "net_ns_pid": pid})
                    return pid

                least = lost_for_each(linked) - plain
            names = iter([f"many-{index}" for index in range(number)])
            runner.run(engine.create(spec(next(names)), ""))  # what the first one brings along stays out of the figures
            before = available()
            started = runner.run(at_once([lambda name=name: engine.create(spec(name), "") for name in names]))  # type: ignore[misc]
            lost = before - available()
            pids = [container.pid for container in engine.all()]
            assert len(pids) == number and all(os.path.exists(f"/proc/{pid}") for pid in pids)
            took = []
            for _ in range(LISTINGS):
                begun = time.perf_counter()
                assert len(engine.all()) == number
                took.append((time.perf_counter() - begun) * 1000)
            keeper = sum(map(pss, (home.keeper.pid, forker(home.keeper.pid))))
        finally:
            everyone = [container.id for container in engine.all()]
            removed = runner.run(at_once([lambda one=one: engine.remove(one, True) for one in everyone]))  # type: ignore[misc]
            runner.run(engine.close())
    each = lost / (number - 1) - plain
    wait_until(lambda: len(links(home.tag)) == 1)  # the kernel takes a moment over so many network namespaces
    return [
        Row("sandboxes running at once", number, ""),
        Row(f"starts, {AT_ONCE} at a time", started, "1/s", "goal 200"),
        Row(f"removals by force, {AT_ONCE} at a time", removed, "1/s"),
        Row("the engine's list of them", median(took), "ms"),
        Row("the keeper's memory, its forker's with it (PSS)", keeper, "MiB", "goal 20"),
        Row("a plain process of the same program", plain, "MiB"),
        Row("memory for each beyond its own process", each, "MiB", "goal 0.5"),
        Row("memory for each beyond its own process", each, "MiB", "the bare namespaces and link", each / least),
    ]


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else NUMBER
    with new_home() as home:
        show("Many sandboxes at once, at the engine", measure(home, number))


if __name__ == "__main__":
    main()
