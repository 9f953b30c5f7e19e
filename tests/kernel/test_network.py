"""The bridge network on the real kernel, in a network namespace that stands in for the host."""

import json
import secrets
import socket
import subprocess
import threading
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from containers_app.errors import Conflict, KernelRefused
from containers_app.kernel import firewall, netlink, network, networks, subnets
from tests.kernel.netns import attach, fresh_host, inside, pings, run, setting, start_namespace

WORLD = "198.51.100.1"  # TEST-NET-2


@pytest.fixture
def host():
    with fresh_host():
        yield


@pytest.fixture
def world(host, spawn):
    """A machine behind the host's uplink, which knows no way back to a private network."""
    process = start_namespace(spawn)
    peer = ("peer", "name", "up1", "netns", str(process.pid))
    for command in (
        ("ip", "link", "add", "up0", "type", "veth", *peer),
        ("ip", "address", "add", "198.51.100.2/24", "dev", "up0"),
        ("ip", "link", "set", "up0", "up"),
        ("nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", "address", "add", f"{WORLD}/24", "dev", "up1"),
        ("nsenter", f"--net=/proc/{process.pid}/ns/net", "ip", "link", "set", "up1", "up"),
        ("ip", "route", "add", "default", "via", WORLD),
    ):
        assert run(*command).returncode == 0, command
    return process


@pytest.fixture
def tag():
    return secrets.token_hex(3)


@pytest.fixture
def files(tmp_path):
    """The state file of an instance, and the note that the instances share."""
    return str(tmp_path / "network.json"), str(tmp_path / "forwarding.json")


def open_networks(*where):
    """As a worker does that starts and knows of no published port."""
    found = networks.open_networks(*where)
    found.assert_rules()
    return found


@pytest.fixture
def opened(host, tag, files):
    return open_networks(tag, *files)


@pytest.fixture
def sandbox(spawn):
    """Attach a new network namespace: (process, attachment)."""
    used = set()

    def start(net):
        attachment = net.attachment(used)
        used.add(attachment.address)
        process = start_namespace(spawn)
        attach(process, attachment)
        return process, attachment

    return start


def test_a_sandbox_pings_the_gateway(opened, sandbox):
    process, attachment = sandbox(opened)
    with inside(process):
        assert pings(attachment.gateway)


def test_a_sandbox_has_loopback_an_address_and_a_route(opened, sandbox):
    process, attachment = sandbox(opened)
    with inside(process):
        shown = json.loads(run("ip", "-json", "address").stdout)
        routes = json.loads(run("ip", "-json", "route").stdout)
    loopback, link = shown
    assert "UP" in loopback["flags"]
    assert (link["ifname"], link["address"]) == ("eth0", attachment.mac)
    address = next(one for one in link["addr_info"] if one["family"] == "inet")
    assert (address["local"], address["prefixlen"]) == (attachment.address, attachment.prefix)
    assert {"dst": "default", "gateway": attachment.gateway, "dev": "eth0"}.items() <= routes[0].items()


def test_the_hosts_end_is_an_isolated_port_that_is_up(opened, sandbox):
    _, attachment = sandbox(opened)
    link = json.loads(run("ip", "-json", "-details", "link", "show", attachment.link).stdout)[0]
    assert link["master"] == opened.default.bridge
    assert "UP" in link["flags"]
    assert link["linkinfo"]["info_slave_data"]["isolated"] is True


def test_sandboxes_do_not_reach_each_other(opened, sandbox):
    first, _ = sandbox(opened)
    second, other = sandbox(opened)
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():
        bridged.write_text("0")  # else the firewall would stop it even if the ports were not isolated
    with inside(second):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", 0))
        server.settimeout(0.5)
    with server, inside(first), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        there = (other.address, server.getsockname()[1])
        client.sendto(b"from one port to the other", there)
        with pytest.raises(TimeoutError):
            server.recv(100)
        assert run("ip", "route", "add", other.address, "via", opened.default.gateway).returncode == 0
        client.sendto(b"by way of the gateway", there)
        with pytest.raises(TimeoutError):
            server.recv(100)


def test_the_host_reaches_a_sandbox(opened, sandbox):
    _, attachment = sandbox(opened)
    assert pings(attachment.address)


def test_a_sandbox_does_not_reach_the_hosts_services(world, tag, files, sandbox):
    net = open_networks(tag, *files)
    process, _ = sandbox(net)
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        with inside(process):
            for address in (net.default.gateway, "198.51.100.2"):
                with pytest.raises(OSError), socket.create_connection((address, port), timeout=2):
                    pass
                assert pings(address) == (address == net.default.gateway)


def test_a_sandbox_reaches_the_world_behind_the_hosts_address(world, tag, files, sandbox):
    net = open_networks(tag, *files)
    process, _ = sandbox(net)
    with inside(world):
        server = socket.create_server((WORLD, 0))
    seen = []

    def serve():
        connection, (address, _) = server.accept()
        connection.close()
        seen.append(address)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with inside(process):
            assert pings(WORLD)
            socket.create_connection(server.getsockname(), timeout=5).close()
        thread.join(5)
    finally:
        server.close()
    assert seen == ["198.51.100.2"]


def test_the_world_does_not_reach_a_sandbox(world, tag, files, sandbox):
    net = open_networks(tag, *files)
    _, attachment = sandbox(net)
    with inside(world):
        assert run("ip", "route", "add", str(net.default.subnet), "via", "198.51.100.2").returncode == 0
        assert not pings(attachment.address)
        assert pings("198.51.100.2")


def test_the_world_cannot_use_the_host_as_a_router(world, tag, files, spawn):
    second = start_namespace(spawn)
    there = f"--net=/proc/{second.pid}/ns/net"
    for command in (
        ("ip", "link", "add", "up9", "type", "veth", "peer", "name", "lan0", "netns", str(second.pid)),
        ("ip", "address", "add", "203.0.113.1/24", "dev", "up9"),
        ("ip", "link", "set", "up9", "up"),
        ("ip", "route", "add", "default", "via", "203.0.113.2", "metric", "50"),
        ("nsenter", there, "ip", "address", "add", "203.0.113.2/24", "dev", "lan0"),
        ("nsenter", there, "ip", "link", "set", "lan0", "up"),
        ("nsenter", there, "ip", "route", "add", "default", "via", "203.0.113.1"),
    ):
        assert run(*command).returncode == 0, command
    open_networks(tag, *files)
    assert (setting("up0"), setting("up9")) == ("1", "1")
    with inside(world):
        assert run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.2").returncode == 0
        assert not pings("203.0.113.2")


def test_opening_again_changes_nothing(opened, tag, files, sandbox):
    process, attachment = sandbox(opened)
    before = run("nft", "list", "ruleset").stdout
    again = open_networks(tag, *files)
    assert (again.default.subnet, again.default.bridge) == (opened.default.subnet, opened.default.bridge)
    assert run("nft", "list", "ruleset").stdout == before
    with inside(process):
        assert pings(attachment.gateway)


def test_the_subnet_is_remembered_when_the_bridge_has_gone(opened, tag, files):
    netlink.send([netlink.delete_link(opened.default.bridge)])
    assert open_networks(tag, *files).default.subnet == opened.default.subnet


@pytest.mark.parametrize(
    "text",
    ["", '{"subnet": "10.', '{"subnet": "8.8.0.0/20"}', '{"subnet": 7}', "[]", '{"subnet": "10.0.0.0/8"}', '{"networks": [{}]}'],
)
def test_a_spoilt_state_file_is_written_anew(host, tag, files, text):
    with open(files[0], "w") as file:
        file.write(text)
    net = open_networks(tag, *files)
    assert net.default.subnet.prefixlen == 20
    with open(files[0]) as file:
        written = {"version": 1, "subnet": str(net.default.subnet), "prefix6": str(net.prefix6), "networks": []}
        assert json.load(file) == written


def test_a_remembered_subnet_that_now_clashes_is_given_up(opened, tag, files):
    old = opened.default.subnet
    netlink.send([netlink.delete_link(opened.default.bridge)])
    assert run("ip", "route", "add", "blackhole", str(old)).returncode == 0
    assert not open_networks(tag, *files).default.subnet.overlaps(old)


def test_a_subnet_in_use_is_kept_whatever_route_comes(opened, tag, files, sandbox):
    process, attachment = sandbox(opened)
    assert run("ip", "route", "add", "blackhole", "10.0.0.0/8").returncode == 0
    assert open_networks(tag, *files).default.subnet == opened.default.subnet
    with inside(process):
        assert pings(attachment.gateway)


def test_a_link_of_that_name_which_is_no_bridge_is_left_alone(host, tag, files):
    assert run("ip", "link", "add", f"tr{tag}", "type", "veth", "peer", "name", "other").returncode == 0
    with pytest.raises(Conflict):
        open_networks(tag, *files)
    assert networks.links(tag) == [f"tr{tag}"]


def test_a_full_disk_is_said_and_leaves_no_link(host, tag, tmp_path):
    note = str(tmp_path / "forwarding.json")
    full = tmp_path / "full"
    full.mkdir()
    assert run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(full)).returncode == 0
    try:
        (full / "rest").write_bytes(b"x" * 4096)
        with pytest.raises(KernelRefused, match="No space left"):
            open_networks(tag, str(full / "network.json"), note)
        assert [path.name for path in full.iterdir()] == ["rest"]
    finally:
        assert run("umount", str(full)).returncode == 0
    assert networks.links(tag) == []


def test_two_instances_live_side_by_side(world, tmp_path, sandbox):
    note = str(tmp_path / "forwarding.json")
    nets = [open_networks(tag, str(tmp_path / tag), note) for tag in ("0000aa", "0000bb")]
    assert not nets[0].default.subnet.overlaps(nets[1].default.subnet)
    (first, mine), (second, other) = (sandbox(net) for net in nets)
    with inside(first):
        assert pings(WORLD)
        assert not pings(other.address)
    networks.remove_networks("0000aa", str(tmp_path / "0000aa"), note)
    with inside(second):
        assert pings(WORLD)
        assert not pings(mine.address)
    networks.remove_networks("0000bb", str(tmp_path / "0000bb"), note)
    assert setting("up0") == "0"
    assert list(tmp_path.iterdir()) == []


def test_removing_leaves_nothing(world, tag, files, tmp_path, sandbox):
    net = open_networks(tag, *files)
    sandbox(net)
    assert setting("up0") == "1"
    networks.remove_networks(tag, *files)
    assert networks.links(tag) == []
    assert run("nft", "list", "ruleset").stdout == ""
    assert setting("up0") == "0"
    assert list(tmp_path.iterdir()) == []
    networks.remove_networks(tag, *files)  # again: no error


def test_forwarding_stays_on_when_somebody_made_the_host_a_router(world, tag, files):
    open_networks(tag, *files)
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("1")
    networks.remove_networks(tag, *files)
    assert setting("up0") == "1"


def test_rules_and_bridge_come_back_after_somebody_took_them(opened, tag, sandbox):
    run("nft", "flush", "ruleset")
    netlink.send([netlink.delete_link(opened.default.bridge)])
    process, attachment = sandbox(opened)
    assert f"table inet {firewall.table_name(tag)}" in run("nft", "list", "tables").stdout
    with inside(process):
        assert pings(attachment.gateway)


def test_addresses_go_round_and_never_twice(opened):
    used = set()
    for _ in range(network.MAX_PORTS):
        attachment = opened.attachment(used)
        assert attachment.address not in used
        assert IPv4Address(attachment.address) in opened.default.subnet
        assert attachment.address not in (opened.default.gateway, str(opened.default.subnet[0]), str(opened.default.subnet[-1]))
        assert len(attachment.link) <= 15
        used.add(attachment.address)
    with pytest.raises(Conflict, match="The network default is full") as told:
        opened.attachment(used)
    assert told.value.code == "network_full" and "another network" in told.value.hint
    opened.create("more")
    assert opened.attachment(used, "more").address not in used


def test_the_commands_shown_do_the_same(opened, spawn):
    attachment = opened.attachment(set())
    process = start_namespace(spawn)
    script = "set -e\n" + "\n".join(network.describe(attachment))
    done = subprocess.run(
        ["sh", "-c", script], env={"PID": str(process.pid), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, check=False
    )
    assert done.returncode == 0
    link = json.loads(run("ip", "-json", "-details", "link", "show", attachment.link).stdout)[0]
    assert link["linkinfo"]["info_slave_data"]["isolated"] is True
    with inside(process):
        assert pings(attachment.gateway)


def test_a_subnet_avoids_every_address_and_route(host):
    for command in (
        "link add a0 type veth peer name a1",
        "link set a0 up",
        "link set a1 up",
        "address add 10.128.0.1/9 dev a0",
        "route add 10.0.0.0/10 dev a0",
        "route add blackhole 10.64.0.0/11 table 77",
        "route add default dev a0",
    ):
        assert run("ip", *command.split()).returncode == 0, command
    taken = subnets.taken_networks(())
    assert {IPv4Network("10.128.0.0/9"), IPv4Network("10.0.0.0/10"), IPv4Network("10.64.0.0/11")} <= taken
    for tag in ("0000aa", "0000bb", "abcdef"):
        assert subnets.choose_subnet(tag, taken).subnet_of(IPv4Network("10.96.0.0/11"))


def test_a_link_gets_a_name_that_none_on_this_host_has(host, tag, monkeypatch):
    assert run("ip", "link", "add", f"tr{tag}-aaaaaa", "type", "veth", "peer", "name", "other").returncode == 0
    chance = iter(["aaaaaa", "bbbbbb"])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(chance))
    assert network.free_link(f"tr{tag}") == f"tr{tag}-bbbbbb"
