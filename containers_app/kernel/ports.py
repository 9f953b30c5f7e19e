"""Published ports: which of the host's ports lead to which sandbox, and who may have them.

Each is held by a bound socket that never listens, as long as its sandbox runs: nobody else on this host (Docker, a service) can
take it, and whoever has it already is found out by bind(2). The packets never get to that socket, the firewall turns them round.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import msgspec

from ..errors import Conflict, InvalidInput, KernelRefused
from ..spec import Port
from .network import Attachment

Range = tuple[int, int]  # first and last host port
_TRIES = 200  # ports looked at, should many be in use
LOOPBACK6 = "::1"  # IPv6 has no route_localnet
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True)
class Published:
    """One rule: ``host_ip`` "" is every address of the host, of both families."""

    network: str
    protocol: str
    host_ip: str
    host_port: int
    address: str
    address6: str
    container_port: int

    @property
    def to_loopback(self) -> bool:
        return not self.host_ip or (":" not in self.host_ip and ip_address(self.host_ip).is_loopback)


@dataclass(slots=True)
class Ports:
    """By the id of the sandbox whose they are."""

    _held: dict[str, list[socket.socket]] = field(default_factory=dict)
    _published: dict[str, tuple[Published, ...]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def published(self) -> list[Published]:
        return [one for owned in list(self._published.values()) for one in owned]

    def take(
        self, owner: str, name: str, network: str, wanted: Sequence[Port], attachment: Attachment, ranges: Sequence[Range]
    ) -> tuple[Port, ...]:
        """Hold all of them or none. ``host_port`` 0 becomes a free one out of ``ranges``. Conflict names who has a port."""
        held: list[socket.socket] = []
        ports: list[Port] = []
        try:
            for port in wanted:
                if ":" in port.host_ip and not attachment.address6:
                    raise InvalidInput(f"{port.host_ip} leads nowhere: the network has no IPv6.", code="invalid_port")
                if port.host_ip == LOOPBACK6:
                    raise InvalidInput(
                        "::1 leads nowhere: no packet from ::1 leaves the loopback link.", code="invalid_port",
                        hint="Publish it on 127.0.0.1.",
                    )  # fmt: skip
                number, sockets = self._hold(port, ranges, six=bool(attachment.address6))
                held += sockets
                ports.append(msgspec.structs.replace(port, host_port=number))
        except BaseException:
            _close(held)
            raise
        self._held[owner] = held
        self._publish(owner, name, network, ports, attachment)
        return tuple(ports)

    def _publish(self, owner: str, name: str, network: str, ports: Sequence[Port], attachment: Attachment) -> None:
        four, six = attachment.address, attachment.address6
        self._names[owner] = name
        self._published[owner] = tuple(
            Published(network, port.protocol, port.host_ip, port.host_port, four, six, port.container_port) for port in ports
        )

    def keep(self, owner: str, name: str, network: str, had: Sequence[Port], attachment: Attachment) -> str:
        """Of a sandbox that ran on while the worker was away. Returns what could not be held, "" when all is well."""
        try:
            self.take(owner, name, network, had, attachment, ())
        except (Conflict, InvalidInput, KernelRefused) as error:
            self._publish(owner, name, network, had, attachment)
            return error.message
        return ""

    def give_back(self, owner: str) -> bool:
        """Whether it had any: then the rules are to be written anew."""
        _close(self._held.pop(owner, []))
        self._names.pop(owner, None)
        return self._published.pop(owner, None) is not None

    def close(self) -> None:
        for held in self._held.values():
            _close(held)
        self._held.clear()

    def _hold(self, port: Port, ranges: Sequence[Range], *, six: bool) -> tuple[int, list[socket.socket]]:
        if port.host_port:
            try:
                return port.host_port, _bind(port, port.host_port, six)
            except OSError as error:
                raise self._refused(port, error) from None
        for _ in range(_TRIES if ranges else 0):
            first, last = random.choice(ranges)  # noqa: S311  nothing depends on nobody guessing it
            number = random.randint(first, last)  # noqa: S311
            try:
                return number, _bind(port, number, six)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise self._refused(port, error) from None
        raise Conflict("No port of the host is free for it.", hint="See allow.ports in policy.toml.", code="port_taken")

    def _refused(self, port: Port, error: OSError) -> Conflict | InvalidInput | KernelRefused:
        if error.errno == errno.EADDRNOTAVAIL:
            return InvalidInput(f"{port.host_ip} is no address of this host.", code="invalid_port", hint="See ip address.")
        if error.errno != errno.EADDRINUSE:
            return KernelRefused(f"Port {port.host_port} of the host can't be taken: {error.strerror}.")
        who = "a program of this host, or by Docker"
        for owner, owned in self._published.items():
            if any((one.protocol, one.host_port) == (port.protocol, port.host_port) for one in owned):
                who = f"the sandbox {self._names[owner]}"
        return Conflict(
            f"Port {port.host_port} ({port.protocol}) of the host is used by {who}.",
            hint="Choose another one, or 0 and the panel chooses.",
            code="port_taken",
        )


def _bind(port: Port, number: int, six: bool) -> list[socket.socket]:
    """On every address that the port is published on; OSError when one is in use."""
    places = [port.host_ip] if port.host_ip else ["0.0.0.0", *(["::"] if six else [])]
    held: list[socket.socket] = []
    try:
        for place in places:
            family = socket.AF_INET6 if ":" in place else socket.AF_INET
            one = socket.socket(family, _KINDS[port.protocol] | socket.SOCK_CLOEXEC)
            held.append(one)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((place, number))
    except BaseException:
        _close(held)
        raise
    return held


def _close(held: Sequence[socket.socket]) -> None:
    for one in held:
        one.close()
