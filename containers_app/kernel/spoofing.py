"""What a sandbox's port lets in: frames from its own addresses only. A table of the bridge family, without state of any sandbox.

    frame to the bridge's port     from a MAC address that is not the port's   dropped, by the port itself (netlink.guard_port)
                                   IPv4, ARP, IPv6 from another's address      dropped here, before bridge and host act on it
                                   an advertisement of another's IPv6 address  dropped here
                                   anything else than IPv4, ARP and IPv6       dropped here

A port is bound to one MAC address, and that tells the other addresses (network.mac_address): it holds the IPv4 address, the last
bits of the IPv6 address are those of the IPv4 address, and so are those of the link-local one that a program may take (RFC 4291,
appendix A). So the rules of a network hold for all of its sandboxes, and a launch changes none. nft can't compare two fields of a
packet, but look up whether two bytes together are in the set ``same``, which has every byte with itself.
ARP tells the sender's addresses once more, neighbour advertisements a target: those are what neighbour tables are made of.
Of a packet in pieces the first must show what it is (RFC 7112), the others pass: kernels refuse advertisements in pieces (RFC
6980), but not those that connection tracking has put together before.
Sources: nft(8), RFC 826, RFC 4861.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Network

from .network import Network, mac_address

# The offset in bits of a field's last byte, and from which header it counts: link, network or transport.
_MAC, _IPV4, _ARP, _ARP_MAC, _IPV6, _ADVERTISED = 88, ("nh", 120), ("nh", 136), ("nh", 104), ("nh", 184), ("th", 184)
_TARGET = 64  # of an advertisement's first byte
# Who asks whether an address is free has none yet; without one a kernel tells which groups it is in, too (RFC 3590).
_WITHOUT_ADDRESS = "nd-neighbor-solicit, mld-listener-report, mld-listener-done, mld2-listener-report"


def rules(table: str, ports: str, networks: Sequence[Network]) -> list[str]:
    """Lines for ``nft -f`` that replace the table. ``ports`` is what the names of the sandboxes' ports begin with."""
    lines = [f"table bridge {table}", f"delete table bridge {table}", f"table bridge {table} {{"]
    bytes_alike = ", ".join(f"{byte} . {byte}" for byte in range(256))
    lines.append(f"    set same {{ typeof @ll,88,8 . @nh,120,8; flags constant; elements = {{ {bytes_alike} }}; }}")
    for network in networks:
        chain = network.bridge.replace("-", "_")
        lines += [f"    chain advertise_{chain} {{", *_indented(_advertise(network)), "    }"]
        lines += [f"    chain from_{chain} {{", *_indented(_from(network, f"advertise_{chain}")), "    }"]
    base = [f'iifname != "{ports}*" accept']
    base += [f"ether saddr {_macs(network)} goto from_{network.bridge.replace('-', '_')}" for network in networks]
    lines += ["    chain port {", "        type filter hook prerouting priority filter; policy accept;"]
    return [*lines, *_indented([*base, "drop"]), "    }", "}"]


def _from(network: Network, advertise: str) -> list[str]:
    """The chain of what comes from a MAC address of the network."""
    whole = _whole_bytes(network)
    sender = f"arp saddr ether {_macs(network)} arp saddr ip {network.subnet} {_same(_ARP_MAC, whole)} {_same(_ARP, whole)}"
    accepted = [f"ip saddr {network.subnet} {_same(_IPV4, whole)} accept", f"arp htype 1 {sender} accept"]
    for prefix, bits in _prefixes(network):
        accepted.append(f"ip6 saddr {prefix} {_same(_IPV6, bits)} goto {advertise}")
    return [*accepted, f"ip6 saddr :: icmpv6 type {{ {_WITHOUT_ADDRESS} }} accept", "drop"]


def _advertise(network: Network) -> list[str]:
    """The chain of IPv6 from an address of its own: what it advertises must be one, too."""
    accepted = ["frag frag-off != 0 accept", "meta l4proto != icmpv6 accept", "icmpv6 type != nd-neighbor-advert accept"]
    for prefix, bits in _prefixes(network):
        length = prefix.prefixlen
        target = f"@th,{_TARGET},{length} {int(prefix.network_address) >> 128 - length:#x}"
        accepted.append(f"icmpv6 type nd-neighbor-advert {target} {_same(_ADVERTISED, bits)} accept")
    return [*accepted, "drop"]


def _macs(network: Network) -> str:
    """All MAC addresses of the network, as what follows a field of six bytes."""
    mask = f"{(1 << 48) - network.subnet.num_addresses:012x}"
    return f"& {':'.join(mask[at : at + 2] for at in range(0, 12, 2))} == {mac_address(network.subnet, 0)}"


def _whole_bytes(network: Network) -> int:
    """Those last bits of an IPv4 address in which the network's differ, and what more their bytes have."""
    return (1 << (39 - network.subnet.prefixlen) // 8 * 8) - 1


def _prefixes(network: Network) -> list[tuple[IPv6Network, int]]:
    """What the IPv6 addresses of its sandboxes begin with, and which last bits of their MAC addresses they end with."""
    length = 96 + network.subnet.prefixlen
    a, b, c, d = network.subnet[0].packed
    local = IPv6Network((0xFE80 << 112 | 0x74 << 48 | a << 40 | 0xFFFE << 24 | b << 16 | c << 8 | d, length))
    if network.subnet6 is None:
        return [(local, _whole_bytes(network))]
    own = IPv6Network((network.subnet6[0], max(length, network.subnet6.prefixlen)))
    return [(own, own.num_addresses - 1), (local, _whole_bytes(network))]


def _same(field: tuple[str, int], bits: int) -> str:
    """That a field ends with those ``bits`` of the frame's MAC address, byte by byte from the last."""
    pairs = []
    for step in range(0, bits.bit_length(), 8):
        byte = bits >> step & 0xFF
        mac = f"@ll,{_MAC - step},8" + ("" if byte == 0xFF else f" & {byte:#x}")
        pairs.append(f"{mac} . @{field[0]},{field[1] - step},8 @same")
    return " ".join(pairs)


def _indented(rules: Iterable[str]) -> list[str]:
    return [f"        {rule}" for rule in rules]
