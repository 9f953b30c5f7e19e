"""The bridge networks of an instance: the default one and those with a name, and the rules that all of them share.

One file, of which two versions are kept (state_file.py), says which there are; a network is written there before its bridge is
made, and taken out before its bridge goes, so that whoever is killed in between, ``open_networks`` makes or removes what is
missing. The kernel is asked first where a bridge is up: the file's subnet counts while there is none (after a reboot). What the
file has lost the places that sandboxes have still tell: their bridges stay.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec

from ..errors import Conflict, InvalidInput, KernelRefused, NotFound
from . import firewall, forwarding, netlink, nftables, resolver, shaping, state_file, subnets
from .network import DEFAULT, Attachment, Network, ensure_bridge, link_index
from .ports import Ports
from .subnets import Subnet

_TAG = re.compile(r"[0-9a-f]{6}", re.ASCII)
_BRIDGE = re.compile(r"tr[0-9a-f]{6}", re.ASCII)
_NAMED = re.compile(r"tr[0-9a-f]{6}-n[0-9a-f]{5}", re.ASCII)
MOST = 128  # networks of an instance beside the default one
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Networks:
    """``assert_rules`` is to be called once after ``open_networks``, when the published ports are known."""

    tag: str
    state_file: str
    note: str
    prefix6: IPv6Network | None
    no_ipv6: str  # why there is none, "" where there is
    no_nat6: str = ""  # why IPv6 does not lead off this host, "" where it does
    all: dict[str, Network] = field(default_factory=dict)
    ports: Ports = field(default_factory=Ports)
    leaving: set[str] = field(default_factory=set)  # names of those that are being removed
    _version: int = 0  # of the state file
    _generation: int = 0  # of all tables, when ours were last looked at
    _rules: bytes = b""  # the digest of ours as we wrote them

    @property
    def default(self) -> Network:
        return self.all[DEFAULT]

    def get(self, name: str) -> Network:
        """ "" is the default one."""
        found = self.all.get(name or DEFAULT)
        if found is None:
            raise NotFound(f"There is no network called “{name[:64]}”.", hint="See the list of networks.")
        return found

    def attachment(self, used: Collection[str], name: str = "") -> Attachment:
        network = self.get(name)
        if network.name in self.leaving:
            raise Conflict(f"The network {name} is being removed.", hint="Choose another one.", code="network_in_use")
        self.mend(network)
        return network.attachment(used)

    def mend(self, network: Network) -> None:
        """Make everything anew when somebody has deleted the bridge."""
        if link_index(network.bridge) is None:
            self.assert_rules()

    def assert_rules(self) -> None:
        """Make bridges, firewall and forwarding what they should be, whatever has changed: about 15 ms.

        To be called when Docker has (re)started, ports are published, or somebody flushed the firewall.
        """
        with forwarding.host_lock(self.note):
            self._assert_rules()

    def _assert_rules(self) -> None:
        networks = list(self.all.values())
        published = self.ports.published()
        for network in networks:
            ensure_bridge(network)
            firewall.let_loopback_in(network.bridge, any(one.network == network.name and one.to_loopback for one in published))
        links, bridges = subnets.read_links(), [network.bridge for network in networks]
        uplinks, uplinks6 = subnets.uplinks(links), subnets.uplinks(links, socket.AF_INET6)
        opened = forwarding.open_forwarding(bridges, uplinks, self.note)
        opened6, self.no_nat6 = forwarding.open_forwarding6(bridges, uplinks6, self.note) if self.prefix6 else ([], self.no_ipv6)
        ways = (firewall.Way("ipv4", uplinks, opened), firewall.Way("ipv6", [] if self.no_nat6 else uplinks6, opened6))
        firewall.apply(firewall.ruleset(self.tag, networks, ways, published))
        self._rules = nftables.digest(firewall.table_name(self.tag))
        firewall.let_past_iptables(self.tag, bridges, ipv6=self.prefix6 is not None)

    def look_after(self) -> bool:
        """Put back what somebody else has taken of our rules and bridges; whether it was needed. To be called every few seconds.

        One question to the kernel as long as nobody changes any rule. What only iptables-legacy knows is not noticed here.
        """
        generation = nftables.generation()
        if self._bridges_stand() and generation == self._generation:
            return False
        with forwarding.host_lock(self.note):
            whole = self._bridges_stand() and nftables.digest(firewall.table_name(self.tag)) == self._rules
            if whole:
                bridges = [network.bridge for network in self.all.values()]
                firewall.let_past_iptables(self.tag, bridges, ipv6=self.prefix6 is not None)
            else:
                self._assert_rules()
        self._generation = generation  # of before: our own changes are looked at once more
        return not whole

    def _bridges_stand(self) -> bool:
        return all(link_index(network.bridge) is not None for network in list(self.all.values()))

    # ── making and removing ──────────────────────────────────────────────────────────────────────────────────────────

    def create(self, name: str, subnet: str = "", subnet6: str = "", *, nat: bool = True, isolated: bool = True) -> Network:
        """Addresses are chosen where none are given. Conflict when something on this host uses them."""
        with forwarding.host_lock(self.note):
            if name in self.all:
                raise Conflict(f"There is a network called “{name}” already.", hint="Choose another name.", code="name_taken")
            if len(self.all) > MOST:
                raise Conflict(f"There are {MOST} networks already.", hint="Remove one first.")
            taken = self._taken()
            four = ip_network(subnet) if subnet else subnets.choose_subnet(self.tag, taken)
            six = self._subnet6(subnet6, taken)
            for wanted in (four, six):
                if wanted is not None and (other := subnets.overlapping(wanted, taken)):
                    hint = "Leave it out and the panel chooses; ip route show table all says what is in use."
                    raise Conflict(f"{wanted} overlaps {other}, which this host uses.", hint=hint, code="subnet_taken")
            assert isinstance(four, IPv4Network)
            network = Network(name, self._free_bridge(), four, six, nat, isolated)
            self.all[name] = network
            try:
                self._save()
                self._assert_rules()
            except BaseException:
                self._drop(network)
                raise
            return network

    def remove(self, name: str) -> None:
        """The caller has made sure that nobody is in it."""
        network = self.get(name)
        if network.name == DEFAULT:
            raise Conflict("The default network can't be removed.", hint="It goes with the panel: deploy/down --all.")
        with forwarding.host_lock(self.note):
            try:
                self._drop(network)
            except KernelRefused:  # a full disk: it stays
                self.all[name] = network
                raise
            self._assert_rules()

    def _drop(self, network: Network) -> None:
        self.all.pop(network.name, None)
        self._save()
        _delete_link(network.bridge)

    def _taken(self) -> set[Subnet]:
        """In use on this host, by our other networks too, whose bridges somebody may have deleted."""
        ours = {subnet for one in self.all.values() for subnet in (one.subnet, one.subnet6) if subnet is not None}
        return subnets.taken_networks(()) | _name_servers() | ours

    def _subnet6(self, given: str, taken: Collection[Subnet]) -> IPv6Network | None:
        if self.prefix6 is None:
            if given:
                raise InvalidInput("There is no IPv6 here.", hint=self.no_ipv6)
            return None
        if given:
            return IPv6Network(given)
        free = (one for one in self.prefix6.subnets(new_prefix=subnets.PREFIX6) if subnets.overlapping(one, taken) is None)
        next(free, None)  # the first is the default network's
        return next(free)

    def _free_bridge(self) -> str:
        while True:
            name = f"tr{self.tag}-n{secrets.token_hex(3)[:5]}"
            if link_index(name) is None:
                return name

    def _save(self) -> None:
        default, rows = self.all[DEFAULT], [_row(one) for one in self.all.values() if one.name != DEFAULT]
        self._version += 1
        state = _File(self._version, str(default.subnet), str(self.prefix6 or ""), rows)
        try:
            state_file.write(self.state_file, msgspec.json.encode(state))
            state_file.sync((self.state_file, os.path.dirname(self.state_file)))
        except OSError as error:
            hint = f"Look at df {os.path.dirname(self.state_file)}."
            raise KernelRefused(f"{self.state_file} can't be written: {error.strerror}.", hint=hint) from None


def open_networks(tag: str, path: str, note: str = forwarding.NOTE, held: Mapping[str, Attachment] | None = None) -> Networks:
    """Idempotent: bridges as the file at ``path`` says, and none of ours that it does not.

    ``note`` is shared by a host's instances. ``held``: of each network that a sandbox has a place in, such a place.
    """
    bridge = _default_bridge(tag)
    state = _read_state(path)
    no_ipv6 = subnets.no_ipv6()
    with forwarding.host_lock(note):
        lost = _recall(state, held or {}, tag)
        found = subnets.read_links()
        ours = {index for index, link in found.items() if link.name[: len(bridge)] == bridge}
        taken = subnets.taken_networks(ours) | _name_servers()
        prefix6 = None if no_ipv6 else state.prefix6 or subnets.choose_prefix6(taken)
        networks = Networks(tag, path, note, prefix6, no_ipv6, _version=state.version)
        six = next(prefix6.subnets(new_prefix=subnets.PREFIX6)) if prefix6 is not None else None
        subnet = _settle_subnet(tag, bridge, state.subnet, taken | {one.subnet for one in state.named}, found)
        last = secrets.randbelow(subnet.num_addresses - 3)
        networks.all[DEFAULT] = Network(DEFAULT, bridge, subnet, six, _last=last)
        for one in state.named:
            if no_ipv6:
                one.subnet6 = None
            networks.all[one.name] = one
        if lost or not state.version or (state.subnet, state.prefix6) != (subnet, prefix6 or state.prefix6):
            networks.prefix6 = prefix6 or state.prefix6  # kept for the day on which the host has IPv6 again
            try:
                networks._save()
            except KernelRefused as error:
                if all(link.name != bridge for link in found.values()):
                    raise
                _log.warning("%s What is there goes on.", error.message)  # the next start finds it as this one did
            networks.prefix6 = prefix6
        known = {network.bridge for network in networks.all.values()}
        for link in found.values():
            if (_NAMED.fullmatch(link.name) and link.name[: len(bridge)] == bridge and link.name not in known) or (
                shaping.is_orphan(link, bridge, found)
            ):
                _delete_link(link.name)
        for network in networks.all.values():
            ensure_bridge(network)
    return networks


def remove_networks(tag: str, path: str, note: str = forwarding.NOTE) -> None:
    """Take everything of this instance's networks off the host; what is not there is no error."""
    with forwarding.host_lock(note):
        for link in reversed(links(tag)):
            _delete_link(link)
        firewall.remove_tables(tag)
        firewall.remove_iptables_rules(tag)
        if not any(_BRIDGE.fullmatch(link.name) for link in subnets.read_links().values()):
            forwarding.close_forwarding(note)
    state_file.remove(path)


def links(tag: str) -> list[str]:
    """The links of this instance on the host, the default bridge first."""
    bridge = _default_bridge(tag)
    names = (link.name for link in subnets.read_links().values())
    return sorted(name for name in names if name == bridge or name.startswith(f"{bridge}-"))


def _delete_link(name: str) -> None:
    try:
        netlink.send([netlink.delete_link(name)])
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def _default_bridge(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise ValueError(f"not a tag of six hex digits: {tag!r}")
    return f"tr{tag}"


def _name_servers() -> set[Subnet]:
    """Mostly reached by the default route, so no other route names them; they must stay reachable."""
    return {ip_network(server) for server in resolver.name_servers()}


def _settle_subnet(
    tag: str,
    bridge: str,
    remembered: IPv4Network | None,
    taken: Collection[Subnet],
    found: dict[int, subnets.Link],
) -> IPv4Network:
    """The subnet that the bridge has, else the remembered one, else a free one; never one that clashes.

    A bridge with sandboxes on it keeps its subnet even if a later route overlaps it: they hold its addresses.
    """
    own = next((link for link in found.values() if link.name == bridge), None)
    if own is not None and own.kind != "bridge":
        raise Conflict(f"The link {bridge} exists and is not a bridge.", hint=f"Remove it: ip link delete {bridge}.")
    index = own.index if own else -1
    held = (ip_network((address, prefix), strict=False) for at, address, prefix in subnets.read_addresses() if at == index)
    current = next(held, None)
    subnet = current if isinstance(current, IPv4Network) and current.prefixlen == subnets.PREFIX else remembered
    in_use = own is not None and any(link.master == index for link in found.values())
    if subnet is None or (not in_use and subnets.overlapping(subnet, taken)):
        subnet = subnets.choose_subnet(tag, taken)
        if own is not None:
            _delete_link(bridge)
    return subnet


# ── the state file ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Row(msgspec.Struct, frozen=True):
    name: str
    bridge: str
    subnet: str
    subnet6: str
    nat: bool
    isolated: bool


class _File(msgspec.Struct, frozen=True):
    version: int = 0
    subnet: str = ""
    prefix6: str = ""
    networks: list[_Row] = []


_decode = msgspec.json.Decoder(_File).decode


@dataclass(slots=True)
class _State:
    version: int
    subnet: IPv4Network | None
    prefix6: IPv6Network | None
    named: list[Network]


def _row(one: Network) -> _Row:
    return _Row(one.name, one.bridge, str(one.subnet), str(one.subnet6 or ""), one.nat, one.isolated)


def _read_state(path: str) -> _State:
    """What is missing or spoilt is None or left out, and chosen anew."""
    try:
        file = state_file.read(path, _decode)
    except FileNotFoundError:
        file = _File()
    except ValueError as error:
        _log.warning("%s; networks are what the kernel and the sandboxes tell of them", error)
        file = _File()
    subnet, prefix6 = _network(file.subnet), _network(file.prefix6)
    if not (isinstance(subnet, IPv4Network) and subnet.prefixlen == subnets.PREFIX and subnet.is_private):
        subnet = None
    if not (isinstance(prefix6, IPv6Network) and prefix6.prefixlen == 48 and prefix6.subnet_of(subnets.LOCAL6)):
        prefix6 = None
    named = []
    for one in file.networks:
        four, six = _network(one.subnet), _network(one.subnet6)
        if isinstance(four, IPv4Network) and _NAMED.fullmatch(one.bridge):
            six = six if isinstance(six, IPv6Network) else None
            named.append(Network(one.name, one.bridge, four, six, one.nat, one.isolated))
    return _State(file.version, subnet, prefix6, named)


def _network(text: str) -> Subnet | None:
    try:
        return ip_network(text) if text else None
    except ValueError:
        return None


def _recall(state: _State, held: Mapping[str, Attachment], tag: str) -> bool:
    """Add what the file has lost of the networks in ``held``; whether that was a named one.

    Whether there is a way out of it only the firewall's rules still tell: without them there is none.
    """
    if (place := held.get(DEFAULT)) is not None:
        state.subnet = state.subnet or IPv4Network((place.gateway, place.prefix), strict=False)
        if state.prefix6 is None and place.address6:
            state.prefix6 = IPv6Network((place.address6, 48), strict=False)
    lost = held.keys() - {DEFAULT} - {one.name for one in state.named}
    with_nat = firewall.masqueraded(tag) if lost else set()
    for name in sorted(lost):
        place = held[name]
        four = IPv4Network((place.gateway, place.prefix), strict=False)
        six = IPv6Network((place.address6, place.prefix6), strict=False) if place.address6 else None
        state.named.append(Network(name, place.bridge, four, six, place.bridge in with_nat, place.isolated))
        way = "with" if place.bridge in with_nat else "without"
        _log.warning("the network %s was lost; it is there again as its sandboxes have it, %s a way out", name, way)
    return bool(lost)
