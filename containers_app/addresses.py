"""Visitors' addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """None for what is none. One of IPv4 is told as such by a socket for both too (``::ffff:192.0.2.1``)."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def holder(text: str) -> str:
    """Who has the address, as far as it tells: of IPv6 the /64, in which one customer picks any (RFC 6177, RFC 8981)."""
    address = read_address(text)
    return f"{int(address) >> 64:x}::/64" if isinstance(address, IPv6Address) else str(address or text)
