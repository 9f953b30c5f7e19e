"""What a sandbox may say of itself: frames made by hand in its network namespace, and what host and neighbours make of them."""

import json
import secrets
import socket
import time
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from containers_app.kernel import netlink, network, networks
from tests.frames import (
    ADVERTISE,
    ANSWER,
    ARP,
    ASK,
    EVERYBODY,
    IPV4,
    IPV6,
    SOLICIT,
    STRANGER,
    arp,
    discovery,
    frame,
    link_local,
    packed,
    udp4,
    udp6,
)
from tests.kernel.netns import attach, fresh_host, inside, pings, run, start_namespace


@pytest.fixture
def opened(tmp_path):
    with fresh_host():
        found = networks.open_networks(secrets.token_hex(3), str(tmp_path / "network.json"), str(tmp_path / "forwarding.json"))
        found.assert_rules()
        yield found
        networks.remove_networks(found.tag, found.state_file, found.note)
        assert networks.links(found.tag) == [] and run("nft", "list", "ruleset").stdout == ""


@pytest.fixture
def sandbox(opened, spawn):
    """Attach a new network namespace: (process, attachment)."""
    used = set()

    def start(name=""):
        attachment = opened.attachment(used, name)
        used.add(attachment.address)
        process = start_namespace(spawn)
        attach(process, attachment)
        return process, attachment

    return start


@pytest.fixture
def pair(sandbox):
    """The attacker and the victim, whom the host knows: ((process, attachment), (process, attachment))."""
    attacker, victim = sandbox(), sandbox()
    for _, place in (attacker, victim):
        assert reaches(place.address) and reaches(place.address6)
    return attacker, victim


def reaches(address):
    """A new link may take the kernel a second to notice."""
    family = "-6" if ":" in address else "-4"
    return any(run("busybox", "ping", family, "-c", "1", "-W", "2", address).returncode == 0 for _ in range(5))


def send(process, *frames):
    with inside(process), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((network.LINK_INSIDE, 0))
        for one in frames:
            out.send(one)


@contextmanager
def listening(process, kind):
    """``seen(part)``: whether a frame with those bytes has come to the sandbox's link."""
    with inside(process):
        taken = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
    with taken:
        taken.setblocking(False)

        def seen(part):
            try:
                while True:
                    if part in taken.recv(65536):
                        return True
            except BlockingIOError:
                return False

        yield seen


def entries(opened):
    """The bridge's forwarding entries, but the kernel's own: MAC address → (port, whether it is static)."""
    shown = json.loads(run("bridge", "-json", "fdb", "show", "br", opened.default.bridge).stdout)
    return {one["mac"]: (one["ifname"], one["state"]) for one in shown if one.get("state") != "permanent"}


def neighbours(opened):
    """The host's: address → MAC address."""
    shown = json.loads(run("ip", "-json", "neighbour", "show", "dev", opened.default.bridge).stdout)
    return {one["dst"]: one.get("lladdr") for one in shown}


def test_each_port_has_one_entry_of_its_own(opened, pair):
    assert entries(opened) == {place.mac: (place.link, "static") for _, place in pair}
    for _, place in pair:
        port = json.loads(run("ip", "-json", "-details", "link", "show", place.link).stdout)[0]["linkinfo"]["info_slave_data"]
        wanted = {"isolated": True, "learning": False, "flood": False, "locked": True, "group_fwd_mask": "0xfffd"}
        assert {name: port[name] for name in wanted} == wanted


def test_frames_under_anothers_mac_move_no_entry_and_take_no_traffic(opened, pair):
    (process, own), (_, victim) = pair
    before = entries(opened)
    forged = [
        frame(victim.mac, receiver, IPV4, udp4(victim.address, own.gateway, 9, b"forged")) for receiver in (EVERYBODY, STRANGER)
    ]
    with listening(process, IPV4) as seen:
        send(process, *forged)
        assert entries(opened) == before
        assert reaches(victim.address)
        assert not seen(packed(victim.address))


def test_a_flood_of_macs_makes_no_entries(opened, pair):
    (process, own), (_, victim) = pair
    before, known = entries(opened), neighbours(opened)
    forged = []
    for number in range(5000):
        sender = f"02:99:00:00:{number >> 8:02x}:{number & 0xFF:02x}"
        forged.append(frame(sender, EVERYBODY, ARP, arp(ASK, sender, str(IPv4Address(own.address) + number % 64), own.gateway)))
    send(process, *forged)
    assert entries(opened) == before and neighbours(opened) == known
    assert reaches(own.address) and reaches(victim.address)


@pytest.mark.parametrize("receiver", [EVERYBODY, "bridge", "01:80:c2:00:00:00", "01:80:c2:00:00:02", "01:80:c2:00:00:0e"])
@pytest.mark.parametrize("operation", [ASK, ANSWER])
@pytest.mark.parametrize("gratuitous", [True, False])
def test_forged_arp_changes_no_neighbour_of_the_host(opened, pair, receiver, operation, gratuitous):
    (process, own), (_, victim) = pair
    before = neighbours(opened)
    assert before[victim.address] == victim.mac
    to = network.mac_address(opened.default.subnet, 1) if receiver == "bridge" else receiver
    asked = victim.address if gratuitous else own.gateway
    with listening(process, IPV4) as seen:
        send(
            process,
            frame(own.mac, to, ARP, arp(operation, own.mac, victim.address, asked)),
            frame(own.mac, to, ARP, arp(operation, victim.mac, own.address, asked)),
            frame(victim.mac, to, ARP, arp(operation, own.mac, victim.address, asked)),
            frame(own.mac, to, ARP, arp(operation, STRANGER, victim.address, asked)),
        )
        assert neighbours(opened) == before
        assert reaches(victim.address)
        assert not seen(packed(victim.address))
    everywhere = run("ip", "neighbour", "show").stdout
    assert everywhere.count(victim.address) == everywhere.count(own.address) == 1


def test_forged_advertisements_change_no_neighbour_of_the_host(opened, pair):
    (process, own), (_, victim) = pair
    before = neighbours(opened)
    assert before[victim.address6] == victim.mac
    padding, fragment = bytes([58, 0, 1, 4, 0, 0, 0, 0]), bytes([58, 0, 0, 0, 0, 0, 0, 1])  # the one that is first and last
    before_it = ((58, b""), (0, padding), (60, padding), (44, fragment), (0, b"\x2c" + padding[1:] + fragment))
    bridge = network.mac_address(opened.default.subnet, 1)
    with listening(process, IPV6) as seen:
        for source in (own.address6, victim.address6, link_local(own.mac), "::"):
            for extensions in before_it:
                for kind in (ADVERTISE, SOLICIT):
                    target = victim.address6 if kind == ADVERTISE else own.gateway6
                    if kind == SOLICIT and source != victim.address6:
                        continue  # his own to ask
                    said = discovery(kind, source, own.gateway6, target, own.mac, *extensions)
                    send(process, *(frame(own.mac, to, IPV6, said) for to in (bridge, "33:33:00:00:00:01")))
        assert neighbours(opened) == before
        assert reaches(victim.address6)
        assert not seen(packed(victim.address6))


@contextmanager
def service(address):
    """Datagrams to the host's own address, ahead of its rules: what comes in by the bridge or by the port itself."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((address, 0))
        server.settimeout(0.3)
        yield server


def let_in(opened):
    """The firewall's rules for the host away: that a packet is dropped must not be their doing."""
    assert run("nft", "flush", "chain", "inet", f"terrarium_{opened.tag}", "input").returncode == 0


def tagged(payload, kind, times):
    """The type and the payload of a frame with as many tags of priority (IEEE 802.1Q), which a receiver takes off."""
    tags = (b"\0\0\x81\0" * times)[:-2] + kind.to_bytes(2, "big")
    return 0x8100, tags + payload


def test_packets_with_anothers_source_address_are_dropped(opened, pair):
    (process, own), (_, victim) = pair
    let_in(opened)
    bridge = network.mac_address(opened.default.subnet, 1)
    free, free6 = (str(ip_address(int(ip_address(address)) ^ 0x800)) for address in (own.address, own.address6))
    with service(own.gateway) as server:
        port = server.getsockname()[1]
        for sender, source in (
            (own.mac, victim.address), (victim.mac, victim.address), (own.mac, free), (own.mac, "192.0.2.1"),
            (own.mac, own.gateway), (own.mac, "0.0.0.0"), (STRANGER, own.address),
        ):  # fmt: skip
            send(process, frame(sender, bridge, IPV4, udp4(source, own.gateway, port, b"forged")))
        for tags in (1, 2, 3):
            send(process, frame(own.mac, bridge, *tagged(udp4(victim.address, own.gateway, port, b"forged"), IPV4, tags)))
        with pytest.raises(TimeoutError):
            server.recv(100)
        send(process, frame(own.mac, bridge, IPV4, udp4(own.address, own.gateway, port, b"true")))
        assert server.recv(100) == b"true"
    with service(own.gateway6) as server:
        port = server.getsockname()[1]
        for sender, source in (
            (own.mac, victim.address6), (victim.mac, victim.address6), (own.mac, free6), (own.mac, "2001:db8::1"),
            (own.mac, own.gateway6), (own.mac, link_local(victim.mac)), (own.mac, "::"), (STRANGER, own.address6),
        ):  # fmt: skip
            send(process, frame(sender, bridge, IPV6, udp6(source, own.gateway6, port, b"forged")))
        with pytest.raises(TimeoutError):
            server.recv(100)
        send(process, frame(own.mac, bridge, IPV6, udp6(own.address6, own.gateway6, port, b"true")))
        assert server.recv(100) == b"true"


@pytest.mark.parametrize("group", [0x00, 0x02, 0x03, 0x0E, 0x0F])
def test_a_frame_to_a_link_local_group_does_not_get_past_the_firewall(opened, pair, group):
    """The bridge would leave it to the port's own link, of which no rule knows."""
    (process, own), _ = pair
    with service(own.gateway) as server:
        port = server.getsockname()[1]
        send(process, frame(own.mac, f"01:80:c2:00:00:{group:02x}", IPV4, udp4(own.address, own.gateway, port, b"by the port")))
        with pytest.raises(TimeoutError):
            server.recv(100)


def test_other_protocols_are_dropped(opened, sandbox):
    opened.create("together", isolated=False)
    (process, own), (other, there) = sandbox("together"), sandbox("together")
    with listening(other, 0x0003) as seen:
        send(
            process,
            frame(own.mac, there.mac, 0x88B5, b"experimental" * 5),
            frame(own.mac, EVERYBODY, 0x8100, bytes(4) + b"x" * 60),
        )
        with inside(process):
            assert reaches(there.address)
        assert not seen(b"experimental")


def test_those_that_are_together_talk_and_do_not_lie_to_each_other(opened, sandbox):
    opened.create("together", isolated=False)
    (process, own), (_, his), (third, its) = (sandbox("together") for _ in range(3))
    with inside(third):
        assert reaches(his.address) and reaches(his.address6)  # by broadcast and multicast: nobody knew him
        before = run("ip", "neighbour", "show", "dev", "eth0").stdout
        assert his.mac in before
    with listening(process, IPV4) as seen, listening(process, IPV6) as seen6:
        said = [
            frame(own.mac, receiver, ARP, arp(operation, own.mac, his.address, asked))
            for receiver in (its.mac, EVERYBODY)
            for operation in (ASK, ANSWER)
            for asked in (his.address, its.address)
        ]
        said += [frame(his.mac, EVERYBODY, ARP, arp(ASK, his.mac, his.address, its.address))]
        said += [
            frame(own.mac, its.mac, IPV6, discovery(ADVERTISE, source, its.address6, his.address6, own.mac))
            for source in (own.address6, his.address6, link_local(own.mac), "::")
        ]
        send(process, *said)
        with inside(third):
            for address in (his.address, his.address6):
                shown = run("ip", "neighbour", "show", address, "dev", "eth0").stdout
                assert his.mac in shown, shown
            assert reaches(his.address) and reaches(his.address6)
        assert not seen(packed(its.address)) and not seen6(packed(his.address6) + packed(its.address6))


def take_link_local(process, place):
    """The test's namespaces may have got it from the kernel already."""
    with inside(process):
        assert run("ip", "address", "replace", f"{link_local(place.mac)}/64", "dev", "eth0").returncode == 0
        wait_until(lambda shown: "tentative" not in shown)


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition(shown := run("ip", "-6", "address", "show", "dev", "eth0").stdout):
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)


def test_a_link_local_address_and_the_question_whether_an_address_is_free_work(opened, sandbox):
    opened.create("together", isolated=False)
    (first, own), (second, there) = sandbox("together"), sandbox("together")
    for process, place in ((first, own), (second, there)):
        take_link_local(process, place)
    with inside(first):
        assert reaches(f"{link_local(there.mac)}%eth0")
        assert run("ip", "address", "add", f"{there.address6}/64", "dev", "eth0").returncode == 0  # the other has that one
        wait_until(lambda shown: "dadfailed" in shown)


def test_long_packets_come_in_pieces_by_both_families(opened, pair):
    (_, own), _ = pair
    for address in (own.address, own.address6):
        assert run("busybox", "ping", "-c", "1", "-W", "5", "-s", "9000", address).returncode == 0


def test_whoever_changes_his_mac_has_no_network_until_he_changes_it_back(opened, pair):
    (process, own), (_, victim) = pair
    before = entries(opened)
    with inside(process):
        for address in (STRANGER, victim.mac):
            for words in (("down",), ("address", address), ("up",)):
                assert run("ip", "link", "set", "eth0", *words).returncode == 0
            assert not pings(own.gateway)
    assert reaches(victim.address) and entries(opened) == before
    with inside(process):
        for words in (("down",), ("address", own.mac), ("up",)):
            assert run("ip", "link", "set", "eth0", *words).returncode == 0
        netlink.send([netlink.default_route(own.gateway)])
        assert reaches(own.gateway)


def test_what_is_for_somebody_who_has_gone_goes_to_nobody(opened, pair):
    (process, own), (_, victim) = pair
    with listening(process, IPV4) as seen:
        netlink.send([netlink.delete_link(victim.link)])
        assert victim.mac not in entries(opened)
        assert not pings(victim.address)  # the host still knows his MAC address
        assert reaches(own.address)
        assert not seen(packed(victim.address))


def test_the_next_run_takes_over_its_address_while_the_last_ones_link_is_there(opened, sandbox, spawn):
    _, first = sandbox()
    process = start_namespace(spawn)
    second = opened.default.again(first, {first.address})
    attach(process, second)
    assert second.mac == first.mac and entries(opened) == {second.mac: (second.link, "static")}
    assert reaches(second.address)
    netlink.send([netlink.delete_link(first.link)])
    assert entries(opened) == {second.mac: (second.link, "static")} and reaches(second.address)


@pytest.mark.parametrize(
    ("subnet", "subnet6"), [("10.77.0.0/29", ""), ("10.78.16.0/22", "fd77::ab:0/112"), ("172.16.0.0/12", "")]
)
def test_networks_of_every_size_have_it(opened, sandbox, subnet, subnet6):
    made = opened.create("other", subnet, subnet6, isolated=False)
    made._last = made.subnet.num_addresses // 2 if made.subnet.prefixlen < 29 else 0
    if subnet6:
        made._last = 700
    (process, own), (other, there) = sandbox("other"), sandbox("other")
    assert reaches(own.address) and reaches(own.address6)
    with inside(process):
        assert reaches(there.address) and reaches(there.address6) and reaches(own.gateway)
    take_link_local(process, own)
    take_link_local(other, there)
    with inside(other):
        assert reaches(f"{link_local(own.mac)}%eth0")
    let_in(opened)
    bridge = network.mac_address(made.subnet, 1)
    with service(own.gateway) as server:
        port = server.getsockname()[1]
        for bit in range(32):
            source = str(IPv4Address(int(IPv4Address(own.address)) ^ 1 << bit))
            send(process, frame(own.mac, bridge, IPV4, udp4(source, own.gateway, port, b"forged")))
        with pytest.raises(TimeoutError):
            server.recv(100)
    with service(own.gateway6) as server:
        port = server.getsockname()[1]
        for bit in range(128):
            source = str(IPv6Address(int(IPv6Address(own.address6)) ^ 1 << bit))
            send(process, frame(own.mac, bridge, IPV6, udp6(source, own.gateway6, port, b"forged")))
        with pytest.raises(TimeoutError):
            server.recv(100)
