"""The raw engine's networks: a sandbox's place in one, the ports that lead to it, its rates, and the networks themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import Conflict, TerrariumError
from ..kernel import firewall, shaping, subnets
from ..kernel.network import DEFAULT, Attachment, Network, describe_bridge, guard
from ..kernel.networks import Networks, open_networks
from ..kernel.ports import Published
from ..spec import NET_LIMITS, LimitChanges, LimitValue, NetworkSpec, whole
from .policy import Policy
from .raw_store import Record

log = logging.getLogger(__name__)


class Wire:
    """``networks`` is None until ``open``."""

    def __init__(self, tag: str, data: str, policy: Policy, records: Callable[[], list[Record]]) -> None:
        self._tag, self._state_file, self._policy = tag, f"{data}/state/network.json", policy
        self._records = records
        self.networks: Networks | None = None

    async def open(self, records: Iterable[Record]) -> None:
        """``records``: the places that they have tell of a network that the state file has lost."""
        those_that_run_last = sorted(records, key=lambda record: record.phase != "ready")
        held = {one.spec.network or DEFAULT: one.attachment for one in those_that_run_last if one.attachment is not None}
        self.networks = await asyncio.to_thread(open_networks, self._tag, self._state_file, held=held)

    async def assert_rules(self) -> None:
        """Also once after ``open`` and every ``keep``: until then the rules that were there still stand."""
        if self.networks is not None:
            await asyncio.to_thread(self.networks.assert_rules)

    async def look_after(self) -> None:
        """Every few seconds: somebody may have flushed the firewall or deleted a bridge."""
        if self.networks is not None and await asyncio.to_thread(self.networks.look_after):
            log.warning("somebody had taken rules or bridges of the networks away; they are there again")

    def close(self) -> None:
        if self.networks is not None:
            self.networks.ports.close()

    # ── a sandbox ────────────────────────────────────────────────────────────────────────────────────────────────────

    def attachment(self, record: Record, used: Iterable[str]) -> Attachment | None:
        """Its place for the next run: the address that it had, where that is still its network's."""
        if record.attachment is None:
            return None
        assert self.networks is not None
        network = self.networks.get(record.spec.network)
        self.networks.mend(network)
        return network.again(record.attachment, set(used))

    async def publish(self, record: Record) -> None:
        """Take its ports, those chosen before where they are still free. Conflict names who has one, and none is taken."""
        if not record.spec.ports or record.attachment is None:
            return
        assert self.networks is not None
        ports, allowed = self.networks.ports, self._policy.allow.port_ranges()
        try:
            record.ports = ports.take(
                record.id, record.spec.name, record.spec.network or DEFAULT, record.ports or record.spec.ports, record.attachment,
                allowed,
            )  # fmt: skip
        except Conflict:
            if not record.ports or all(port.host_port for port in record.spec.ports):
                raise
            record.ports = ports.take(
                record.id, record.spec.name, record.spec.network or DEFAULT, record.spec.ports, record.attachment, allowed
            )
        try:
            await self.assert_rules()
        except BaseException:
            ports.give_back(record.id)
            raise

    def describe(self, record: Record) -> list[str]:
        """The shell commands that lead its ports to it, in a table of their own."""
        if not record.spec.ports or record.attachment is None:
            return []
        assert self.networks is not None
        place, name = record.attachment, record.spec.network or DEFAULT
        table = f"terrarium_{self._tag}"
        chains = (
            "chain {} arrive '{{ type nat hook prerouting priority dstnat; }}'",
            "chain {} answer '{{ type nat hook output priority -100; }}'",
            "chain {} leave '{{ type nat hook postrouting priority srcnat; }}'",
        )
        lines = [f"nft add table inet {table}", *("nft add " + chain.format(f"inet {table}") for chain in chains)]
        for port in record.ports or record.spec.ports:
            one = Published(name, port.protocol, port.host_ip, port.host_port, place.address, place.address6, port.container_port)
            for rule in firewall.port_rules(one):
                lines += [f"nft add rule inet {table} {chain} fib daddr type local {rule}" for chain in ("arrive", "answer")]
        lines.append(f"nft add rule inet {table} leave oifname {place.bridge} ip saddr 127.0.0.0/8 masquerade")
        return [*lines, f"sysctl -w net.ipv4.conf.{place.bridge}.route_localnet=1"]

    def keep(self, record: Record) -> None:
        """It ran on while there was no worker."""
        self.note_link(record)
        if record.attachment is None:
            return
        try:
            guard(record.attachment)
        except OSError as error:  # its link or its bridge has been deleted
            log.warning("sandbox %s: its port is not guarded: %s", record.id, error)
        if record.ports:
            assert self.networks is not None
            place = record.spec.network or DEFAULT
            if wrong := self.networks.ports.keep(record.id, record.spec.name, place, record.ports, record.attachment):
                log.warning("sandbox %s: %s", record.id, wrong)

    async def release(self, record: Record) -> None:
        """It has ended. Never raises: rules that could not be written are written with the next."""
        if record.attachment is None or self.networks is None:
            return
        if self.networks.ports.give_back(record.id):
            try:
                await self.assert_rules()
            except Exception:  # whatever it is: somebody waits for the end of this sandbox
                log.exception("the rules of the ports of %s", record.spec.name)
        try:
            index = record.link_index
            if not index and self.shape_of(record) is not None:  # its launch failed
                # The link may still be dying with its namespace, or have gone already.
                index = shaping.link_index(record.attachment.link)
                if not index:
                    shaping.forget_orphans(self._tag, subnets.read_links())
            if index:
                shaping.forget(self._tag, index)
        except OSError:  # it goes at the next start
            log.exception("the ifb of %s", record.spec.name)
        record.link_index = 0

    # ── rates ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def shape_of(self, record: Record) -> shaping.ShapeLink | None:
        """Its rates as a step of its launch."""
        rates = {name: whole(value) for name, value in record.requested.items() if name in NET_LIMITS}
        if record.attachment is None or not any(rates.values()):
            return None
        return shaping.ShapeLink(self._tag, record.attachment.link, rates.get("net_in", 0), rates.get("net_out", 0))

    def note_link(self, record: Record) -> None:
        """It runs; by the number of its link its ifb is found when the link has gone."""
        if self.shape_of(record) is not None and record.attachment is not None:
            record.link_index = shaping.link_index(record.attachment.link)

    def shape(self, record: Record, changes: Mapping[str, LimitValue | None]) -> None:
        """Set (or clear, with None) those of ``changes`` that are rates. All or none."""
        rates = {name: value for name, value in changes.items() if name in NET_LIMITS}
        if not rates or record.attachment is None:
            return
        before = shaping.read_rates(self._tag, record.attachment.link)
        done: list[str] = []
        try:
            for name, value in rates.items():
                done.append(name)
                shaping.set_rate(self._tag, record.attachment.link, name, None if value is None else whole(value))
        except TerrariumError:
            for name in done:
                shaping.set_rate(self._tag, record.attachment.link, name, before.get(name))
            raise
        record.link_index = shaping.link_index(record.attachment.link)

    def update(self, record: Record, changes: LimitChanges, groups: Callable[[], None]) -> None:
        """The rates, then the control groups' limits by ``groups``: all or nothing. In a thread."""
        if not any(name in changes for name in NET_LIMITS):
            groups()
            return
        before = shaping.read_rates(self._tag, record.attachment.link) if record.attachment is not None else {}
        self.shape(record, changes)
        try:
            groups()
        except TerrariumError:
            self.shape(record, {name: before[name] for name in changes if name in before})
            raise

    # ── networks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def list_networks(self) -> list[dict[str, Any]]:
        """The REST items; none while they could not be opened."""
        if self.networks is None:
            return []
        members: dict[str, list[dict[str, Any]]] = {}
        for record in self._records():
            if record.attachment is not None:
                place = record.attachment
                members.setdefault(record.spec.network or DEFAULT, []).append(
                    {"id": record.id, "name": record.spec.name, "owner": record.owner, "address": place.address,
                     "address6": place.address6}
                )  # fmt: skip
        return [self._item(network, members.get(network.name, [])) for network in self.networks.all.values()]

    def _item(self, network: Network, members: list[dict[str, Any]]) -> dict[str, Any]:
        assert self.networks is not None
        return {
            "name": network.name, "engine": "raw", "subnet": str(network.subnet), "gateway": network.gateway,
            "bridge": network.bridge, "subnet6": str(network.subnet6) if network.subnet6 is not None else None,
            "gateway6": network.gateway6 or None, "nat": network.nat, "isolated": network.isolated, "containers": members,
            "note": self.networks.no_ipv6 or (self.networks.no_nat6 if network.nat else ""),
            "commands": describe_bridge(network),
        }  # fmt: skip

    async def create_network(self, spec: NetworkSpec) -> dict[str, Any]:
        assert self.networks is not None
        make: Callable[..., Network] = self.networks.create
        network = await asyncio.to_thread(
            make, spec.name, spec.subnet, spec.subnet6, nat=spec.nat, isolated=spec.isolated is not False
        )
        return self._item(network, [])

    async def remove_network(self, name: str) -> None:
        assert self.networks is not None
        network = self.networks.get(name)
        users = [
            one.spec.name
            for one in self._records()
            if one.attachment is not None and (one.spec.network or DEFAULT) == network.name
        ]
        if users and network.name != DEFAULT:
            raise Conflict(
                f"The network {name} is used by " + ", ".join(users[:10]) + (" and others." if len(users) > 10 else "."),
                hint="Remove them first.", code="network_in_use",
            )  # fmt: skip
        if network.name != DEFAULT:  # which stays
            self.networks.leaving.add(network.name)  # nobody comes in from now on
        try:
            await asyncio.to_thread(self.networks.remove, network.name)
        finally:
            self.networks.leaving.discard(network.name)
