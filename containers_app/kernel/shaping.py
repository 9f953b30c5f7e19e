"""Network rates: a token bucket on the host's end of a container's veth, out of its reach.

What comes to the container leaves the host's end: TBF is that link's root qdisc. What it sends arrives there, and a qdisc
only shapes what leaves: an ingress filter sends it through a device of its own (ifb), whose root is another TBF. The qdiscs go
with their links; an ifb is named after its veth's index (``trTAG-i…``) and is removed with its container, or by the next start.
Sources: tc-tbf(8), tc-mirred(8), linux/pkt_sched.h, linux/pkt_cls.h. One change takes well under a millisecond.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import KernelRefused, Unsupported
from . import netlink
from .netlink import attribute, nested, number, request, text
from .operation import Operation, Stage

if TYPE_CHECKING:
    from .subnets import Link  # the keeper has no use for what that needs

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC, RTM_NEWTFILTER = 36, 37, 38, 44
TC_H_ROOT, TC_H_INGRESS, INGRESS_HANDLE, TBF_HANDLE = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFF0000, 0x10000
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_BURST = 1, 4, 6
TCA_U32_SEL, TCA_U32_ACT, TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_MIRRED_PARMS = 5, 7, 1, 2, 2
TC_ACT_STOLEN, TCA_EGRESS_REDIR, TC_U32_TERMINAL, LINKLAYER_ETHERNET = 4, 1, 1, 1
ETH_P_ALL = 3
_TCMSG = "=BxxxiIII"  # family, index, handle, parent, info
_QUEUE = 0.1  # seconds that a packet waits at most
_SMALLEST_BURST = 4096  # bytes: two full frames
NEEDED = "The kernel needs sch_tbf, sch_ingress, cls_u32, act_mirred and ifb."
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class ShapeLink(Operation):
    """A new link's rates in bytes per second, 0 for none: held before its program runs, and before anything comes to it."""

    tag: str
    link: str
    net_in: int
    net_out: int

    def execute(self, stage: Stage) -> None:
        index = socket.if_nametoindex(self.link)
        if self.net_in:
            _set_bucket(index, self.net_in)
        if self.net_out:
            _set_out(f"{_prefix(self.tag)}{_encoded(index)}", index, self.net_out)

    def describe(self) -> list[str]:
        return describe(self.tag, self.link, {"net_in": self.net_in, "net_out": self.net_out})


def set_rate(tag: str, link: str, name: str, rate: int | None) -> None:
    """``name`` is net_in or net_out as the container sees it, ``rate`` bytes per second or None. NotFound is no error here:

    a link that has gone has no rate. KernelRefused or Unsupported when the kernel has not what it takes.
    """
    index = link_index(link)
    if not index:
        return
    try:
        if name == "net_in":
            _set_bucket(index, rate)
        else:
            _set_out(f"{_prefix(tag)}{_encoded(index)}", index, rate)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            raise Unsupported(f"This host can't limit a network rate: {error.strerror}.", hint=NEEDED) from None
        raise KernelRefused(f"The network rate was refused: {error.strerror}.") from None


def read_rates(tag: str, link: str) -> dict[str, int | None]:
    """What the kernel holds: {"net_in": bytes per second or None, "net_out": …}; {} when the link is not there."""
    index = link_index(link)
    if not index:
        return {}
    out = link_index(f"{_prefix(tag)}{_encoded(index)}")
    return {"net_in": _bucket(index), "net_out": _bucket(out) if out else None}


def forget(tag: str, index: int) -> None:
    """The rest of a link that is going: its ifb."""
    _delete(f"{_prefix(tag)}{_encoded(index)}")


def forget_orphans(tag: str, found: Mapping[int, Link]) -> None:
    """The ifbs whose links have gone without a word, as when a launch fails half way. ``found`` are the links of this host."""
    for link in found.values():
        if is_orphan(link, f"tr{tag}", found):
            _delete(link.name)


def is_orphan(link: Link, bridge: str, found: Mapping[int, Link]) -> bool:
    """Is it an ifb of the instance with that default bridge, whose veth is not among the links of this host?"""
    prefix = f"{bridge}-i"
    if link.kind != "ifb" or not link.name.startswith(prefix) or (index := int(link.name[len(prefix) :], 36)) in found:
        return False
    try:
        socket.if_indextoname(index)  # it may have come while the links were being read
    except OSError:
        return True
    return False


def describe(tag: str, link: str, rates: Mapping[str, int]) -> list[str]:
    """The shell commands of ``set_rate``."""
    lines = []
    if rate := rates.get("net_in"):
        lines.append(_shown(link, rate))
    if rate := rates.get("net_out"):
        ifb = f"{_prefix(tag)}$(cat /sys/class/net/{link}/ifindex)"
        lines += [
            f"ip link add {ifb} type ifb",
            *([f"ip link set {ifb} addrgenmode none"] if netlink.HAS_IPV6 else []),
            f"ip link set {ifb} up",
            _shown(ifb, rate),
            f"tc qdisc add dev {link} ingress",
            f"tc filter add dev {link} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev {ifb}",
        ]
    return lines


def _shown(link: str, rate: int) -> str:
    burst, limit = _sizes(rate)
    return f"tc qdisc replace dev {link} root handle 1: tbf rate {rate}bps burst {burst} limit {limit}"


def _sizes(rate: int) -> tuple[int, int]:
    """(burst, limit) in bytes: 10 ms at once, and a queue that TCP can fill."""
    burst = min(max(_SMALLEST_BURST, rate // 100), 1 << 30)
    return burst, min(max(65536, int(rate * _QUEUE)) + burst, (1 << 32) - 1)


def _set_bucket(index: int, rate: int | None) -> None:
    if rate is None:
        if _bucket(index) is not None:
            netlink.send([request(RTM_DELQDISC, 0, struct.pack(_TCMSG, 0, index, 0, TC_H_ROOT, 0))])
        return
    burst, limit = _sizes(rate)
    spec = struct.pack("=BBHhHI", 0, LINKLAYER_ETHERNET, 0, 0, 0, min(rate, (1 << 32) - 1))  # struct tc_ratespec
    parameters = [attribute(TCA_TBF_PARMS, spec + bytes(12) + struct.pack("=III", limit, 0, 0)), number(TCA_TBF_BURST, burst)]
    if rate >= 1 << 32:
        parameters.append(attribute(TCA_TBF_RATE64, struct.pack("=Q", rate)))
    body = struct.pack(_TCMSG, 0, index, TBF_HANDLE, TC_H_ROOT, 0)
    body += text(TCA_KIND, "tbf") + attribute(TCA_OPTIONS, b"".join(parameters))
    netlink.send([request(RTM_NEWQDISC, netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE, body)])


def _set_out(ifb: str, index: int, rate: int | None) -> None:
    if rate is None:
        if link_index(ifb):
            netlink.send([request(RTM_DELQDISC, 0, struct.pack(_TCMSG, 0, index, INGRESS_HANDLE, TC_H_INGRESS, 0))])
            _delete(ifb)
        return
    there = link_index(ifb)
    if there and _bucket(there) is not None and _has_ingress(index):
        _set_bucket(there, rate)
        return
    _delete(ifb)  # of a change that was killed half way
    netlink.send([netlink.new_link(ifb, "ifb")])
    try:
        out = socket.if_nametoindex(ifb)
        _set_bucket(out, rate)
        netlink.send([netlink.no_address(ifb), netlink.link_up(ifb)])
        if not _has_ingress(index):
            body = struct.pack(_TCMSG, 0, index, INGRESS_HANDLE, TC_H_INGRESS, 0) + text(TCA_KIND, "ingress")
            netlink.send([request(RTM_NEWQDISC, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body)])
        netlink.send([_redirect(index, out)])
    except OSError:
        _delete(ifb)
        raise


def _redirect(index: int, to: int) -> bytes:
    """Everything that comes in by ``index`` leaves by ``to``: a u32 filter whose one key matches all, action mirred."""
    key = struct.pack("=IIii", 0, 0, 0, 0)
    selector = struct.pack("=BBBxHHhhI", TC_U32_TERMINAL, 0, 1, 0, 0, 0, 0, 0) + key
    mirred = struct.pack("=IIiiiiI", 0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to)
    action = nested(1, text(TCA_ACT_KIND, "mirred"), nested(TCA_ACT_OPTIONS, attribute(TCA_MIRRED_PARMS, mirred)))
    options = attribute(TCA_U32_SEL, selector) + nested(TCA_U32_ACT, action)
    body = struct.pack(_TCMSG, 0, index, 0, INGRESS_HANDLE, 1 << 16 | socket.htons(ETH_P_ALL))
    body += text(TCA_KIND, "u32") + attribute(TCA_OPTIONS, options)
    return request(RTM_NEWTFILTER, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body)


def _bucket(index: int) -> int | None:
    """The rate of the link's root TBF, None when it has none."""
    found = _root(index, TC_H_ROOT)
    if found.get(TCA_KIND) != b"tbf\0":
        return None
    options = netlink.attributes(found.get(TCA_OPTIONS, b""))
    if TCA_TBF_RATE64 in options:
        return int(struct.unpack("=Q", options[TCA_TBF_RATE64])[0])
    return int(struct.unpack_from("=8xI", options[TCA_TBF_PARMS])[0])


def _has_ingress(index: int) -> bool:
    return _root(index, TC_H_INGRESS).get(TCA_KIND) == b"ingress\0"


def _root(index: int, parent: int) -> dict[int, bytes]:
    """The qdisc there, {} when there is none but the kernel's own."""
    try:
        answer = netlink.ask(request(RTM_GETQDISC, netlink.NLM_F_ECHO, struct.pack(_TCMSG, 0, index, 0, parent, 0)))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
            return {}
        raise
    return netlink.attributes(answer[16 + struct.calcsize(_TCMSG) :])


def link_index(link: str) -> int:
    """0 when it is not there."""
    try:
        return socket.if_nametoindex(link)
    except OSError:
        return 0


def _delete(link: str) -> None:
    if link_index(link):
        try:
            netlink.send([netlink.delete_link(link)])
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def _prefix(tag: str) -> str:
    return f"tr{tag}-i"


def _encoded(index: int) -> str:
    """Base 36: with the prefix any index below 60 million fits into the 15 characters of a link's name."""
    digits = ""
    while index:
        index, rest = divmod(index, 36)
        digits = _DIGITS[rest] + digits
    return digits
