"""The web's door: typed results, errors in their own classes, patience, fds."""

import asyncio
import fcntl
import os
import signal
import struct

import msgspec
import pytest

from containers_app.errors import Conflict, InvalidInput, NotFound, PolicyRefused, TerrariumError, WorkerUnavailable
from containers_app.spec import ContainerSpec, LimitReading, Namespaces
from containers_app.worker import client as module
from containers_app.worker import protocol
from containers_app.worker.client import LinkChanged, WorkerClient, call_once, shared
from containers_app.worker.protocol import Container, GetContainer, ListContainers
from tests.worker.conftest import Site

TIOCGPTN = 0x80045430  # ioctl_tty(2): the number of a master's slave
SLEEPER = ContainerSpec(name="sleeper", command=("sleep", "60"), limits={"memory": 64 << 20})


async def test_a_container_is_made_listed_stopped_and_removed(client):
    made = await client.call(protocol.CreateContainer(SLEEPER, "ada"), Container)
    assert (made.name, made.state, made.owner) == ("sleeper", "running", "ada")
    assert await client.call(ListContainers(), list[Container]) == [made]
    stopped = await client.call(protocol.StopContainer(made.id), Container)
    assert (stopped.state, stopped.exit_code) == ("exited", 128 + signal.SIGTERM)
    await client.call(protocol.RemoveContainer(made.id), type(None))
    assert await client.call(ListContainers(), list[Container]) == []


async def test_failures_come_back_in_their_own_class_with_hint(client):
    made = await client.call(protocol.CreateContainer(SLEEPER, "ada"), Container)
    with pytest.raises(NotFound):
        await client.call(GetContainer("nothing"), Container)
    with pytest.raises(Conflict) as caught:
        await client.call(protocol.StartContainer(made.id), Container)
    assert (caught.value.message, caught.value.hint) == ("sleeper is running already.", "Restart it.")
    with pytest.raises(Conflict) as caught:
        await client.call(protocol.CreateContainer(SLEEPER, "ada"), Container)
    assert caught.value.code == "name_taken"


async def test_two_containers_of_one_name_asked_for_at_once_make_one(client):
    asked = [client.call(protocol.CreateContainer(SLEEPER, "ada"), Container) for _ in range(5)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 4 + ["Container"]


HOSTILE_SPECS = [
    msgspec.structs.replace(SLEEPER, name="../x"),
    msgspec.structs.replace(SLEEPER, limits={"memory": float("nan")}),
    msgspec.structs.replace(SLEEPER, limits={"memory": "64M", "nonsense": 1}),
    msgspec.structs.replace(SLEEPER, command=("",)),
    msgspec.structs.replace(SLEEPER, namespaces=Namespaces(net="container:nobody")),
]


@pytest.mark.parametrize("spec", HOSTILE_SPECS)
async def test_the_worker_checks_a_spec_as_if_the_web_had_not(client, engine, spec):
    with pytest.raises((InvalidInput, NotFound)):
        await client.call(protocol.CreateContainer(spec, "ada"), Container)
    assert engine.containers == {}


async def test_the_policy_holds_for_specs_and_for_changes(client, engine):
    container = engine.add("a")
    for command in (
        protocol.CreateContainer(msgspec.structs.replace(SLEEPER, namespaces=Namespaces(user="host")), "ada"),
        protocol.UpdateLimits(container.id, {"memory": "2G"}),
        protocol.UpdateLimits(container.id, {"memory": None}),
    ):
        with pytest.raises(PolicyRefused):
            await client.call(command, object)


async def test_sizes_reach_the_engine_in_bytes(client, engine):
    container = engine.add("a")
    limits = await client.call(protocol.UpdateLimits(container.id, {"memory": "64M"}), dict[str, LimitReading])
    assert limits["memory"].requested == 64 << 20


HOSTILE_COMMANDS = [
    protocol.StopContainer("{id}", timeout=float("nan")),
    protocol.StopContainer("{id}", timeout=-1),
    protocol.KillContainer("{id}", signal=99),
    protocol.ExecuteCommand("{id}", ()),
    protocol.ExecuteCommand("{id}", ("a\0b",)),
    protocol.OpenTerminal("{id}", rows=0),
    protocol.OpenTerminal("{id}", columns=10**9),
    protocol.UpdateLimits("{id}", {"cpu": -1}),
    protocol.Subscribe(("secrets",)),
]


@pytest.mark.parametrize("command", HOSTILE_COMMANDS, ids=lambda command: type(command).__name__)
async def test_values_out_of_range_are_invalid_input(client, engine, command):
    container = engine.add("a")
    if hasattr(command, "id"):
        command = msgspec.structs.replace(command, id=container.id)
    with pytest.raises(InvalidInput):
        await client.call(command, object)


async def test_a_terminals_fd_comes_with_its_reply_and_is_a_working_pty(client, engine):
    container = engine.add("a")
    opened, fd = await client.call_fd(protocol.OpenTerminal(container.id), protocol.TerminalOpened)
    try:
        assert opened.is_tty
        assert os.isatty(fd)
        assert not os.get_inheritable(fd)
        os.write(fd, b"echo $((6*7))\n")
        assert b"42" in await asyncio.to_thread(read_until, fd, b"42\r\n")
    finally:
        os.close(fd)
    process = engine.shells[0]
    assert await asyncio.to_thread(process.wait, 5) is not None  # hung up: nobody else held the master


def pty_number(master: int) -> int:
    return struct.unpack("I", fcntl.ioctl(master, TIOCGPTN, b"0000"))[0]


def read_until(fd: int, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += os.read(fd, 4096)
    return seen


async def test_many_terminals_asked_for_at_once_get_each_its_own(client, engine):
    container = engine.add("a")
    await client.call(ListContainers(), object)
    before = len(os.listdir("/proc/self/fd"))
    asked = [client.call_fd(protocol.OpenTerminal(container.id), protocol.TerminalOpened) for _ in range(20)]
    lists = [client.call(ListContainers(), list[Container]) for _ in range(20)]
    opened = await asyncio.gather(*asked, *lists)
    fds = [fd for _, fd in opened[:20]]
    assert len({pty_number(fd) for fd in fds}) == 20
    for fd in fds:
        os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_an_fd_that_nobody_asked_for_is_closed(client, engine):
    container = engine.add("a")
    await client.call(ListContainers(), object)
    before = len(os.listdir("/proc/self/fd"))
    await client.call(protocol.OpenTerminal(container.id), protocol.TerminalOpened)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_terminal_that_is_no_tty_is_resized_through_the_worker(client, engine):
    container = engine.add("a")
    opened, fd = await client.call_fd(protocol.OpenTerminal(container.id, ("socket",)), protocol.TerminalOpened)
    os.close(fd)
    assert not opened.is_tty
    await client.call(protocol.ResizeTerminal(opened.terminal, 50, 132), type(None))
    assert engine.terminals[0].sizes == [(50, 132)]
    with pytest.raises(NotFound):
        await client.call(protocol.ResizeTerminal("other", 50, 132), type(None))


async def test_a_read_waits_for_a_worker_that_restarts_and_a_command_does_not(site, client, engine):
    await client.call(ListContainers(), object)
    await site.close()
    with pytest.raises(WorkerUnavailable) as caught:
        await client.call(protocol.StartContainer("a"), object)
    assert caught.value.status == 503
    waiting = asyncio.create_task(client.call(ListContainers(), list[Container]))
    await asyncio.sleep(0.1)
    again = Site(site.state, engine, site.policy)
    await again.open()
    try:
        assert await waiting == []
    finally:
        await again.close()


async def test_a_read_gives_up_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "READ_PATIENCE", 0.1)
    with pytest.raises(WorkerUnavailable):
        await WorkerClient(tmp_path / "none.sock").call(ListContainers(), object)


async def test_a_command_under_way_fails_when_the_worker_goes(tmp_path, client, site, engine, monkeypatch):
    monkeypatch.setattr("containers_app.worker.server.CLOSE_TIMEOUT", 0.05)
    container = engine.add("a")
    waiting = asyncio.create_task(client.call(protocol.ExecuteCommand(container.id, ("sleep", "0.5"), 5.0), object))
    await asyncio.sleep(0.1)
    await site.server.close()
    with pytest.raises(WorkerUnavailable):
        await waiting
    await asyncio.gather(*site.server._requests.all)


async def test_a_worker_that_hangs_does_not_hang_the_web(client, engine, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", -4.9)
    container = engine.add("a")
    with pytest.raises(WorkerUnavailable, match="in time"):
        await client.call(protocol.ExecuteCommand(container.id, ("sleep", "0.3"), 5.0), object)
    await asyncio.sleep(0.4)  # the answer comes late, for nobody
    monkeypatch.undo()
    assert len(await client.call(ListContainers(), list[Container])) == 1


async def test_one_client_serves_an_event_loop(site):
    assert shared(site.path) is shared(str(site.path))
    await shared(site.path).call(ListContainers(), object)
    shared(site.path).close()


async def test_synchronous_code_can_ask_too(site, engine):
    engine.add("a")
    found = await asyncio.to_thread(call_once, site.path, ListContainers(), list[Container])
    assert [container.name for container in found] == ["a"]
    with pytest.raises(NotFound):
        await asyncio.to_thread(call_once, site.path, GetContainer("b"), Container)
    with pytest.raises(WorkerUnavailable):
        await asyncio.to_thread(call_once, site.path.with_name("none"), ListContainers(), object)


async def test_subscribers_hear_of_the_worker_going_and_coming_and_get_a_full_list_again(site, client, engine):
    engine.add("a")
    heard = []

    async def listen():
        async for push in client.subscribe(("containers",)):
            heard.append(push)

    listening = asyncio.create_task(listen())
    await until(lambda: len(heard) == 1)
    await site.close()
    await until(lambda: len(heard) == 2)
    assert heard[1] == LinkChanged(up=False)
    again = Site(site.state, engine, site.policy)
    await again.open()
    await until(lambda: len(heard) == 4)
    assert heard[2] == LinkChanged(up=True, node="here")
    assert msgspec.msgpack.decode(heard[3].payload, type=protocol.ContainersChanged).reset
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await again.close()


async def until(condition, timeout: float = 30.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


def test_every_command_of_the_protocol_has_a_handler():
    from containers_app.worker.commands import HANDLERS

    every = {command for command in protocol.Command.__subclasses__() if command is not protocol.Subscribe}
    assert every == set(HANDLERS)


def test_every_error_class_survives_the_way_through_a_failure():
    for kind in TerrariumError.__subclasses__():
        if kind.__module__ == "containers_app.errors":
            error = kind("What.", hint="Do.")
            failure = protocol.Failure(1, error.code, error.message, error.hint, error.status)
            assert type(module.error_of(failure)) is kind
