"""Which IPv4 networks this host uses, where its way out is, and a network that is still free.

All is read from the kernel by netlink, of the network namespace that the caller is in. Source: rtnetlink(7).
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from ..errors import Unsupported
from . import netlink

PREFIX = 20  # 4,093 sandboxes by address; a bridge takes 1,023 ports
POOLS = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"))
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


def read_addresses() -> list[tuple[int, IPv4Address, int]]:
    """(index of the link, address, prefix length) of every IPv4 address."""
    addresses = []
    for header, found in netlink.dump(netlink.RTM_GETADDR):
        _, prefix, _, _, index = struct.unpack_from("=BBBBi", header)
        raw = found.get(netlink.IFA_LOCAL) or found.get(netlink.IFA_ADDRESS)
        if raw is not None:
            addresses.append((index, IPv4Address(raw), prefix))
    return addresses


def taken_networks(except_link: int) -> set[IPv4Network]:
    """Every network that an address or a route of this host names, default routes and ``except_link``'s own aside."""
    taken = {IPv4Network((address, prefix), strict=False) for index, address, prefix in read_addresses() if index != except_link}
    for header, found in netlink.dump(netlink.RTM_GETROUTE):
        length = header[1]
        out = struct.unpack("=I", found[netlink.RTA_OIF])[0] if netlink.RTA_OIF in found else 0
        # Below /8 it is a default route cut in pieces (0.0.0.0/1 of a VPN), which leaves private networks to others.
        if length >= 8 and netlink.RTA_DST in found and out != except_link:
            taken.add(IPv4Network((IPv4Address(found[netlink.RTA_DST]), length), strict=False))
    return taken


def choose_subnet(tag: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first free /20 from a place that the tag decides, so that two instances don't look at the same one first."""
    taken = list(taken)
    for pool in POOLS:
        count = 1 << (PREFIX - pool.prefixlen)
        start = int.from_bytes(hashlib.sha256(tag.encode()).digest()[:4], "big") % count
        base = int(pool.network_address)
        relevant = [network for network in taken if network.overlaps(pool)]
        for step in range(count):
            subnet = IPv4Network((base + ((start + step) % count << (32 - PREFIX)), PREFIX))
            if not any(subnet.overlaps(network) for network in relevant):
                return subnet
    raise Unsupported(
        "This host's routes leave no private network free for sandboxes.",
        hint="Free a /20 in 10.0.0.0/8 or 172.16.0.0/12: look at ip route show table all.",
    )


_SAFE_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,15}", re.ASCII)


def uplinks(links: dict[int, Link]) -> list[str]:
    """The links that lead off this host: those with a default route, and hardware with an IPv4 address."""
    indexes = {index for index, _, _ in read_addresses() if index in links and not links[index].kind}
    for header, found in netlink.dump(netlink.RTM_GETROUTE):
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
