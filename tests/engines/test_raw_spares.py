"""Spares: made ahead in idle time, taken by the next sandbox of their kind, listed nowhere, and gone with the worker."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.base import Container, LogQuery
from containers_app.engines.raw import RawEngine
from containers_app.engines.raw_removal import group_names
from containers_app.engines.raw_spares import COUNT
from containers_app.kernel import cgroups, netlink

from .conftest import Home, spec, until

READ = "0" if os.uname().machine == "x86_64" else "63"  # read(2); what its set-up waits for comes by recvmsg(2)


async def filled(home: Home) -> set[str]:
    """All there, and each waits for its rest."""
    await until(lambda: len(home.spares()) == COUNT and all(waits(home, spare) for spare in home.spares()))
    return home.spares()


def waits(home: Home, spare: str) -> bool:
    found = pids(home, spare)
    return bool(found) and Path(f"/proc/{found[0]}/syscall").read_text().split()[0] == READ


def links(home: Home) -> set[str]:
    return {name for name in os.listdir("/sys/class/net") if name.startswith(f"tr{home.tag}-")}


def pids(home: Home, spare: str) -> list[int]:
    groups = cgroups.choose()
    return groups.pids(groups.paths(f"terrarium-{home.tag}/{spare}"))


async def create(raw: RawEngine, name: str = "box", **fields: object) -> Container:
    return await raw.create(spec(name, **fields), "alice")


async def test_a_taken_spare_is_a_sandbox_of_its_own(raw: RawEngine, home: Home) -> None:
    await create(raw)
    spares = await filled(home)
    limits = {"memory": "48M", "pids": 30, "cpu": 0.25}
    box = await create(raw, "web_1", limits=limits, env={"A": "b"}, cwd="/tmp", user="7:8", command=["sleep", "9999"])
    assert box.id in spares and box.id not in home.spares()
    assert (box.name, box.owner, box.state, box.command) == ("web_1", "alice", "running", ("sleep", "9999"))
    told = raw.read_limits(box.id)
    assert [told[name].kernel for name in ("memory", "pids", "cpu")] == [48 << 20, 30, 0.25]
    script = "hostname; pwd; id -u; id -g; cat /etc/hostname; tail -1 /etc/hosts; ip -4 addr show dev eth0; stat -c %u /etc/hosts"
    lines = (await raw.execute(box.id, ("sh", "-c", script), 10)).stdout.splitlines()
    assert lines[:5] == ["web-1", "/tmp", "7", "8", "web-1"]
    assert (
        any(address.startswith(lines[5].split()[0]) for address in box.addresses)
        and lines[5].split()[1] == "web-1"
        and f"inet {box.addresses[0]} " in "".join(lines)
    )
    assert lines[-1] == "0"
    environment = Path(f"/proc/{box.pid}/environ").read_text().split("\0")
    assert "A=b" in environment and "HOSTNAME=web-1" in environment
    assert os.listdir(f"/proc/{box.pid}/fd") == ["0", "1", "2"]
    assert {line.split(":\t")[1] for line in status(box.pid) if line.startswith(("NoNewPrivs", "Seccomp:"))} == {"1", "2"}


def status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


async def test_a_taken_spare_lives_as_any_other(raw: RawEngine, home: Home) -> None:
    await create(raw)
    spares = await filled(home)
    box = await create(raw, "second", command=["sh", "-c", "echo told; sleep 0.2; exit 9"])
    assert box.id in spares
    await until(lambda: raw.get(box.id).state == "exited")
    assert (raw.get(box.id).exit_code, (await raw.logs(box.id, LogQuery())).text) == (9, "told\n")
    await raw.start(box.id)
    assert raw.get(box.id).state == "running"
    await raw.remove(box.id, force=True)


async def test_it_shows_the_same_mounts_as_one_that_was_launched_in_one_go(raw: RawEngine, home: Home) -> None:
    plain = await create(raw)
    await filled(home)
    taken = await create(raw, "second")

    async def inside(box: Container) -> list[tuple[str, ...]]:
        lines = (await raw.execute(box.id, ("cat", "/proc/self/mountinfo"), 10)).stdout.splitlines()
        return sorted((*line.split()[4:6], *line.partition(" - ")[2].split()[:1]) for line in lines)

    assert await inside(taken) == await inside(plain)
    assert {line for line in status(taken.pid) if line.startswith("Cap")} == {
        line for line in status(plain.pid) if line.startswith("Cap")
    }


async def test_spares_are_listed_nowhere_and_what_they_hold_is_used(raw: RawEngine, home: Home) -> None:
    first = await create(raw)
    await filled(home)
    assert [box.id for box in raw.all()] == [first.id]
    assert (await raw.images())[0]["in_use_by"] == ["box"]
    other = await create(raw, "other", mounts=[{"type": "tmpfs", "target": "/scratch"}])
    assert other.id not in home.spares()
    spares = await filled(home)
    ranges = [Path(f"/proc/{pids(home, spare)[0]}/uid_map").read_text().split()[1] for spare in spares]
    assert len({*ranges, first.user_map.split()[1], other.user_map.split()[1]}) == COUNT + 2


async def test_a_spare_that_has_died_is_thrown_away(raw: RawEngine, home: Home) -> None:
    await create(raw)
    spares = await filled(home)
    for spare in spares:
        os.kill(pids(home, spare)[0], signal.SIGKILL)
    await until(lambda: not spares & home.spares())
    box = await create(raw, "second")
    assert box.state == "running" and box.id not in spares


async def test_a_spare_whose_link_has_gone_is_thrown_away(raw: RawEngine, home: Home) -> None:
    await create(raw)
    spares = await filled(home)
    for spare in spares:
        netlink.send([netlink.delete_link(f"tr{home.tag}-{spare[:6]}")])
    box = await create(raw, "second")
    assert box.id not in spares
    assert "eth0" in (await raw.execute(box.id, ("ip", "link"), 10)).stdout


async def test_another_kind_of_sandbox_gets_none_and_lets_them_go(raw: RawEngine, home: Home) -> None:
    await create(raw)
    spares = await filled(home)
    box = await create(raw, "read-only", security={"read_only_root": True})
    assert box.id not in spares
    await until(lambda: not spares & home.spares() and not any(pids(home, spare) for spare in spares))
    following = await filled(home)
    second = await create(raw, "read-only-2", security={"read_only_root": True})
    assert second.id in following
    assert "Read-only" in (await raw.execute(second.id, ("touch", "/new"), 10)).stderr


async def test_a_program_that_is_not_there_is_refused_and_nothing_is_left(raw: RawEngine, home: Home) -> None:
    await create(raw)
    spares = await filled(home)
    with pytest.raises(errors.KernelRefused, match="nothing-such"):
        await create(raw, "wrong", command=["nothing-such"])
    assert len(raw.all()) == 1 and os.listdir(home.data / "sandboxes") == [raw.all()[0].id]
    gone = spares - home.spares()
    assert len(gone) == 1 and not any(pids(home, spare) for spare in gone)


async def test_a_burst_takes_what_there_is_and_makes_the_rest(raw: RawEngine, home: Home) -> None:
    await create(raw)
    spares = await filled(home)
    boxes = await asyncio.gather(*(create(raw, f"box-{number}") for number in range(COUNT + 3)))
    assert {box.id for box in boxes} & spares and {box.id for box in boxes} - spares
    assert len({box.addresses for box in boxes}) == len({box.user_map for box in boxes}) == COUNT + 3


async def test_closing_leaves_nothing_of_the_spares(home: Home) -> None:
    engine = home.engine()
    await engine.open(home.changes.append)
    box = await create(engine)
    await filled(home)
    await engine.close()
    assert home.spares() == set()
    assert group_names(cgroups.choose(), home.tag) == {f"terrarium-{home.tag}/{box.id}"}
    await until(lambda: len(links(home)) == 1)
    again = home.engine()
    await again.open(home.changes.append)
    await again.remove(box.id, force=True)
    await again.close()


async def test_they_do_not_outlive_the_keeper_and_come_again(raw: RawEngine, home: Home) -> None:
    await create(raw)
    spares = await filled(home)
    home.kill_keeper()
    home.start_keeper()
    await until(lambda: not spares & home.spares())
    await until(lambda: raw.status().available)
    box = await create(raw, "second")
    assert box.id not in spares
    following = await filled(home)
    assert not following & spares and not any(pids(home, spare) for spare in spares)


async def test_one_that_is_asked_of_a_keeper_that_has_just_gone_leaves_nothing_open(raw: RawEngine, home: Home) -> None:
    await create(raw)
    home.kill_keeper()
    assert raw._runner.keeper.connected  # nobody has noticed
    raw._spares._refill()  # an open socket that is left to itself is a warning, which fails the test
    assert not raw._runner.keeper.connected and raw._spares.records() == []
    await until(lambda: not home.spares())
    home.start_keeper()
    await until(lambda: raw.status().available)
