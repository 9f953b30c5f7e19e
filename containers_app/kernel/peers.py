"""The host's ends of another network namespace's links: which veths of ours lead to it.

The namespace gets its number here (RTM_GETNSID), its links are listed by that number, and each one's peer is believed only when
it names the same link of the same namespace back: whoever rules inside may make links of any kind and number there. Sources:
rtnetlink(7), linux/net_namespace.h, linux/if_link.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from . import netlink

RTM_GETNSID = 90
NETNSA_NSID, NETNSA_FD = 1, 3
IFLA_LINK, IFLA_LINK_NETNSID, IFLA_TARGET_NETNSID = 5, 37, 46
_IFINFOMSG = "=BxHiII"  # family, hardware, index, flags, change
_GONE = (errno.ENOENT, errno.ESRCH, errno.EINVAL, errno.ENODEV)


def links_to(pid: int) -> tuple[str, ...]:
    """Names, in the order of their indexes, of this namespace's ends of the veths of a process's network namespace.

    () when there are none, when it has ended, or when it is in this network namespace.
    """
    try:
        number = _number(pid)
        if number < 0:
            return ()
        return tuple(name for index, peer in sorted(_veths(number).items()) if (name := _ours(peer, index, number)))
    except OSError as error:
        if error.errno in _GONE:
            return ()
        raise


def _number(pid: int) -> int:
    """Of its network namespace, as this one counts; -1 when it has none here."""
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.path.samestat(os.fstat(fd), os.stat("/proc/thread-self/ns/net")):
            return -1
        asked = netlink.request(RTM_GETNSID, 0, struct.pack("=B3x", 0) + netlink.number(NETNSA_FD, fd))
        answer = netlink.attributes(netlink.ask(asked)[20:])
        return int(struct.unpack("=i", answer[NETNSA_NSID])[0]) if NETNSA_NSID in answer else -1
    finally:
        os.close(fd)


def _veths(number: int) -> dict[int, int]:
    """Index there → index of the peer, of what that namespace calls its veths."""
    found = {}
    target = netlink.attribute(IFLA_TARGET_NETNSID, struct.pack("=i", number))
    for header, attributes in netlink.dump(netlink.RTM_GETLINK, more=target):
        info = netlink.attributes(attributes.get(netlink.IFLA_LINKINFO, b""))
        if info.get(netlink.IFLA_INFO_KIND, b"").rstrip(b"\0") == b"veth" and IFLA_LINK in attributes:
            found[int(struct.unpack_from("=i", header, 4)[0])] = int(struct.unpack("=i", attributes[IFLA_LINK])[0])
    return found


def _ours(index: int, theirs: int, number: int) -> str:
    """The name of the link with that index here, "" unless it is the other end of ``theirs`` in that namespace."""
    body = struct.pack(_IFINFOMSG, socket.AF_UNSPEC, 0, index, 0, 0)
    try:
        answer = netlink.ask(netlink.request(netlink.RTM_GETLINK, 0, body))
    except OSError as error:
        if error.errno in _GONE:
            return ""
        raise
    attributes = netlink.attributes(answer[32:])
    back = struct.pack("=i", theirs), struct.pack("=i", number)
    if (attributes.get(IFLA_LINK), attributes.get(IFLA_LINK_NETNSID)) != back:
        return ""
    return attributes[netlink.IFLA_IFNAME].rstrip(b"\0").decode()
