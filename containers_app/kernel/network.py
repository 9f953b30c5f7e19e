"""The network of an instance: one bridge, one /20 out of the private ranges, one isolated veth for each sandbox.

``open_network`` does what takes time once (about 20 ms: links, addresses, firewall, forwarding); after it a sandbox
costs two netlink requests from the keeper and four from its own first process, all prepared here as bytes.
The kernel is asked first, ``state_file`` only remembers the subnet while there is no bridge (after a reboot).
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from ..errors import Conflict, KernelRefused
from . import firewall, forwarding, netlink, resolver, subnets

MAX_PORTS = 1023  # BR_MAX_PORTS: port 0 is the bridge itself
LINK_INSIDE = "eth0"
_TAG = re.compile(r"[0-9a-f]{6}", re.ASCII)
_BRIDGE = re.compile(r"tr[0-9a-f]{6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One sandbox's place on the bridge. ``link`` is the host's end of the veth; the other end is eth0 inside."""

    address: str
    prefix: int
    gateway: str
    mac: str
    link: str
    bridge: str


@dataclass(slots=True)
class Network:
    """The open bridge network of instance ``tag``. ``attachment`` and ``assert_rules`` are its two verbs."""

    tag: str
    bridge: str
    subnet: IPv4Network
    gateway: str
    note: str
    _last: int = field(default=0, repr=False)

    def attachment(self, used: Collection[str]) -> Attachment:
        """A free address; ``used`` are the addresses that the other sandboxes have. Says so when the bridge is full.

        Addresses go round, so that one just given back is the last to be given again: its veth may not be gone yet.
        """
        if len(used) >= MAX_PORTS:
            raise KernelRefused(f"The bridge is full: it takes {MAX_PORTS} sandboxes.", hint="Remove one, or use net: none.")
        if _index(self.bridge) is None:
            self.assert_rules()
        size = self.subnet.num_addresses - 3  # not the network's, the gateway's and the broadcast address
        for step in range(1, size + 1):
            number = (self._last + step) % size + 2
            address, link = str(self.subnet[number]), f"{self.bridge}-{number:x}"
            if address not in used and _index(link) is None:
                self._last = number - 2
                return Attachment(address, self.subnet.prefixlen, self.gateway, _mac(self.subnet, number), link, self.bridge)
        raise KernelRefused("Every address of the bridge network is in use.", hint="Remove a sandbox, or use net: none.")

    def assert_rules(self) -> None:
        """Make bridge, firewall and forwarding what they should be, whatever has changed: about 15 ms.

        To be called when Docker has (re)started, the uplinks have changed, or somebody flushed the firewall.
        """
        with forwarding.host_lock(self.note):
            _ensure_bridge(self.bridge, self.subnet, self.gateway)
            uplinks = subnets.uplinks(subnets.read_links())
            opened = forwarding.open_forwarding(self.bridge, uplinks, self.note)
            subnet = str(self.subnet)
            firewall.apply(firewall.ruleset(self.tag, self.bridge, subnet, self.gateway, uplinks, opened))
            firewall.let_past_iptables(self.tag, self.bridge)


def open_network(tag: str, state_file: str, note: str = forwarding.NOTE) -> Network:
    """Idempotent. ``note`` is shared by the instances of a host, see forwarding.py."""
    bridge = _bridge(tag)
    with forwarding.host_lock(note):
        subnet = _settle_subnet(tag, bridge, state_file)
        _ensure_bridge(bridge, subnet, str(subnet[1]))
    network = Network(tag, bridge, subnet, str(subnet[1]), note, secrets.randbelow(subnet.num_addresses - 3))
    network.assert_rules()
    return network


def remove_network(tag: str, state_file: str, note: str = forwarding.NOTE) -> None:
    """Take everything of this instance's network off the host; what is not there is no error."""
    bridge = _bridge(tag)
    with forwarding.host_lock(note):
        for link in (*(name for name in links(tag) if name != bridge), bridge):
            try:
                netlink.send([netlink.delete_link(link)])
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
        firewall.remove_table(tag)
        firewall.remove_iptables_rules(tag)
        if not any(_BRIDGE.fullmatch(link.name) for link in subnets.read_links().values()):
            forwarding.close_forwarding(note)
    if os.path.exists(state_file):
        os.unlink(state_file)


def links(tag: str) -> list[str]:
    """The links of this instance on the host, the bridge first."""
    bridge = _bridge(tag)
    names = (link.name for link in subnets.read_links().values())
    return sorted(name for name in names if name == bridge or name.startswith(f"{bridge}-"))


def list_networks(network: Network | None) -> list[dict[str, str]]:
    """The REST items; none while the network could not be opened."""
    if network is None:
        return []
    subnet, gateway, bridge = str(network.subnet), network.gateway, network.bridge
    return [{"name": "bridge", "engine": "raw", "subnet": subnet, "gateway": gateway, "bridge": bridge}]


def link_message(attachment: Attachment) -> tuple[bytes, int]:
    """For the keeper: the request, and where in it the child's pid goes as four bytes in native order."""
    index = _index(attachment.bridge)
    if index is None:
        raise KernelRefused(f"The bridge {attachment.bridge} has gone.", hint="Start the sandbox again; it is made anew.")
    return netlink.new_veth(attachment.link, index, LINK_INSIDE, attachment.mac)


def inside_messages(attachment: Attachment) -> list[bytes]:
    """For the sandbox's first process, in its own network namespace."""
    address = netlink.new_address(LINK_INSIDE, attachment.address, attachment.prefix)
    return [*loopback_messages(), address, netlink.link_up(LINK_INSIDE), netlink.default_route(attachment.gateway)]


def loopback_messages() -> list[bytes]:
    """All that mode "none" has."""
    return [netlink.link_up("lo")]


def describe_link(attachment: Attachment) -> list[str]:
    """The shell commands of ``link_message``; $PID is the sandbox's first process."""
    queues = "numtxqueues 1 numrxqueues 1"
    peer = f"peer name {LINK_INSIDE} address {attachment.mac} {queues} netns $PID"
    return [
        f"ip link add {attachment.link} {queues} master {attachment.bridge} type veth {peer}",
        f"bridge link set dev {attachment.link} isolated on",
        f"ip link set {attachment.link} up",
    ]


def describe_inside(attachment: Attachment) -> list[str]:
    """The shell commands of ``inside_messages``, as seen from the host."""
    inside = "nsenter --target $PID --net ip"
    return [
        *describe_loopback(),
        f"{inside} address add {attachment.address}/{attachment.prefix} broadcast + dev {LINK_INSIDE}",
        f"{inside} link set {LINK_INSIDE} up",
        f"{inside} route add default via {attachment.gateway}",
    ]


def describe_loopback() -> list[str]:
    return ["nsenter --target $PID --net ip link set lo up"]


def describe(attachment: Attachment) -> list[str]:
    return describe_link(attachment) + describe_inside(attachment)


def _bridge(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise ValueError(f"not a tag of six hex digits: {tag!r}")
    return f"tr{tag}"


def _index(link: str) -> int | None:
    try:
        return socket.if_nametoindex(link)
    except OSError:
        return None


def _mac(subnet: IPv4Network, number: int) -> str:
    """Local (bit 1 of the first byte), and the same for an address each time: nobody's ARP entry goes stale."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x74, *subnet[number].packed))


def _settle_subnet(tag: str, bridge: str, state_file: str) -> IPv4Network:
    """The subnet that the bridge has, else the remembered one, else a free one; never one that clashes.

    A bridge with sandboxes on it keeps its subnet even if a later route overlaps it: they hold its addresses.
    """
    found = subnets.read_links()
    own = next((link for link in found.values() if link.name == bridge), None)
    if own is not None and own.kind != "bridge":
        raise Conflict(f"The link {bridge} exists and is not a bridge.", hint=f"Remove it: ip link delete {bridge}.")
    index = own.index if own else -1
    remembered = _read_subnet(state_file)
    current = next(
        (IPv4Network((address, prefix), strict=False) for at, address, prefix in subnets.read_addresses() if at == index), None
    )
    subnet = current if current and current.prefixlen == subnets.PREFIX else remembered
    # Name servers are mostly reached by the default route, so no route names them; they must stay reachable.
    taken = subnets.taken_networks(index) | {IPv4Network((server, 32)) for server in resolver.name_servers()}
    in_use = own is not None and any(link.master == index for link in found.values())
    if subnet is None or (not in_use and any(subnet.overlaps(network) for network in taken)):
        subnet = subnets.choose_subnet(tag, taken)
        if own is not None:
            netlink.send([netlink.delete_link(bridge)])
    if subnet != remembered:
        forwarding.write_atomically(state_file, json.dumps({"subnet": str(subnet)}))
    return subnet


def _read_subnet(state_file: str) -> IPv4Network | None:
    """None too when the file was cut short: then a subnet is chosen anew."""
    try:
        with open(state_file, encoding="utf-8") as file:
            subnet = IPv4Network(json.load(file)["subnet"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    private = any(subnet.subnet_of(pool) for pool in subnets.POOLS)
    return subnet if private and subnet.prefixlen == subnets.PREFIX else None


def _ensure_bridge(bridge: str, subnet: IPv4Network, gateway: str) -> None:
    for message in (
        netlink.new_bridge(bridge, _mac(subnet, 1)),
        netlink.new_address(bridge, gateway, subnet.prefixlen),
        netlink.link_up(bridge),
    ):
        try:
            netlink.send([message])
        except OSError as error:
            if error.errno != errno.EEXIST:
                hint = "The kernel needs CONFIG_BRIDGE (modprobe bridge)." if error.errno == errno.EOPNOTSUPP else ""
                raise KernelRefused(f"The bridge {bridge} can't be set up: {error.strerror}.", hint=hint) from None
    disable = f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"
    if os.path.exists(disable):  # else the host could be reached by its link-local address
        with open(disable, "w", encoding="ascii") as file:
            file.write("1")
