"""Whatever a peer sends, it gets an error reply or a closed connection, and the worker serves the next one."""

import asyncio
import os
import random
import socket
import struct

import msgspec
import pytest

from containers_app.worker import protocol, server
from containers_app.worker.client import WorkerClient
from containers_app.worker.protocol import Failure, Frames, FrameTooLong, Hello, ListContainers, LogQuery, Reply, frame
from tests.worker.conftest import RawPeer

encode = msgspec.msgpack.encode


async def still_serves(site) -> bool:
    client = WorkerClient(site.path)
    try:
        return await client.call(ListContainers(), list[object]) == []
    finally:
        client.close()


async def test_an_unknown_command_is_answered_by_a_failure_with_the_requests_id(peer):
    answer = await peer.ask(encode({"command": "FormatDisk"}), number=7)
    assert (answer.id, answer.code, answer.status) == (7, "invalid_command", 400)


@pytest.mark.parametrize(
    "body",
    [
        encode({"command": "GetContainer", "id": 5}),
        encode({"command": "GetContainer"}),
        encode({"command": "GetContainer", "id": "x", "more": 1}),
        encode([1, 2]),
        encode(None),
        b"\xc1",
    ],
)
async def test_a_command_of_the_wrong_type_is_answered_by_a_failure(peer, body):
    answer = await peer.ask(body, number=3)
    assert isinstance(answer, Failure)
    assert answer.id in (0, 3)
    assert isinstance(await peer.ask(encode(ListContainers())), Reply)


@pytest.mark.parametrize(
    "garbage", [b"\xc1", b"", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xa2\xff\xff", encode({"type": "Reply"})]
)
async def test_a_frame_that_is_no_message_is_answered_and_the_connection_goes_on(peer, garbage):
    await peer.send(struct.pack(">I", len(garbage)) + garbage)
    answer = await peer.message()
    assert (answer.id, answer.code) == (0, "invalid_message")
    assert isinstance(await peer.ask(encode(ListContainers())), Reply)


async def test_a_length_over_the_bound_closes_the_connection_after_saying_why(site, peer):
    await peer.send(struct.pack(">I", protocol.MAX_REQUEST + 1))
    answer = await peer.message()
    assert (answer.code, answer.status) == ("too_large", 413)
    assert await peer.message() is None
    assert await still_serves(site)


async def test_half_a_message_and_a_hang_up_harm_nobody(site, peer):
    await peer.send(frame(protocol.Request(1, msgspec.Raw(encode(ListContainers()))))[:-3])
    peer.socket.close()
    assert await still_serves(site)


async def test_a_message_may_come_byte_by_byte(peer):
    for byte in frame(protocol.Request(9, msgspec.Raw(encode(ListContainers())))):
        await peer.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await peer.message()).id == 9


async def test_another_version_is_refused_with_a_hint(site):
    async with RawPeer(site.path) as peer:
        await peer.send(frame(Hello(99)))
        answer = await peer.message()
        assert (answer.id, answer.code) == (0, "version")
        assert "deploy/up" in answer.hint
        assert await peer.message() is None


async def test_who_says_no_hello_is_dropped(site, monkeypatch):
    monkeypatch.setattr(server, "HELLO_TIMEOUT", 0.05)
    async with RawPeer(site.path) as peer:
        assert await peer.message() is None


async def test_a_request_before_the_hello_is_refused(site):
    async with RawPeer(site.path) as peer:
        await peer.send(frame(protocol.Request(1, msgspec.Raw(encode(ListContainers())))))
        assert isinstance(await peer.message(), Failure)
        assert await peer.message() is None


async def test_random_bytes_never_end_the_worker(site):
    random.seed(20)
    good = frame(protocol.Request(1, msgspec.Raw(encode(protocol.StopContainer("x", 1.0)))))
    for _ in range(200):
        async with RawPeer(site.path) as peer:
            await peer.greet()
            data = bytearray(good)
            for _ in range(random.randint(1, 6)):
                data[random.randrange(4, len(data))] = random.randrange(256)
            await peer.send(bytes(data))
            answer = await peer.message()
            assert answer is None or isinstance(answer, Failure)
    assert await still_serves(site)


async def test_an_exception_in_a_handler_does_not_cross_but_is_logged(site, peer, engine, caplog):
    container = engine.add("a")
    engine.crash = True
    answer = await peer.ask(encode(protocol.GetContainer(container.id)))
    assert (answer.code, answer.status) == ("internal", 500)
    assert "secret" not in answer.message + answer.hint
    assert "a secret of the worker" in caplog.text
    engine.crash = False
    assert isinstance(await peer.ask(encode(ListContainers())), Reply)


async def test_more_connections_than_allowed_are_closed_at_once(site, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    peers = [RawPeer(site.path) for _ in range(3)]
    for peer in peers:
        await peer.__aenter__()
        await peer.greet()
    async with RawPeer(site.path) as late:
        assert await late.message() is None
    for peer in peers:
        peer.socket.close()
    async with asyncio.timeout(30):
        while site.server._connections:
            await asyncio.sleep(0.005)
    assert await still_serves(site)


async def test_more_requests_at_once_than_allowed_are_refused_each_by_its_id(site, peer, engine, monkeypatch):
    monkeypatch.setattr(server, "MAX_REQUESTS", 2)
    container = await engine.create(msgspec.convert({"name": "a", "command": ["sleep", "60"]}, protocol.ContainerSpec), "")
    slow = encode(protocol.ExecuteCommand(container.id, ("sleep", "0.2"), 5.0))
    await peer.send(b"".join(frame(protocol.Request(number, msgspec.Raw(slow))) for number in (1, 2, 3)))
    refused = await peer.message()
    assert (refused.id, refused.code) == (3, "too_many")
    assert {(await peer.message()).id, (await peer.message()).id} == {1, 2}


async def test_what_waits_leaves_room_for_a_look_a_kill_and_a_subscription(site, peer, engine, monkeypatch):
    monkeypatch.setattr(server, "MAX_WAITING", 2)
    monkeypatch.setattr(server, "MAX_REQUESTS", 3)
    let = asyncio.Event()
    monkeypatch.setattr(engine, "execute", lambda *_: let.wait())
    container = await engine.create(msgspec.convert({"name": "a", "command": ["sleep", "60"]}, protocol.ContainerSpec), "")
    slow = encode(protocol.ExecuteCommand(container.id, ("sleep", "60"), 60.0))
    await peer.send(b"".join(frame(protocol.Request(number, msgspec.Raw(slow))) for number in (1, 2)))
    for number, command in enumerate((protocol.StopContainer(container.id), protocol.RestartContainer(container.id)), 3):
        refused = await peer.ask(encode(command), number)
        assert (refused.id, refused.code) == (number, "too_many")
    for number, command in enumerate((ListContainers(), protocol.KillContainer(container.id), protocol.Subscribe(("jobs",))), 5):
        answer = await peer.ask(encode(command), number)
        assert isinstance(answer, Reply) and answer.id == number
    let.set()
    assert {(await peer.message()).id, (await peer.message()).id} == {1, 2}
    assert isinstance(await peer.ask(encode(protocol.StartContainer(container.id)), 9), Reply)


async def test_requests_of_one_connection_run_at_the_same_time(peer, engine):
    container = engine.add("a")
    slow = encode(protocol.ExecuteCommand(container.id, ("sleep", "5"), 0.3))
    await peer.send(frame(protocol.Request(1, msgspec.Raw(slow))))
    assert (await peer.ask(encode(ListContainers()), number=2)).id == 2


async def test_who_does_not_read_is_dropped_and_holds_up_nobody(site, engine, monkeypatch):
    monkeypatch.setattr(server, "STALL", 0.3)
    monkeypatch.setattr(server, "HIGH_WATER", 100_000)
    container = engine.add("a")
    async with RawPeer(site.path) as peer:
        await peer.greet()
        request = frame(protocol.Request(1, msgspec.Raw(encode(protocol.ReadLogs(container.id, LogQuery(tail=90_000))))))
        await peer.send(request * 100)
        connection = next(iter(site.server._connections))
        async with asyncio.timeout(30):
            while connection in site.server._connections:
                assert connection._waiting < 300_000
                await asyncio.sleep(0.01)
    engine.containers.clear()
    engine.changed(container.id)
    assert await still_serves(site)


@pytest.mark.parametrize(("uid", "answered"), [(65534, False), (0, True)])
async def test_a_user_who_is_not_in_the_policy_gets_nothing(site, uid, answered):
    """A child with dropped privileges. The socket's mode would let it in here: the kernel's word on its uid does not."""
    site.path.parent.chmod(0o755)
    site.path.chmod(0o666)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(site.path.parent)  # the directories above are root's alone
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(site.path.name)
            connection.sendall(frame(Hello(protocol.VERSION)))
            os.write(writing, connection.recv(100))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = await asyncio.to_thread(pipe.read)
    os.waitpid(child, 0)
    assert (b"Hello" in said) is answered


async def test_the_socket_is_for_root_and_its_group_only(site):
    assert site.path.stat().st_mode & 0o777 == 0o660
    assert list(site.path.parent.glob(".worker*")) == []


def test_frames_are_cut_at_every_place():
    stream = b"".join(struct.pack(">I", len(body)) + body for body in (b"", b"a", b"bcd"))
    for cut in range(len(stream) + 1):
        frames = Frames(10)
        assert [*frames.feed(stream[:cut]), *frames.feed(stream[cut:])] == [b"", b"a", b"bcd"]


def test_a_frame_too_long_is_refused_when_only_its_length_is_known():
    with pytest.raises(FrameTooLong):
        list(Frames(10).feed(struct.pack(">I", 11)))
