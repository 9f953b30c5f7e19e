"""Networks, published ports and rates of raw sandboxes: real links, real traffic."""

import asyncio
import socket
import threading

import pytest

from containers_app.errors import Conflict, KernelRefused, NotFound, PolicyRefused, Unsupported
from containers_app.kernel import resolver, shaping
from containers_app.spec import NetworkSpec
from tests.engines.conftest import spec
from tests.flow import flow
from tests.kernel.netns import inside, run

ECHO = ["nc", "-ll", "-p", "7000", "-e", "cat"]  # a process for each connection: one that hangs keeps nobody waiting
SINK = ["sh", "-c", "while true; do nc -l -p 7000 > /dev/null; done"]
SOURCE = ["sh", "-c", "while true; do nc -l -p 7000 < /dev/zero; done"]
RATE = 2_000_000  # bytes per second


async def answers(address, port):
    """Whether an echo server is there; waits for one that is starting."""
    for _ in range(40):
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
        except (OSError, TimeoutError):
            await asyncio.sleep(0.05)
            continue
        try:
            writer.write(b"hello\n")
            if await asyncio.wait_for(reader.readline(), 5) == b"hello\n":
                return True
        except (OSError, TimeoutError):
            await asyncio.sleep(0.05)
        finally:
            writer.close()
    return False


def refused(address, port):
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return True
    return False


def own_address():
    """An address of this machine that is not loopback: that of the way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.99", 9))
        return probe.getsockname()[0]


async def test_a_sandbox_has_both_families_and_pings_its_gateway_by_each(raw):
    box = await raw.create(spec(command=["sleep", "100"]), "")
    _, six = box.addresses
    network = (await raw.networks())[0]
    assert ":" in six and six.startswith(network["subnet6"].split("::")[0])
    for address in (network["gateway"], network["gateway6"]):
        assert (await raw.execute(box.id, ("ping", "-c", "1", "-W", "2", address), 20)).exit_code == 0
    shown = (await raw.execute(box.id, ("ip", "-6", "address", "show", "eth0"), 20)).stdout
    assert "fe80" not in shown and "tentative" not in shown


async def test_the_hosts_ends_have_no_address(raw, home):
    """Each that came or went would make a browser on this machine break off what it is fetching."""
    await raw.create(spec(command=["sleep", "100"], limits={"net_out": RATE}), "")
    shown = run("ip", "-br", "address", "show").stdout.splitlines()
    ends = [line.split() for line in shown if line.startswith(f"tr{home.tag}-")]
    assert len(ends) >= 2 and [words[2:] for words in ends] == [[]] * len(ends)


async def test_a_published_port_is_answered_on_every_address_until_the_sandbox_stops(raw):
    box = await raw.create(spec(command=ECHO, ports=[{"container_port": 7000}]), "")
    port = box.ports[0].host_port
    assert 1024 <= port <= 65535
    for address in ("127.0.0.1", own_address(), (await raw.networks())[0]["gateway6"]):
        assert await answers(address, port), address
    await raw.stop(box.id, 0)
    assert raw.get(box.id).ports == ()
    assert refused("127.0.0.1", port)
    await raw.start(box.id)
    assert raw.get(box.id).ports[0].host_port == port
    assert await answers("127.0.0.1", port)


async def test_a_port_on_loopback_is_not_answered_elsewhere(raw):
    box = await raw.create(spec(command=ECHO, ports=[{"container_port": 7000, "host_ip": "127.0.0.1"}]), "")
    port = box.ports[0].host_port
    assert await answers("127.0.0.1", port)
    assert refused(own_address(), port)


async def test_a_port_in_use_is_refused_and_named(raw):
    first = await raw.create(spec("first", command=["sleep", "100"], ports=[{"container_port": 80}]), "")
    port = first.ports[0].host_port
    with pytest.raises(Conflict, match="the sandbox first"):
        await raw.create(spec("second", ports=[{"container_port": 80, "host_port": port}]), "")
    with socket.create_server(("127.0.0.1", 0)) as held, pytest.raises(Conflict, match="a program of this host"):
        await raw.create(spec("third", ports=[{"container_port": 80, "host_port": held.getsockname()[1]}]), "")
    assert [one.name for one in raw.all()] == ["first"]
    with pytest.raises(OSError), socket.create_server(("", port)):
        pass


async def test_low_ports_are_for_the_policy_to_allow(raw):
    with pytest.raises(PolicyRefused):
        await raw.create(spec(ports=[{"container_port": 80, "host_port": 80}]), "")


async def test_ports_outlive_the_worker_and_a_flushed_firewall(home):
    engine = home.engine()
    await engine.open(home.changes.append)
    box = await engine.create(spec(command=ECHO, ports=[{"container_port": 7000}]), "")
    await engine.close()
    engine = home.engine()
    await engine.open(home.changes.append)
    try:
        assert engine.get(box.id).ports == box.ports
        assert await answers("127.0.0.1", box.ports[0].host_port)
        assert run("nft", "delete", "table", "inet", f"terrarium_{home.tag}").returncode == 0
        await engine.wire.assert_rules()
        assert await answers("127.0.0.1", box.ports[0].host_port)
    finally:
        await engine.remove(box.id, force=True)
        await engine.close()


async def test_networks_keep_their_sandboxes_apart_or_together(raw):
    await raw.wire.create_network(NetworkSpec("apart"))
    await raw.wire.create_network(NetworkSpec("together", isolated=False, nat=False))
    server = await raw.create(spec("server", command=ECHO, network="together"), "")
    near = await raw.create(spec("near", command=["sleep", "100"], network="together"), "")
    far = await raw.create(spec("far", command=["sleep", "100"], network="apart"), "")
    for address in server.addresses:
        there = address.partition("/")[0]
        await until_reached(raw, near, there)
        said = await raw.execute(far.id, ("sh", "-c", f"echo hello | nc -w 1 {there} 7000"), 8)
        assert said.stdout == ""
    items = {item["name"]: item for item in await raw.networks()}
    assert {one["name"] for one in items["together"]["containers"]} == {"server", "near"}
    with pytest.raises(Conflict, match="far"):
        await raw.wire.remove_network("apart")
    await raw.remove(far.id, force=True)
    await raw.wire.remove_network("apart")
    with pytest.raises(NotFound):
        await raw.create(spec("late", network="apart"), "")
    with pytest.raises(Unsupported):
        await raw.create(spec("open", network="together", ports=[{"container_port": 80}]), "")


async def until_reached(raw, box, address, port=7000):
    for _ in range(40):
        said = await raw.execute(box.id, ("sh", "-c", f"echo hello | nc -w 2 {address} {port}"), 8)
        if said.stdout == "hello\n":
            return
        await asyncio.sleep(0.05)
    raise AssertionError(address)


async def test_networks_are_there_after_a_restart_and_after_their_bridge_was_deleted(home):
    engine = home.engine()
    await engine.open(home.changes.append)
    made = await engine.wire.create_network(NetworkSpec("blue", subnet="10.254.77.0/24"))
    await engine.close()
    assert run("ip", "link", "delete", made["bridge"]).returncode == 0
    assert run("ip", "link", "add", f"tr{home.tag}-nfffff", "type", "bridge").returncode == 0  # of a removal that was killed
    engine = home.engine()
    await engine.open(home.changes.append)
    items = {item["name"]: item for item in await engine.networks()}
    assert items["blue"] | {"containers": []} == made
    assert run("ip", "link", "show", made["bridge"]).returncode == 0
    assert run("ip", "link", "show", f"tr{home.tag}-nfffff").returncode != 0
    with pytest.raises(Conflict, match="overlaps"):
        await engine.wire.create_network(NetworkSpec("red", subnet="10.254.77.128/25"))
    await engine.close()


async def test_name_servers_and_hosts_are_as_asked(raw):
    box = await raw.create(spec(command=["sleep", "100"], dns=["192.0.2.53", "2001:db8::53"], extra_hosts={"db": "10.9.8.7"}), "")
    assert (await raw.execute(box.id, ("grep", "nameserver", "/etc/resolv.conf"), 20)).stdout.split("\n")[:2] == [
        "nameserver 192.0.2.53", "nameserver 2001:db8::53",
    ]  # fmt: skip
    assert "10.9.8.7\tdb\n" in (await raw.execute(box.id, ("cat", "/etc/hosts"), 20)).stdout


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an IPv4 address with the same one, RFC 1035; ``asked`` are the names."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, sender):
        end = data.index(b"\0", 12) + 5  # the header, the name's labels, its type and class
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        self.asked.append(".".join(labels))
        is_a = data[end - 4 : end - 2] == b"\0\1"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(self.answer) if is_a else b""
        counts = b"\0\1" + bytes([0, is_a]) + bytes(4)
        self.transport.sendto(data[:2] + b"\x81\x80" + counts + data[12:end] + record, sender)


async def test_a_name_is_resolved_by_the_server_that_was_asked_for(raw):
    """It has a sandbox's address: it is a socket of ours in that one's network namespace."""
    await raw.wire.create_network(NetworkSpec("together", isolated=False))
    other = await raw.create(spec("other", command=["sleep", "100"], network="together"), "")
    here = other.addresses[0].partition("/")[0]
    box = await raw.create(spec(command=["sleep", "100"], network="together", dns=[here]), "")
    with inside(other):
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ours.bind((here, 53))
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(lambda: NameServer("192.0.2.77"), sock=ours)
    try:
        told = await raw.execute(box.id, ("nslookup", "db.test"), 20)
    finally:
        transport.close()
    assert "192.0.2.77" in told.stdout and here in told.stdout, told
    assert "db.test" in server.asked


async def test_where_the_host_names_servers_on_its_loopback_only_a_sandbox_is_told_so(raw, tmp_path, monkeypatch):
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\n")
    monkeypatch.setitem(resolver.resolv_conf.__kwdefaults__, "files", (str(file),))
    box = await raw.create(spec(command=["sleep", "100"]), "")
    told = await raw.execute(box.id, ("cat", "/etc/resolv.conf"), 20)
    assert told.stdout == "# the host names only servers on its own loopback\n"


async def test_in_the_hosts_network_its_servers_are_as_the_host_has_them(raw, tmp_path, monkeypatch):
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nnameserver 2001:db8::53\n")
    monkeypatch.setitem(resolver.resolv_conf.__kwdefaults__, "files", (str(file),))
    box = await raw.create(spec(command=["sleep", "100"], namespaces={"net": "host"}), "")
    told = await raw.execute(box.id, ("cat", "/etc/resolv.conf"), 20)
    assert told.stdout == file.read_text()


async def test_nobody_comes_into_a_network_that_is_being_removed(raw, monkeypatch):
    await raw.wire.create_network(NetworkSpec("blue"))
    networks, reached, go_on = raw.wire.networks, threading.Event(), threading.Event()
    remove = networks.remove

    def slowly(name):
        reached.set()
        assert go_on.wait(60)
        remove(name)

    monkeypatch.setattr(type(networks), "remove", lambda _, name: slowly(name))
    removing = asyncio.create_task(raw.wire.remove_network("blue"))
    await asyncio.to_thread(reached.wait, 60)
    try:
        with pytest.raises(Conflict, match="blue is being removed"):
            await raw.create(spec(command=["sleep", "100"], network="blue"), "")
    finally:
        go_on.set()
        await removing
    assert [one["name"] for one in await raw.networks()] == ["default"] and raw.all() == []


async def holds(address, rate, *, to_sandbox):
    """Never above; and up to it, once the machine itself is not too busy for that."""
    seen = []
    while not seen or seen[-1] < 0.9 * rate:
        assert len(seen) < 20, seen
        seen.append(await asyncio.to_thread(flow, address, to_sandbox=to_sandbox))
        assert seen[-1] <= 1.1 * rate, seen


@pytest.mark.parametrize(("name", "command"), [("net_in", SINK), ("net_out", SOURCE)])
@pytest.mark.parametrize("rate", [256_000, 2_000_000, 50_000_000])
async def test_a_rate_holds_a_flow(raw, name, command, rate):
    box = await raw.create(spec(command=command, limits={name: rate}), "")
    await holds(box.addresses[0].partition("/")[0], rate, to_sandbox=name == "net_in")


async def test_a_rate_is_read_changed_and_cleared_live_and_its_device_goes(raw, home):
    box = await raw.create(spec(command=["sleep", "100"], limits={"net_in": RATE, "net_out": RATE}), "")
    for name in ("net_in", "net_out"):
        reading = raw.read_limits(box.id)[name]
        said = (reading.requested, reading.kernel, reading.effective, reading.unit, reading.locked)
        assert said == (RATE, RATE, RATE, "bytes/s", "")
        assert (await raw.update_limits(box.id, {name: 3 * RATE}))[name].kernel == 3 * RATE
        assert (await raw.update_limits(box.id, {name: None}))[name].kernel is None
        await raw.update_limits(box.id, {name: RATE})
    await raw.stop(box.id, 0)
    assert ifbs(home) == 0
    await raw.start(box.id)
    assert ifbs(home) == 1


def ifbs(home):
    return run("ip", "-br", "link", "show", "type", "ifb").stdout.count(f"tr{home.tag}")


async def test_rates_are_there_before_the_program_and_a_launch_that_fails_leaves_no_device(raw, home):
    commands = raw.preview(spec(command=["true"], limits={"net_in": RATE, "net_out": RATE}))
    shaped = [number for number, line in enumerate(commands) if " tbf rate " in line]
    begins = next(number for number, line in enumerate(commands) if line.startswith("# in that shell"))
    assert len(shaped) == 2 and max(shaped) < begins
    with pytest.raises(KernelRefused, match="RunProgram"):
        await raw.create(spec(command=["/no/such/program"], limits={"net_out": RATE}), "")
    assert ifbs(home) == 0


async def test_many_sandboxes_each_have_their_own_rate_out(raw, home):
    boxes = [await raw.create(spec(f"box-{n}", command=["sleep", "100"], limits={"net_out": RATE + n}), "") for n in range(12)]
    assert ifbs(home) == 12
    assert [raw.read_limits(box.id)["net_out"].kernel for box in boxes] == [RATE + n for n in range(12)]
    for box in boxes[::2]:
        await raw.remove(box.id, force=True)
    assert ifbs(home) == 6
    assert [raw.read_limits(box.id)["net_out"].kernel for box in boxes[1::2]] == [RATE + n for n in range(1, 12, 2)]


async def test_a_sandbox_without_a_link_has_no_rate_and_says_why(raw):
    box = await raw.create(spec(command=["sleep", "100"], namespaces={"net": "none"}), "")
    assert "no link of its own" in raw.read_limits(box.id)["net_in"].locked
    with pytest.raises(Exception, match="no link of its own"):
        await raw.update_limits(box.id, {"net_in": RATE})


async def test_an_ifb_without_its_link_goes_at_the_next_start(home):
    name = f"tr{home.tag}-izzzz"
    assert run("ip", "link", "add", name, "type", "ifb").returncode == 0
    engine = home.engine()
    await engine.open(home.changes.append)
    await engine.close()
    assert not shaping.link_index(name)
