"""Ethernet frames made by hand, true or forged: RFC 826 (ARP), 791, 768, 8200 and 4861 (neighbour discovery)."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, ip_address

EVERYBODY, STRANGER = "ff:ff:ff:ff:ff:ff", "02:aa:bb:cc:dd:ee"
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ASK, ANSWER, SOLICIT, ADVERTISE = 1, 2, 135, 136
_UDP, _ICMPV6, _OVERRIDE, _PORT = 17, 58, 0x20000000, 9999


def frame(sender: str, receiver: str, kind: int, payload: bytes) -> bytes:
    return _mac(receiver) + _mac(sender) + struct.pack(">H", kind) + payload


def arp(operation: int, sender: str, address: str, asked: str) -> bytes:
    """``sender`` (a MAC address) has ``address``, and asks for ``asked`` or answers it."""
    head = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation)
    return head + _mac(sender) + packed(address) + bytes(6) + packed(asked)


def udp4(source: str, destination: str, port: int, text: bytes) -> bytes:
    body = struct.pack(">HHHH", _PORT, port, 8 + len(text), 0) + text  # without a checksum
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, _UDP, 0, packed(source), packed(destination))
    return header[:10] + struct.pack(">H", _checksum(header)) + header[12:] + body


def udp6(source: str, destination: str, port: int, text: bytes) -> bytes:
    body = struct.pack(">HHHH", _PORT, port, 8 + len(text), 0) + text
    body = body[:6] + struct.pack(">H", _checksum(_pseudo(source, destination, _UDP, body))) + body[8:]
    return _ipv6(source, destination, _UDP, body)


def discovery(kind: int, source: str, destination: str, target: str, sender: str, first: int = 58, before: bytes = b"") -> bytes:
    """A neighbour's question, or its advertisement that overrides; ``sender`` is its MAC address.

    ``before`` are extension headers, ``first`` the number of the first of them.
    """
    option = struct.pack(">BB", 1 if kind == SOLICIT else 2, 1) + _mac(sender)
    body = struct.pack(">BBHI", kind, 0, 0, _OVERRIDE if kind == ADVERTISE else 0) + packed(target) + option
    body = body[:2] + struct.pack(">H", _checksum(_pseudo(source, destination, _ICMPV6, body))) + body[4:]
    return _ipv6(source, destination, first, before + body)


def in_pieces(packet: bytes, size: int, before: bytes = b"") -> list[bytes]:
    """A packet of IPv6 in two fragments, the first of ``size`` bytes; ``before`` are destination options that it begins with."""
    found, content = [], before + packet[40:]
    first = 60 if before else packet[6]
    for offset, part in ((0, content[:size]), (size, content[size:])):
        header = struct.pack(">BBHI", first, 0, offset | (offset == 0), 77 + size + len(before))
        found.append(packet[:4] + struct.pack(">HB", 8 + len(part), 44) + packet[7:40] + header + part)
    return found


def link_local(mac: str) -> str:
    """RFC 4291, appendix A."""
    raw = _mac(mac)
    return str(IPv6Address(packed("fe80::")[:8] + bytes([raw[0] ^ 2]) + raw[1:3] + b"\xff\xfe" + raw[3:]))


def packed(address: str) -> bytes:
    return ip_address(address).packed


def _mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))


def _ipv6(source: str, destination: str, protocol: int, body: bytes) -> bytes:
    return struct.pack(">IHBB", 6 << 28, len(body), protocol, 255) + packed(source) + packed(destination) + body


def _pseudo(source: str, destination: str, protocol: int, body: bytes) -> bytes:
    return packed(source) + packed(destination) + struct.pack(">II", len(body), protocol) + body


def _checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
