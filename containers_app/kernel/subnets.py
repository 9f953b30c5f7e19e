"""Which IP networks this host uses, where its way out is, and a network that is still free.

All is read from the kernel by netlink, of the network namespace that the caller is in. Source: rtnetlink(7).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..errors import Unsupported
from . import netlink

PREFIX = 20  # 4,093 sandboxes by address; a bridge takes 1,023 ports
POOLS = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"))
LOCAL6 = IPv6Network("fd00::/8")  # RFC 4193: whoever needs a network of his own takes a random /48 of it
PREFIX6 = 64
Subnet = IPv4Network | IPv6Network
ARPHRD_LOOPBACK = 772
RTA_MULTIPATH = 9


@dataclass(frozen=True, slots=True)
class Link:
    """A link of this namespace; ``kind`` is "" for hardware, else what made it (bridge, veth, …)."""

    name: str
    index: int
    kind: str
    loopback: bool
    master: int


def read_links() -> dict[int, Link]:
    links: dict[int, Link] = {}
    for header, found in netlink.dump(netlink.RTM_GETLINK):
        _, hardware, index = struct.unpack_from("=BxHi", header)
        info = netlink.attributes(found.get(netlink.IFLA_LINKINFO, b""))
        master = struct.unpack("=I", found[netlink.IFLA_MASTER])[0] if netlink.IFLA_MASTER in found else 0
        name, kind = _text(found[netlink.IFLA_IFNAME]), _text(info.get(netlink.IFLA_INFO_KIND, b""))
        links[index] = Link(name, index, kind, hardware == ARPHRD_LOOPBACK, master)
    return links


def read_addresses(family: int = socket.AF_INET) -> list[tuple[int, IPv4Address | IPv6Address, int]]:
    """(index of the link, address, prefix length) of every address of a family."""
    addresses = []
    for header, found in netlink.dump(netlink.RTM_GETADDR, family):
        _, prefix, _, _, index = struct.unpack_from("=BBBBi", header)
        raw = found.get(netlink.IFA_LOCAL) or found.get(netlink.IFA_ADDRESS)
        if raw is not None:
            addresses.append((index, ip_address(raw), prefix))
    return addresses


def taken_networks(except_links: Collection[int]) -> set[Subnet]:
    """Every network that an address or a route of this host names, but default routes and those of ``except_links``."""
    taken: set[Subnet] = set()
    # Below /8 it is a default route cut in pieces (0.0.0.0/1 of a VPN), which leaves private networks to others.
    for family, least in ((socket.AF_INET, 8), (socket.AF_INET6, 8)):
        taken.update(
            ip_network((address, prefix), strict=False)
            for index, address, prefix in read_addresses(family)
            if index not in except_links
        )
        for header, found in netlink.dump(netlink.RTM_GETROUTE, family):
            length = header[1]
            out = struct.unpack("=I", found[netlink.RTA_OIF])[0] if netlink.RTA_OIF in found else 0
            if length >= least and netlink.RTA_DST in found and out not in except_links:
                taken.add(ip_network((ip_address(found[netlink.RTA_DST]), length), strict=False))
    return taken


def overlapping(subnet: IPv4Network | IPv6Network, taken: Iterable[Subnet]) -> IPv4Network | IPv6Network | None:
    """The first of ``taken`` that shares an address with ``subnet``."""
    for network in taken:
        if isinstance(subnet, IPv4Network) and isinstance(network, IPv4Network) and subnet.overlaps(network):
            return network
        if isinstance(subnet, IPv6Network) and isinstance(network, IPv6Network) and subnet.overlaps(network):
            return network
    return None


def no_ipv6() -> str:
    """Why this host's kernel gives no IPv6 address, "" if it does."""
    try:
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", encoding="ascii") as file:
            return "IPv6 is off on this host: net.ipv6.conf.all.disable_ipv6 is 1." if file.read().strip() == "1" else ""
    except FileNotFoundError:
        return "The kernel has no IPv6."


def choose_prefix6(taken: Iterable[Subnet]) -> IPv6Network:
    """A random /48 of the local addresses, as RFC 4193 (3.2) has it, that nothing here uses."""
    taken = list(taken)
    while True:
        prefix = IPv6Network((int(LOCAL6.network_address) | secrets.randbits(40) << 80, 48))
        if overlapping(prefix, taken) is None:
            return prefix


def choose_subnet(tag: str, taken: Iterable[Subnet]) -> IPv4Network:
    """The first free /20 from a place that the tag decides, so that two instances don't look at the same one first."""
    taken = list(taken)
    for pool in POOLS:
        count = 1 << (PREFIX - pool.prefixlen)
        start = int.from_bytes(hashlib.sha256(tag.encode()).digest()[:4], "big") % count
        base = int(pool.network_address)
        relevant = [network for network in taken if overlapping(pool, [network])]
        for step in range(count):
            subnet = IPv4Network((base + ((start + step) % count << (32 - PREFIX)), PREFIX))
            if overlapping(subnet, relevant) is None:
                return subnet
    raise Unsupported(
        "This host's routes leave no private network free for sandboxes.",
        hint="Free a /20 in 10.0.0.0/8 or 172.16.0.0/12: look at ip route show table all.",
    )


_SAFE_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,15}", re.ASCII)


def uplinks(links: dict[int, Link], family: int = socket.AF_INET) -> list[str]:
    """The links that lead off this host: those with a default route, and hardware with an address of that family."""
    indexes = {
        index
        for index, address, _ in read_addresses(family)
        if index in links and not links[index].kind and not (address.version == 6 and address.is_link_local)
    }
    for header, found in netlink.dump(netlink.RTM_GETROUTE, family):
        length, table, kind = header[1], header[4], header[7]
        if length or table != netlink.RT_TABLE_MAIN or kind != netlink.RTN_UNICAST:
            continue
        if netlink.RTA_OIF in found:
            indexes.add(struct.unpack("=I", found[netlink.RTA_OIF])[0])
        hops, at = found.get(RTA_MULTIPATH, b""), 0
        while at + 8 <= len(hops):  # struct rtnexthop: length, flags, hops, index
            size, index = struct.unpack_from("=HxxI", hops, at)
            indexes.add(index)
            at += max((size + 3) & ~3, 8)
    known = (links[index] for index in indexes if index in links)
    # The names go into firewall rules; one with a quote or a space in it can't be written there.
    return sorted(link.name for link in known if not link.loopback and _SAFE_NAME.fullmatch(link.name))


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")
