"""What a bridge network is asked to be, typed and checked."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from ..errors import InvalidInput
from ..units import shown

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}", re.ASCII)
SMALLEST, LARGEST = 29, 12  # prefix lengths of an IPv4 subnet
SMALLEST6, LARGEST6 = 112, 48


class NetworkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``subnet`` and ``subnet6`` "" are chosen. ``nat`` false is an internal network, ``isolated`` keeps sandboxes apart."""

    name: str
    engine: str = "raw"
    subnet: str = ""
    subnet6: str = ""
    nat: bool = True
    isolated: bool | None = None  # None: yes for sandboxes, no for Docker, which has no such thing


def check_network(spec: NetworkSpec) -> None:
    if not _NAME.fullmatch(spec.name):
        raise InvalidInput(
            f"{shown(spec.name)} is not a name.",
            code="invalid_name",
            hint="Use 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit.",
        )
    if spec.subnet:
        _check_subnet(spec.subnet, 4, (LARGEST, SMALLEST), "For example 10.20.0.0/24.")
    if spec.subnet6:
        _check_subnet(spec.subnet6, 6, (LARGEST6, SMALLEST6), "For example fd12:3456:789a:1::/64.")


def _check_subnet(text: str, version: int, lengths: tuple[int, int], hint: str) -> None:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise InvalidInput(f"{shown(text)} is not a subnet.", code="invalid_subnet", hint=hint) from None
    usual = network.is_private and not (network.is_loopback or network.is_link_local or network.is_multicast)
    if network.version != version or not usual or network.network_address.is_unspecified or network.is_reserved:
        message = f"{shown(text)} is not a private subnet of IPv{version}."
        raise InvalidInput(message, code="invalid_subnet", hint=hint)
    if not lengths[0] <= network.prefixlen <= lengths[1]:
        raise InvalidInput(f"A subnet of IPv{version} is from /{lengths[0]} to /{lengths[1]}.", code="invalid_subnet", hint=hint)
