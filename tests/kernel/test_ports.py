"""Published ports and IPv6 from everywhere: the host, the world behind its uplink, other sandboxes."""

import contextlib
import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from containers_app.errors import Conflict, InvalidInput
from containers_app.kernel import networks
from containers_app.spec import Port
from tests.kernel.netns import attach, fresh_host, inside, pings, run, setting6, start_namespace

HOST, WORLD, HOST6, WORLD6 = "198.51.100.2", "198.51.100.1", "2001:db8:1::2", "2001:db8:1::1"
ANY_PORT = [(30000, 40000)]
# Answers each TCP connection and each UDP datagram with the address that it came from.
ECHO = """
import selectors, socket, sys
both = selectors.DefaultSelector()
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    one = socket.socket(socket.AF_INET6, kind)
    one.bind(("::", 7000))
    if kind == socket.SOCK_STREAM: one.listen(50)
    both.register(one, 1)
print("ready", flush=True)
while True:
    for key, _ in both.select():
        if key.fileobj.type == socket.SOCK_STREAM:
            connection, peer = key.fileobj.accept()
            connection.sendall(peer[0].encode())
            connection.close()
        else:
            _, peer = key.fileobj.recvfrom(100)
            key.fileobj.sendto(peer[0].encode(), peer)
"""


@pytest.fixture
def world(spawn):
    """A stand-in for the host, with an uplink of both families to a machine that knows no way back to private networks."""
    with fresh_host():
        process = start_namespace(spawn)
        there = f"nsenter --net=/proc/{process.pid}/ns/net"
        for command in (
            f"ip link add up0 type veth peer name up1 netns {process.pid}",
            f"ip address add {HOST}/24 dev up0",
            f"ip address add {HOST6}/64 dev up0 nodad",
            "ip link set up0 up",
            f"{there} ip link set lo up",
            f"{there} ip address add {WORLD}/24 dev up1",
            f"{there} ip address add {WORLD6}/64 dev up1 nodad",
            f"{there} ip link set up1 up",
            f"ip route add default via {WORLD}",
            f"ip route add default via {WORLD6}",
        ):
            assert run(*command.split()).returncode == 0, command
        yield process


@pytest.fixture
def files(tmp_path):
    return str(tmp_path / "network.json"), str(tmp_path / "forwarding.json")


@pytest.fixture
def opened(world, files):
    found = networks.open_networks(secrets.token_hex(3), *files)
    found.assert_rules()
    yield found
    found.ports.close()


@pytest.fixture
def sandbox(opened, spawn):
    """Attach a namespace to a network: (process, attachment)."""
    used = set()

    def start(network=""):
        attachment = opened.attachment(used, network)
        used.add(attachment.address)
        process = start_namespace(spawn)
        attach(process, attachment)
        return process, attachment

    return start


def serve(process, spawn):
    """The echo service in a sandbox, or behind the uplink."""
    with inside(process):
        server = spawn(sys.executable, "-c", ECHO, stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"


@pytest.fixture
def server(opened, sandbox, spawn):
    process, attachment = sandbox()
    serve(process, spawn)
    return process, attachment


def publish(net, attachment, *ports):
    taken = net.ports.take("owner", "server", "default", ports, attachment, ANY_PORT)
    net.assert_rules()
    return [port.host_port for port in taken]


def asked(address, port, kind=socket.SOCK_STREAM):
    """What the service says, "" when it is not reached."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, kind) as client:
        client.settimeout(30)
        client.connect((address, port))
        if kind == socket.SOCK_DGRAM:
            client.send(b"?")
        return client.recv(100).decode().removeprefix("::ffff:")
    return ""


def bridge_netfilter(on):
    run("modprobe", "br_netfilter")
    for program in ("iptables", "ip6tables"):
        path = Path(f"/proc/sys/net/bridge/bridge-nf-call-{program}")
        if path.exists():
            path.write_text(str(int(on)))
        elif on:
            pytest.fail("br_netfilter is not loaded: modprobe br_netfilter")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_world_and_the_host_reach_a_port_by_both_families(opened, world, server, kind):
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    _, attachment = server
    [port] = publish(opened, attachment, Port(7000, protocol=protocol))
    with inside(world):
        assert (asked(HOST, port, kind), asked(HOST6, port, kind)) == (WORLD, WORLD6)
    for address in ("127.0.0.1", HOST, HOST6, opened.default.gateway, opened.default.gateway6):
        assert asked(address, port, kind), address
    assert opened.ports.give_back("owner")
    opened.assert_rules()
    with inside(world):
        assert (asked(HOST, port, kind), asked(HOST6, port, kind)) == ("", "")


def test_a_port_on_one_address_is_answered_there_alone(opened, world, server):
    _, attachment = server
    four, six = publish(opened, attachment, Port(7000, host_ip=HOST), Port(7000, host_ip=HOST6))
    with inside(world):
        assert (asked(HOST, four), asked(HOST6, six)) == (WORLD, WORLD6)
    assert (asked("127.0.0.1", four), asked(opened.default.gateway6, six)) == ("", "")


def test_loopback_by_ipv6_is_refused_and_localhost_falls_back_at_once(opened, server):
    _, attachment = server
    with pytest.raises(InvalidInput, match="leads nowhere"):
        publish(opened, attachment, Port(7000, host_ip="::1"))
    [port] = publish(opened, attachment, Port(7000))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", port), timeout=5)


def test_without_br_netfilter_a_sandbox_reaches_its_own_networks_ports_by_the_hosts_address(opened, server, sandbox):
    bridge_netfilter(on=False)
    process, attachment = server
    [port] = publish(opened, attachment, Port(7000))
    for one in (process, sandbox()[0]):
        with inside(one):
            assert [asked(address, port) for address in (HOST, HOST6)] == [opened.default.gateway, opened.default.gateway6]


def test_with_br_netfilter_a_port_of_its_own_network_is_refused_at_once_and_another_networks_is_reached(opened, server, sandbox):
    bridge_netfilter(on=True)
    opened.create("other")
    _, attachment = server
    [port] = publish(opened, attachment, Port(7000))
    with inside(sandbox("other")[0]):
        assert (asked(HOST, port), asked(HOST6, port)) == (opened.default.gateway, opened.default.gateway6)
    with inside(sandbox()[0]):
        for address in (HOST, HOST6):
            with pytest.raises(OSError, match=r"No route|prohibited|Permission|unreachable"):
                socket.create_connection((address, port), timeout=30)


def test_isolation_holds_beside_a_published_port(opened, world, server, sandbox, spawn):
    """Only the published port, only by the host's address: by both families."""
    _, attachment = server
    publish(opened, attachment, Port(7000))
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as own:
        port = own.getsockname()[1]
        near, _ = sandbox()
        with inside(near):
            for address in (HOST, HOST6, opened.default.gateway, opened.default.gateway6):
                assert asked(address, port) == ""
            assert (asked(attachment.address, 7000), asked(attachment.address6, 7000)) == ("", "")
    with inside(world):
        assert run("ip", "route", "add", str(opened.default.subnet), "via", HOST).returncode == 0
        assert run("ip", "route", "add", str(opened.default.subnet6), "via", HOST6).returncode == 0
        assert (asked(attachment.address, 7000), asked(attachment.address6, 7000)) == ("", "")
        assert not pings(attachment.address6)


def test_a_sandbox_leaves_by_the_hosts_ipv6_address(opened, world, sandbox, spawn, files):
    assert opened.no_nat6 == ""
    serve(world, spawn)
    process, _ = sandbox()
    with inside(process):
        assert (asked(WORLD, 7000), asked(WORLD6, 7000)) == (HOST, HOST6)
        assert pings(WORLD6)
    switch = "force_forwarding"
    assert setting6("up0", switch) == "1" and setting6("all", "forwarding") == "0"
    networks.remove_networks(opened.tag, *files)
    assert setting6("up0", switch) == "0"


def test_a_host_that_forwards_for_our_sake_is_no_router_for_the_world_by_ipv6(opened, world, spawn):
    second = start_namespace(spawn)
    there = f"nsenter --net=/proc/{second.pid}/ns/net"
    for command in (
        f"ip link add up9 type veth peer name lan0 netns {second.pid}",
        "ip address add 2001:db8:9::1/64 dev up9 nodad",
        "ip link set up9 up",
        f"{there} ip address add 2001:db8:9::2/64 dev lan0 nodad",
        f"{there} ip link set lan0 up",
        "ip route add default via 2001:db8:9::2 metric 50",
        f"{there} ip route add default via 2001:db8:9::1",
    ):
        assert run(*command.split()).returncode == 0, command
    opened.assert_rules()
    assert setting6("up9", "force_forwarding") == "1"
    assert pings("2001:db8:9::2")
    with inside(world):
        assert run("ip", "route", "add", "2001:db8:9::/64", "via", HOST6).returncode == 0
        assert not pings("2001:db8:9::2")


def test_somebody_who_has_the_port_on_one_address_or_family_is_noticed(opened, server):
    _, attachment = server
    for family, place in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0))):
        with socket.socket(family) as held:
            held.bind(place)
            with pytest.raises(Conflict, match="a program of this host"):
                publish(opened, attachment, Port(7000, held.getsockname()[1]))
    assert opened.ports.published() == []


def test_one_number_serves_tcp_and_udp_of_two_sandboxes(opened, world, server, sandbox, spawn):
    _, first = server
    process, second = sandbox()
    serve(process, spawn)
    opened.ports.take("one", "one", "default", [Port(7000, 31000)], first, ())
    opened.ports.take("two", "two", "default", [Port(7000, 31000, protocol="udp")], second, ())
    opened.assert_rules()
    with inside(world):
        assert asked(HOST, 31000) == asked(HOST, 31000, socket.SOCK_DGRAM) == WORLD
