"""Hundreds of random operations while keeper, worker and their client are killed at random; then everything has to agree.

A failure prints its seed; TERRARIUM_SOAK_SEED=N pytest tests/soak begins with the same choices (the kernel's timing is its own).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from typing import Any

import pytest

from containers_app import errors
from containers_app.engines.base import Container, ExecResult
from containers_app.spec import LimitReading, NetworkSpec, parse_container
from containers_app.worker import protocol
from containers_app.worker.client import WorkerClient
from tests.engines.conftest import Home, home  # noqa: F401  a fixture

from .instance import Instance

SECONDS, LONGEST, ACTORS, MOST = 40.0, 240.0, 4, 12  # a busy machine takes longer to try as much
# What may be answered while others act and programs die. "internal" would be a defect, and so is anything else.
EXPECTED = (errors.Conflict, errors.NotFound, errors.WorkerUnavailable, errors.KernelRefused, errors.InvalidInput)
CAUSES = (
    "keeper",
    "end within",
    "killed while it was being set up",
    "No such process",
    "limit",
    "just ended",
    "Cannot allocate memory",
    "can't be opened",
)
KILLED = (
    ("keeper",), ("forker",), ("worker",), ("worker",), ("keeper", "worker"), ("forker", "worker"), ("web",),
    ("keeper", "worker", "web"),
)  # fmt: skip
OPERATIONS = {
    "create": 6, "start": 3, "stop": 2, "kill": 2, "pause": 2, "resume": 3, "restart": 2, "exec": 6, "terminal": 3, "limits": 3,
    "remove": 3, "read": 4, "network": 1, "group": 1, "clone": 1, "commit": 1,
}  # fmt: skip


class Web:
    """What the web half is to the worker: a client with terminals open. ``die`` is its SIGKILL: the kernel closes what it had."""

    def __init__(self, instance: Instance, choose: random.Random) -> None:
        self.instance, self.choose = instance, choose
        self.client = WorkerClient(instance.socket)
        self.terminals: list[int] = []
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.number = 0

    def die(self) -> None:
        self.client.close()
        self.client = WorkerClient(self.instance.socket)
        while self.terminals:
            os.close(self.terminals.pop())

    async def containers(self) -> list[Container]:
        found = await self.client.call(protocol.ListContainers(), list[Container])
        return [container for container in found if container.engine == "raw"]

    async def act(self) -> None:
        name = self.choose.choices(list(OPERATIONS), list(OPERATIONS.values()))[0]
        try:
            there = await self.containers()
            if name == "create" and len(there) < MOST:
                await self.create(there)
            elif name in ("network", "group"):
                await (self.on_networks() if name == "network" else self.on_groups())
            elif there:
                await self.on_one(name, self.choose.choice(there).id)
            self.done[name] += 1
        except EXPECTED as error:
            self.refused[type(error).__name__] += 1
            if isinstance(error, (errors.KernelRefused, errors.InvalidInput)):
                assert any(cause in error.message for cause in CAUSES), f"{name}: {error.message}"

    async def create(self, there: list[Container]) -> None:
        self.number += 1
        choose = self.choose
        namespaces = {"net": choose.choice(("bridge", "bridge", "private", "none")), "ipc": choose.choice(("private", "host"))}
        running = [container for container in there if container.state == "running"]
        if running and choose.random() < 0.25:
            namespaces[choose.choice(("net", "ipc", "uts", "pid"))] = f"container:{choose.choice(running).id}"
        command = choose.choice((["sleep", "1000"], ["sh", "-c", "trap 'exit 7' TERM; sleep 99 & wait"], ["sh", "-c", "exit 3"]))
        limits = {"memory": choose.choice(("32M", "64M")), "pids": choose.choice((20, 50)), "cpu": choose.choice((0.3, 1))}
        fields = {"name": f"soak-{self.number}", "command": command, "namespaces": namespaces, "limits": limits}
        if choose.random() < 0.15:
            fields["time_offsets"] = {"boottime": 1000}
        if namespaces["net"] == "bridge":
            fields["network"] = choose.choice(["default", *(item["name"] for item in await self.networks())])
            fields["ports"] = choose.choice(([], [{"container_port": 80}], [{"container_port": 53, "protocol": "udp"}]))
            limits.update(choose.choice(({}, {"net_in": 10**6}, {"net_out": 10**6})))
        if choose.random() < 0.3:
            fields["group"] = choose.choice(("", *(item["name"] for item in await self.groups())))
        policies = ["no", "no", {"policy": "on-failure", "retries": 2}] + ["always"] * ("sleep" in command)
        fields["restart"] = choose.choice(policies)
        spec = parse_container({**fields, "start": choose.random() < 0.9})
        await self.client.call(protocol.CreateContainer(spec, "soak"), Container)

    async def networks(self) -> list[dict[str, Any]]:
        found = await self.client.call(protocol.ListNetworks(), list[dict[str, Any]])
        return [item for item in found if item["engine"] == "raw"]

    async def groups(self) -> list[dict[str, Any]]:
        return await self.client.call(protocol.ListGroups(), list[dict[str, Any]])

    async def on_networks(self) -> None:
        named = [item["name"] for item in await self.networks() if item["name"] != "default"]
        if len(named) < 3:
            self.number += 1
            spec = NetworkSpec(f"net-{self.number}", isolated=self.choose.random() < 0.5)
            await self.client.call(protocol.CreateNetwork(spec, "soak"), object)
        else:
            await self.client.call(protocol.RemoveNetwork(self.choose.choice(named)), object)

    async def on_groups(self) -> None:
        named = [item["name"] for item in await self.groups()]
        if len(named) < 3:
            self.number += 1
            await self.client.call(protocol.CreateGroup(f"group-{self.number}", "soak", {"memory": 256 << 20}), object)
        else:
            await self.client.call(protocol.RemoveGroup(self.choose.choice(named)), object)

    async def on_one(self, name: str, target: str) -> None:
        simple = {
            "start": protocol.StartContainer(target), "stop": protocol.StopContainer(target, 0.5),
            "kill": protocol.KillContainer(target, self.choose.choice((9, 15, 1))), "pause": protocol.PauseContainer(target),
            "resume": protocol.ResumeContainer(target), "restart": protocol.RestartContainer(target, 0.5),
            "remove": protocol.RemoveContainer(target, force=True),
        }  # fmt: skip
        if name in simple:
            await self.client.call(simple[name], object)
        elif name == "exec":
            argv = self.choose.choice((("true",), ("sh", "-c", "echo $$; exit 4"), ("sh", "-c", "sleep 100 & sleep 0.2")))
            result = await self.client.call(protocol.ExecuteCommand(target, argv, 2), ExecResult)
            assert result.exit_code in (0, 4, 137), result
        elif name == "terminal":
            _, fd = await self.client.call_fd(protocol.OpenTerminal(target), protocol.TerminalOpened)
            self.terminals.append(fd)
            with contextlib.suppress(OSError):
                os.write(fd, b"sleep 1000 &\n" if self.choose.random() < 0.3 else b"exit\n")
            if len(self.terminals) > 6:
                os.close(self.terminals.pop(self.choose.randrange(6)))
        elif name == "limits":
            changes = {"memory": self.choose.choice(("48M", None)), "pids": self.choose.choice((30, None)), "cpu": 0.7}
            parsed = {key: 48 << 20 if value == "48M" else value for key, value in changes.items()}
            await self.client.call(protocol.UpdateLimits(target, parsed), dict[str, LimitReading])
        elif name in ("clone", "commit"):
            self.number += 1
            new = f"{name}-{self.number}"
            copy = protocol.CloneContainer if name == "clone" else protocol.CommitContainer
            await self.client.call(copy(target, new, "soak"), object)
        elif name == "read":
            await self.client.call(protocol.ReadProcesses(target), object)
            await self.client.call(protocol.ReadGraph(), object)


async def kill_at_random(instance: Instance, web: Web, choose: random.Random, killed: Counter[str]) -> None:
    while True:
        await asyncio.sleep(choose.uniform(0.3, 1.6))
        who = choose.choice(KILLED)
        instance.kill(*(name for name in who if name != "web"))
        if "web" in who:
            web.die()
        killed.update(who)


async def remove_all(web: Web) -> None:
    """What a client that died asked for is carried out: a copy may still be under way, and ends."""
    deadline = time.monotonic() + 60
    for container in await web.containers():
        while True:
            try:
                await web.client.call(protocol.RemoveContainer(container.id, force=True), object)
                break
            except errors.Conflict as error:
                assert error.code == "being_copied" and time.monotonic() < deadline, error.message
                await asyncio.sleep(0.1)


async def resume_all(web: Web) -> None:
    """The first process of a pid namespace ends only when all others in it have, and one that is paused can't."""
    for container in await web.containers():
        if container.state == "paused":
            with contextlib.suppress(*EXPECTED):
                await web.client.call(protocol.ResumeContainer(container.id), object)


def inodes_agree(one: Container) -> bool:
    """What the list says of its namespaces, and what the kernel does."""
    with contextlib.suppress(OSError):
        return all(os.stat(f"/proc/{one.pid}/ns/{kind}").st_ino == shown.inode for kind, shown in one.namespaces.items())
    return False


async def agree(instance: Instance, web: Web) -> None:
    """List, kernel and disk say the same; what is on its way out has a few seconds."""
    deadline = time.monotonic() + 60
    while True:
        found = await web.containers()
        running = {container.id: container for container in found if container.state in ("running", "paused")}
        bridged = [container for container in running.values() if container.namespaces["net"].mode == "bridge"]
        processes, links = instance.processes(), instance.links()
        groups = {f"group.{item['name']}" for item in await web.groups()}
        differences = {
            "disk": instance.on_disk() ^ {container.id for container in found},
            "groups": (instance.groups() - groups) ^ set(running),
            "processes without a sandbox": {pid: group for pid, group in processes.items() if group not in running},
            "sandboxes without a process": {one.id for one in running.values() if processes.get(one.pid) != one.id},
            "mounts": instance.mounts(),
            "links": abs(len(links["links"]) - len(bridged)),
            "bridges": links["bridges"] ^ {item["bridge"] for item in await web.networks()},
            "rates out": abs(len(links["ifbs"]) - sum(one.limits["net_out"].requested is not None for one in bridged)),
            "ports": instance.ports() ^ {port.host_port for one in bridged for port in one.ports},
            "namespaces": {one.name for one in running.values() if not inodes_agree(one)},
            "states": {one.name: one.state for one in found if one.state == "unknown"},
            "endings": {one.name for one in found if one.state == "exited" and not one.reason},
        }
        left = {name: what for name, what in differences.items() if what}
        if not left:
            return
        told = [(one.id, one.name, one.pid, one.state, one.reason, processes.get(one.pid)) for one in found]
        assert time.monotonic() < deadline, (left, told)
        await asyncio.sleep(0.1)


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("TERRARIUM_SOAK_SEED") or random.randrange(1 << 32))


async def test_after_hundreds_of_operations_and_dozens_of_kills_list_kernel_and_disk_agree(home: Home, seed: int) -> None:  # noqa: F811
    print(f"seed {seed}")
    choose = random.Random(seed)
    instance, killed = Instance(home), Counter[str]()
    web = Web(instance, choose)
    supervisor = asyncio.create_task(instance.supervise())
    try:
        await wait_for_worker(web)
        rules = instance.rules()
        assert rules
        start = time.monotonic()

        def enough() -> bool:
            tried = web.done.total() > 200 and killed["keeper"] > 5 and killed["worker"] > 5
            return time.monotonic() > start + (SECONDS if tried else LONGEST)

        async def actor() -> None:
            while not enough():
                await web.act()

        killer = asyncio.create_task(kill_at_random(instance, web, choose, killed))
        await asyncio.gather(*(actor() for _ in range(ACTORS)))
        killer.cancel()
        web.die()
        await wait_for_worker(web)
        await resume_all(web)
        await agree(instance, web)
        print(f"done {dict(web.done)} = {web.done.total()}, refused {dict(web.refused)}, killed {dict(killed)}")
        assert web.done.total() > 200 and killed["keeper"] > 5 and killed["worker"] > 5, "too little was tried"
        assert "Traceback" not in instance.log(), instance.log()[-3000:]
        await remove_all(web)
        await agree(instance, web)
        for item in await web.networks():
            if item["name"] != "default":
                await web.client.call(protocol.RemoveNetwork(item["name"]), object)
        for item in await web.groups():
            await web.client.call(protocol.RemoveGroup(item["name"]), object)
        await agree(instance, web)
        assert (instance.on_disk(), instance.groups(), instance.rules()) == (set(), set(), rules)
        assert home.keeper is not None
        spares = 2 * len(home.spares())
        assert len(os.listdir(f"/proc/{home.keeper.pid}/fd")) < 16 + spares, "the keeper leaks descriptors"
    except BaseException:
        print(instance.log()[-6000:])
        raise
    finally:
        supervisor.cancel()
        web.die()
        web.client.close()
        instance.stop_worker()


async def wait_for_worker(web: Web) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await web.client.call(protocol.ReadHost(), object)
                return
            except errors.WorkerUnavailable:
                await asyncio.sleep(0.05)
