"""One bridge network, and a sandbox's place on it: a veth with a MAC, an IPv4 and an IPv6 address, and no others.

Making a network takes about 20 ms once (see networks.py); after it a sandbox costs two netlink requests from the keeper
and a few from its own first process, all prepared here as bytes.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address

from ..errors import Conflict, KernelRefused
from . import netlink, subnets

DEFAULT = "default"  # the network of whoever names none
MAX_PORTS = 1023  # BR_MAX_PORTS: port 0 is the bridge itself
LINK_INSIDE = "eth0"
LINK_LOCAL = "fe80::1"  # from where a bridge asks for a sandbox's MAC address on behalf of a packet from elsewhere, RFC 4861
TAGGED = len("tr") + 6  # what the names of an instance's links have in common


@dataclass(frozen=True, slots=True)
class Attachment:
    """One sandbox's place on the bridge. ``link`` is the host's end of the veth; the other end is eth0 inside."""

    address: str
    prefix: int
    gateway: str
    mac: str
    link: str
    bridge: str
    address6: str = ""  # "" where the network has no IPv6
    prefix6: int = 0
    gateway6: str = ""
    isolated: bool = True


@dataclass(slots=True)
class Network:
    """``nat`` is a way out of this host; ``isolated`` keeps its sandboxes from each other."""

    name: str
    bridge: str
    subnet: IPv4Network
    subnet6: IPv6Network | None
    nat: bool = True
    isolated: bool = True
    _last: int = field(default=0, repr=False)

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    @property
    def gateway6(self) -> str:
        return str(self.subnet6[1]) if self.subnet6 is not None else ""

    def attachment(self, used: Collection[str]) -> Attachment:
        """A free address; ``used`` are the addresses that the sandboxes of this host have. Says so when the bridge is full.

        Addresses go round, so that one just given back is the last to be given again: its veth may not be gone yet.
        """
        if len(used) >= MAX_PORTS and sum(ip_address(address) in self.subnet for address in used) >= MAX_PORTS:
            raise self._full(f"The network {self.name} is full: a bridge takes {MAX_PORTS} sandboxes.")
        size = self.subnet.num_addresses - 3  # not the network's, the gateway's and the broadcast address
        for step in range(1, size + 1):
            number = (self._last + step) % size + 2
            if str(self.subnet[number]) not in used:
                self._last = number - 2
                return self._place(number)
        raise self._full(f"Every address of the network {self.name} is in use.")

    @staticmethod
    def _full(message: str) -> Conflict:
        return Conflict(message, hint="Make another network for the next ones, or remove a sandbox.", code="network_full")

    def again(self, had: Attachment, used: Collection[str]) -> Attachment:
        """The same address, unless the network has had to move meanwhile. The link's name is new each time:

        the kernel takes its time to reap the last run's network namespace with its link.
        """
        if ip_address(had.address) not in self.subnet:
            return self.attachment(used)
        return self._place(int(ip_address(had.address)) - int(self.subnet.network_address))

    def _place(self, number: int) -> Attachment:
        six = (str(self.subnet6[number]), self.subnet6.prefixlen, self.gateway6) if self.subnet6 is not None else ("", 0, "")
        link = free_link(self.bridge)
        mac = mac_address(self.subnet, number)
        return Attachment(
            str(self.subnet[number]), self.subnet.prefixlen, self.gateway, mac, link, self.bridge, *six, self.isolated
        )


def mac_address(subnet: IPv4Network, number: int) -> str:
    """Local (bit 1 of the first byte), and the same for an address each time: nobody's ARP entry goes stale.

    The firewall tells by it which addresses are a sandbox's own (spoofing.py).
    """
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x74, *subnet[number].packed))


def free_link(bridge: str) -> str:
    """A name that no link of this host has. There is room for 24 bits of chance: among a thousand two would be alike at times."""
    while link_index(link := f"{bridge[:TAGGED]}-{secrets.token_hex(3)}") is not None:
        pass
    return link


def link_index(link: str) -> int | None:
    try:
        return socket.if_nametoindex(link)
    except OSError:
        return None


# ── the bridge ───────────────────────────────────────────────────────────────────────────────────────────────────────


def ensure_bridge(network: Network) -> None:
    """Idempotent: a bridge with the network's addresses, up."""
    bridge = network.bridge
    link = subnets.read_links().get(link_index(bridge) or -1)
    if link is not None and link.kind != "bridge":
        raise Conflict(f"The link {bridge} exists and is not a bridge.", hint=f"Remove it: ip link delete {bridge}.")
    _add(netlink.new_bridge(bridge, mac_address(network.subnet, 1)), bridge)
    _settle_ipv6(bridge, on=network.subnet6 is not None)
    _add(netlink.new_address(bridge, network.gateway, network.subnet.prefixlen), bridge)
    if network.subnet6 is not None:
        _add(netlink.new_address(bridge, network.gateway6, network.subnet6.prefixlen), bridge)
        _add(netlink.new_address(bridge, LINK_LOCAL, 64), bridge)
    _add(netlink.link_up(bridge), bridge)


def _add(message: bytes, bridge: str) -> None:
    try:
        netlink.send([message])
    except OSError as error:
        if error.errno != errno.EEXIST:
            hint = "The kernel needs CONFIG_BRIDGE (modprobe bridge)." if error.errno == errno.EOPNOTSUPP else ""
            raise KernelRefused(f"The bridge {bridge} can't be set up: {error.strerror}.", hint=hint) from None


def _settle_ipv6(bridge: str, on: bool) -> None:
    """Only the addresses that we give, and no router to listen to."""
    directory = f"/proc/sys/net/ipv6/conf/{bridge}"
    wanted = {"accept_ra": "0", "addr_gen_mode": "1"} if on else {}
    for name, value in (wanted | {"disable_ipv6": "0" if on else "1"}).items():
        if os.path.exists(f"{directory}/{name}"):
            with open(f"{directory}/{name}", "w", encoding="ascii") as file:
                file.write(value)


def describe_bridge(network: Network) -> list[str]:
    """The shell commands that make the bridge; the firewall's rules are shown by ``nft list ruleset``."""
    bridge = network.bridge
    lines = [
        f"ip link add {bridge} address {mac_address(network.subnet, 1)} type bridge mcast_snooping 0",
        f"ip address add {network.gateway}/{network.subnet.prefixlen} broadcast + dev {bridge}",
    ]
    if network.subnet6 is not None:
        lines += [
            f"sysctl -w net.ipv6.conf.{bridge}.accept_ra=0 net.ipv6.conf.{bridge}.addr_gen_mode=1",
            f"ip address add {network.gateway6}/{network.subnet6.prefixlen} dev {bridge} nodad",
            f"ip address add {LINK_LOCAL}/64 dev {bridge} nodad",
        ]
    return [*lines, f"ip link set {bridge} up"]


# ── a sandbox's link ─────────────────────────────────────────────────────────────────────────────────────────────────


def link_message(attachment: Attachment) -> tuple[bytes, int]:
    """For the keeper: the request, and where in it the child's pid goes as four bytes in native order."""
    index = link_index(attachment.bridge)
    if index is None:
        raise KernelRefused(f"The bridge {attachment.bridge} has gone.", hint="Start the sandbox again; it is made anew.")
    return netlink.new_veth(attachment.link, index, LINK_INSIDE, attachment.mac, attachment.isolated)


def guard(attachment: Attachment) -> None:
    """The port of a sandbox that runs, as ``link_message`` makes it: an earlier version of the panel left it open. OSError."""
    netlink.send([netlink.guard_port(attachment.link, attachment.mac, attachment.isolated)])


def inside_messages(attachment: Attachment) -> list[bytes]:
    """For the sandbox's first process, in its own network namespace."""
    address = netlink.new_address(LINK_INSIDE, attachment.address, attachment.prefix)
    messages = [*loopback_messages(), address, netlink.link_up(LINK_INSIDE), netlink.default_route(attachment.gateway)]
    if attachment.address6:
        messages.append(netlink.new_address(LINK_INSIDE, attachment.address6, attachment.prefix6))
        messages.append(netlink.default_route(attachment.gateway6))
    return messages


def loopback_messages() -> list[bytes]:
    """All that mode "none" has. A new network namespace begins with "lo" down; programs talk to themselves by it."""
    return [netlink.link_up("lo")]


def describe_link(attachment: Attachment) -> list[str]:
    """The shell commands of ``link_message``; $PID is the sandbox's first process."""
    queues = "numtxqueues 1 numrxqueues 1"
    peer = f"peer name {LINK_INSIDE} address {attachment.mac} {queues} netns $PID"
    quiet = [f"ip link set {attachment.link} addrgenmode none"] if netlink.HAS_IPV6 else []
    port = f"isolated {'on' if attachment.isolated else 'off'} learning off flood off locked on"
    return [
        f"ip link add {attachment.link} {queues} master {attachment.bridge} type veth {peer}",
        *quiet,
        f"ip link set {attachment.link} up type bridge_slave {port} group_fwd_mask {netlink.ALL_GROUPS:#x}",
        f"bridge fdb replace {attachment.mac} dev {attachment.link} master static",
    ]


def describe_inside(attachment: Attachment) -> list[str]:
    """The shell commands of ``inside_messages``, as seen from the host."""
    inside = "nsenter --target $PID --net ip"
    lines = [
        *describe_loopback(),
        f"{inside} address add {attachment.address}/{attachment.prefix} broadcast + dev {LINK_INSIDE}",
        f"{inside} link set {LINK_INSIDE} up",
        f"{inside} route add default via {attachment.gateway}",
    ]
    if attachment.address6:
        conf = f"net.ipv6.conf.{LINK_INSIDE}"
        lines.insert(1, f"nsenter --target $PID --net sysctl -w {conf}.accept_ra=0 {conf}.addr_gen_mode=1")
        lines.append(f"{inside} address add {attachment.address6}/{attachment.prefix6} dev {LINK_INSIDE} nodad")
        lines.append(f"{inside} route add default via {attachment.gateway6}")
    return lines


def describe_loopback() -> list[str]:
    return ["nsenter --target $PID --net ip link set lo up"]


def describe(attachment: Attachment) -> list[str]:
    return describe_link(attachment) + describe_inside(attachment)
