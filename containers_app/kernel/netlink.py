"""Route netlink by hand: build requests as bytes, send them, read dumps. Standard library only; the keeper runs this.

A request is a ``struct nlmsghdr`` (length, type, flags, sequence, port), a fixed header that depends on the type, and
attributes (length, type, payload, padded to 4 bytes), which nest. Sources: netlink(7), rtnetlink(7),
linux/if_link.h, linux/if_bridge.h, linux/neighbour.h, linux/veth.h. Building a sandbox's messages takes under 0.1 ms.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE = 16, 17, 18, 20, 22, 24, 26
RTM_NEWNEIGH = 28
NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO, NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_DUMP = (
    0x1,
    0x4,
    0x8,
    0x100,
    0x200,
    0x400,
    0x300,
)
NLMSG_ERROR, NLMSG_DONE, NLM_F_ACK_TLVS, NLMSGERR_ATTR_MSG = 2, 3, 0x200, 1
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11

IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_PID = 1, 3, 5, 10, 18, 19
IFLA_AF_SPEC, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 26, 31, 32
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BR_MCAST_SNOOPING, VETH_INFO_PEER = 23, 1
IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_GROUP_FWD_MASK, IFLA_BRPORT_ISOLATED, IFLA_BRPORT_LOCKED = (
    8,
    9,
    31,
    33,
    39,
)
ALL_GROUPS = 0xFFFD  # of the 16 link-local groups of IEEE 802.1D, all but Pause, which no bridge passes on
NDA_LLADDR, NTF_MASTER, NUD_NOARP = 2, 0x04, 0x40
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST = 1, 2, 3, 4
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST, RTN_LOCAL = 254, 4, 1, 2
NLA_F_NESTED, NLA_TYPE_MASK = 0x8000, 0x3FFF
IFF_UP = 1
HAS_IPV6 = os.path.isdir("/proc/sys/net/ipv6")
IFA_F_NODAD = 0x02  # usable at once: nobody else can have the address

_LINK, _ADDRESS, _ROUTE, _NEIGHBOUR = "=BxHiII", "=BBBBi", "=BBBBBBBBI", "=BxxxiHBB"  # ifinfomsg, ifaddrmsg, rtmsg, ndmsg
_NAMES = {
    RTM_NEWLINK: "set up a link",
    RTM_DELLINK: "delete a link",
    RTM_NEWADDR: "add an address",
    RTM_NEWROUTE: "add a route",
    RTM_NEWNEIGH: "bind a port to its MAC address",
}


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def request(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 0, 0) + body


def new_veth(name: str, bridge: int, peer: str, peer_mac: str, isolated: bool = True) -> tuple[bytes, int]:
    """``name`` on the bridge with index ``bridge``, its port guarded, then up; the peer lands in a pid's namespace.

    Returns the request and the offset of the pid's four bytes (native order), which are zero until patched. The kernel
    takes a port's options only once the port is there, so the request is several messages in one buffer; ``send`` asks
    for each only if the one before was accepted, and no frame passes before the port is guarded and up.
    The peer's index is the kernel's choice: index 2 is taken where tunnel modules put their devices in each namespace.
    One queue each way: a queue per CPU doubles the cost and a sandbox does not need it.
    """
    queues = number(IFLA_NUM_TX_QUEUES, 1) + number(IFLA_NUM_RX_QUEUES, 1)
    pid = number(IFLA_NET_NS_PID, 0)
    inside = struct.pack(_LINK, 0, 0, 0, 0, 0) + text(IFLA_IFNAME, peer) + attribute(IFLA_ADDRESS, _mac(peer_mac)) + queues + pid
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, inside)))
    body = struct.pack(_LINK, 0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + number(IFLA_MASTER, bridge) + queues + info
    create = request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)
    return create + no_address(name) + guard_port(name, peer_mac, isolated), len(create) - 4  # the pid is the last attribute


def no_address(name: str) -> bytes:
    """Before it is up: the kernel gives it no IPv6 address of its own making (addrgenmode none of ip-link(8)), where it has IPv6.

    It needs none, and each that comes or goes makes a browser on this machine break off what it is fetching.
    """
    if not HAS_IPV6:
        return b""
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
    spec = nested(IFLA_AF_SPEC, nested(socket.AF_INET6, mode))
    return request(RTM_NEWLINK, 0, struct.pack(_LINK, 0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + spec)


def guard_port(name: str, mac: str, isolated: bool) -> bytes:
    """A bridge port for one MAC address, which nobody on it can change; up. It may be done again. bridge(8), ip-link(8).

    The bridge learns nothing from it, has one entry that is its own, and sends what is for no known address nowhere. "locked"
    (Linux 5.18; older ones pass over it) lets in what comes from that MAC address only. Frames to link-local groups are passed
    on as any multicast: else the bridge leaves them to the link itself, of which no rule for the bridge knows anything.
    An "isolated" port reaches the bridge itself but no other isolated port.
    """
    options = nested(
        IFLA_INFO_SLAVE_DATA,
        attribute(IFLA_BRPORT_ISOLATED, bytes([isolated])),
        attribute(IFLA_BRPORT_LEARNING, b"\0"),
        attribute(IFLA_BRPORT_UNICAST_FLOOD, b"\0"),
        attribute(IFLA_BRPORT_LOCKED, b"\1"),
        attribute(IFLA_BRPORT_GROUP_FWD_MASK, struct.pack("=H", ALL_GROUPS)),
    )
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_SLAVE_KIND, "bridge"), options)
    port = request(RTM_NEWLINK, 0, struct.pack(_LINK, 0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name) + info)
    # The port of its address's last run may be there still: the entry moves from that to this one.
    entry = struct.pack(_NEIGHBOUR, socket.AF_BRIDGE, 0, NUD_NOARP, NTF_MASTER, 0) + attribute(NDA_LLADDR, _mac(mac))
    return port + request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry)


def new_bridge(name: str, mac: str) -> bytes:
    """A bridge with a fixed address (else it changes with its ports) and no multicast state per port."""
    options = nested(IFLA_INFO_DATA, attribute(IFLA_BR_MCAST_SNOOPING, b"\0"))
    info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"), options)
    body = struct.pack(_LINK, 0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + attribute(IFLA_ADDRESS, _mac(mac)) + info
    return request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def new_link(name: str, kind: str) -> bytes:
    body = struct.pack(_LINK, 0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind))
    return request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def link_up(name: str) -> bytes:
    return request(RTM_NEWLINK, 0, struct.pack(_LINK, 0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name))


def delete_link(name: str) -> bytes:
    return request(RTM_DELLINK, 0, struct.pack(_LINK, 0, 0, 0, 0, 0) + text(IFLA_IFNAME, name))


def new_address(name: str, address: str, prefix: int) -> bytes:
    """IPv4 or IPv6. The kernel wants an index, which only the namespace itself knows: ``send`` fills it in from the label."""
    if ":" in address:
        raw = socket.inet_pton(socket.AF_INET6, address)
        body = struct.pack(_ADDRESS, socket.AF_INET6, prefix, IFA_F_NODAD, 0, 0) + attribute(IFA_LOCAL, raw)
        return request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body + attribute(IFA_ADDRESS, raw) + text(IFA_LABEL, name))
    raw = socket.inet_aton(address)
    last = int.from_bytes(raw, "big") | ((1 << (32 - prefix)) - 1)
    addresses = attribute(IFA_LOCAL, raw) + attribute(IFA_ADDRESS, raw) + attribute(IFA_BROADCAST, last.to_bytes(4, "big"))
    body = struct.pack(_ADDRESS, socket.AF_INET, prefix, 0, 0, 0) + addresses + text(IFA_LABEL, name)
    return request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body)


def default_route(gateway: str) -> bytes:
    """IPv4 or IPv6; the kernel finds the link from the gateway's own network."""
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    header = struct.pack(_ROUTE, family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 0, RTN_UNICAST, 0)
    return request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, header + attribute(RTA_GATEWAY, socket.inet_pton(family, gateway)))


def _mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))


def split(buffer: bytes) -> Iterator[bytes]:
    """The messages that lie one after the other in ``buffer``."""
    at = 0
    while at + 16 <= len(buffer):
        length = struct.unpack_from("=I", buffer, at)[0]
        if length < 16 or at + length > len(buffer):
            raise OSError(errno.EBADMSG, "netlink: a message is cut short")
        yield buffer[at : at + length]
        at += (length + 3) & ~3


def attributes(buffer: bytes) -> dict[int, bytes]:
    """Attribute number → payload. A repeated number keeps its last."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(buffer):
        length, kind = struct.unpack_from("=HH", buffer, at)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = buffer[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def send(messages: Iterable[bytes]) -> None:
    """Send each request in this process's network namespace, in order, up to the first that the kernel refuses.

    Raises OSError with the kernel's errno, and its own words where it gives some.
    """
    with _open() as netlink:
        for buffer in messages:
            before = b""
            for message in split(buffer):
                netlink.send(_with_index(message, before))
                _check_reply(netlink.recv(65536), message)
                before = message


def ask(message: bytes, protocol: int = socket.NETLINK_ROUTE) -> bytes:
    """What answers a ``request`` for one thing, b"" when nothing does but the acknowledgement. OSError as from ``send``."""
    answer = b""
    with _open(protocol) as netlink:
        netlink.send(message)
        while True:
            for told in split(netlink.recv(65536)):
                if struct.unpack_from("=H", told, 4)[0] == NLMSG_ERROR:
                    _check_reply(told, message)
                    return answer
                answer = told


def dump(kind: int, family: int = socket.AF_INET, more: bytes = b"") -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """Every link, or every address or route of a family (``kind`` is the RTM_GET… number): its fixed header and attributes.

    ``more`` are attributes of the question.
    """
    size = {RTM_GETLINK: 16, RTM_GETADDR: 8, RTM_GETROUTE: 12}[kind]
    family = socket.AF_UNSPEC if kind == RTM_GETLINK else family
    for message in dump_of(request(kind, NLM_F_DUMP, struct.pack(f"=B{size - 1}x", family) + more)):
        yield message[16 : 16 + size], attributes(message[16 + size :])


def dump_of(question: bytes, protocol: int = socket.NETLINK_ROUTE) -> Iterator[bytes]:
    """Every message that answers a request with NLM_F_DUMP."""
    with _open(protocol) as netlink:
        netlink.send(question)
        while True:
            for message in split(netlink.recv(1 << 18)):
                answer = struct.unpack_from("=H", message, 4)[0]
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    _check_reply(message, message)
                    return
                yield message


def _open(protocol: int = socket.NETLINK_ROUTE) -> socket.socket:
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    netlink.bind((0, 0))
    netlink.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    netlink.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    return netlink


def _with_index(message: bytes, before: bytes) -> bytes:
    """Put the index that a link has here into a header where it is 0: the kernel takes no name there.

    An address request names its link by label; the link of a forwarding entry is the one of the message before it.
    """
    kind, index = struct.unpack_from("=H14xi", message, 4)
    if index or kind not in (RTM_NEWADDR, RTM_NEWNEIGH):
        return message
    name = attributes(message[24:])[IFA_LABEL] if kind == RTM_NEWADDR else attributes(before[32:])[IFLA_IFNAME]
    patched = bytearray(message)
    struct.pack_into("=i", patched, 20, socket.if_nametoindex(name.rstrip(b"\0").decode()))
    return bytes(patched)


def _check_reply(reply: bytes, asked: bytes) -> None:
    length, kind, flags = struct.unpack_from("=IHH", reply, 0)
    if kind != NLMSG_ERROR:
        raise OSError(errno.EBADMSG, "netlink: the kernel sent no acknowledgement")
    code = -struct.unpack_from("=i", reply, 16)[0]
    if code == 0:
        return
    # With CAP_ACK the reply quotes only the request's 16-byte header; the kernel's own words follow it.
    words = attributes(reply[36:length]).get(NLMSGERR_ATTR_MSG, b"") if flags & NLM_F_ACK_TLVS else b""
    said = words.rstrip(b"\0").decode(errors="replace") or os.strerror(code)
    raise OSError(code, f"netlink: {_NAMES.get(struct.unpack_from('=H', asked, 4)[0], 'request')}: {said}")
