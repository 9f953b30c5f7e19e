"""What is told of a Docker daemon's networks, volumes and left-overs: words and types, as the API sends them."""

from __future__ import annotations

import msgspec


class Prunable(msgspec.Struct, frozen=True):
    """What a prune takes, or has taken. ``bytes`` counts what nothing else shares; the daemon's own word once it is done."""

    items: list[str]
    bytes: int


class Attachment(msgspec.Struct, frozen=True):
    """A container that runs on a network, with its addresses there."""

    id: str
    name: str
    address: str = ""
    address6: str = ""


class NetworkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """``bridge`` is its link on the host, "" where it is none or not told; without ``nat`` nothing gets out of it."""

    name: str
    id: str
    driver: str
    subnet: str = ""
    gateway: str = ""
    subnet6: str | None = None
    gateway6: str | None = None
    bridge: str = ""
    nat: bool = True
    isolated: bool = False  # containers on one of Docker's networks reach each other
    owner: str = ""
    commands: tuple[str, ...] = ()  # that would make it; Docker's own three were there before
    containers: tuple[Attachment, ...] = ()  # in the answer for one network only; a list leaves it out


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """``used_by`` are ids of the containers that have it, running or not."""

    name: str
    driver: str
    path: str = ""  # on the host, for "local"
    created_at: float | None = None
    owner: str = ""
    size: int | None = None  # bytes; None: nobody has counted
    used_by: tuple[str, ...] = ()
