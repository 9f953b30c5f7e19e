"""What this host allows, whoever asks: the root-owned policy file. policy_checks.py holds what is asked for against it.

The web process is not trusted: whoever takes it over gets no more than what is written here. ``load`` refuses a file
that anyone but root could have written.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InvalidInput
from ..spec import NAMESPACE_TYPES
from ..units import parse_size

UID_RANGE = 65536  # ids of one sandbox, as in subuid(5)
MAX_POLICY = 1 << 16  # bytes
_NOT_LENDABLE = {
    "user": "the host's user namespace is lent by no_user_namespace = true: set that, and leave user out",
    "mnt": "nobody stands in the host's mount namespace: leave mnt out; host_image = true shows sandboxes the host's files",
}
_PORTS = re.compile(r"[0-9]{1,5}(?:-[0-9]{1,5})?", re.ASCII)

_MODE_HINT = "Ask root to set owner root and mode 0600."


@dataclass(frozen=True)
class Peers:
    uids: tuple[int, ...] = (0,)  # users whose processes may connect to the worker; root always may


@dataclass(frozen=True)
class UidRange:
    base: int = 0  # first host uid given to sandboxes; 0: none registered
    count: int = 0

    def __post_init__(self) -> None:
        if self.count and (self.base < UID_RANGE or self.count < UID_RANGE or self.base + self.count > 1 << 32):
            raise ValueError(f"uids.base must be at least {UID_RANGE}, and the range must hold one sandbox ({UID_RANGE} ids)")


@dataclass(frozen=True)
class Allow:
    host_namespaces: tuple[str, ...] = ("net", "pid", "ipc", "uts", "time", "cgroup")
    bind_paths: tuple[str, ...] = ()  # host directories; they and what is in them may be bound
    capabilities: bool = False  # capabilities beyond the default set
    no_user_namespace: bool = False  # root inside is root outside
    seccomp_off: bool = False
    ports: tuple[str, ...] = ("1024-65535",)  # ports of the host that may be published, each "FIRST-LAST" or one
    port_addresses: tuple[str, ...] = ("0.0.0.0/0", "::/0")  # networks of host addresses that they may be published on
    real_time: bool = False  # programs that run before all others, past any limit on their CPU time (the limit rtprio)
    oom_score_below_zero: bool = False  # programs that the kernel spares when memory is short, at others' cost
    shared_mounts: bool = False  # what a sandbox mounts below such a bind appears on the host
    id_maps: tuple[str, ...] = ()  # ids outside of [uids] that a map may lead to: "1000" or "1000-1999"
    add_process: bool = True  # staff may move processes of the host into a sandbox's control group
    host_image: bool = False  # sandboxes that see the host's own programs and settings (kernel/host_image.py)
    import_paths: tuple[str, ...] = ()  # host directories; they and what is in them may become images
    registries: tuple[str, ...] = ("docker.io", "ghcr.io", "quay.io")  # that images may be fetched from, by https
    insecure_registries: tuple[str, ...] = ()  # the same by plain http
    toolbox: bool = True  # staff may open tools beside any container, as the host's root where that has no user namespace

    def __post_init__(self) -> None:
        if unknown := set(self.host_namespaces) - set(NAMESPACE_TYPES):
            raise ValueError(f"allow.host_namespaces: there is no namespace called {sorted(unknown)[0]}")
        for kind in self.host_namespaces:
            if kind in _NOT_LENDABLE:
                raise ValueError(f"allow.host_namespaces: {_NOT_LENDABLE[kind]}")
        for name in ("bind_paths", "import_paths"):
            if relative := [path for path in getattr(self, name) if not path.startswith("/")]:
                raise ValueError(f"allow.{name}: {relative[0]} is not an absolute path")
        if wrong := [text for text in self.ports if not _PORTS.fullmatch(text)]:
            raise ValueError(f"allow.ports: {wrong[0]} is neither a port nor a range of ports")
        if bad := [first for first, last in self.port_ranges() if not 1 <= first <= last <= 65535]:
            raise ValueError(f"allow.ports: the range from {bad[0]} is not one within 1 to 65535")
        for text in self.port_addresses:
            ipaddress.ip_network(text)  # ValueError says what is wrong with it
        self.id_ranges()

    def port_ranges(self) -> list[tuple[int, int]]:
        """(first, last) of each."""
        pairs = (text.partition("-") for text in self.ports)
        return [(int(first), int(last or first)) for first, _, last in pairs]

    def id_ranges(self) -> list[tuple[int, int]]:
        """(first, count) of ``id_maps``. ValueError when one is no range of ids."""
        ranges = []
        for text in self.id_maps:
            first, dash, last = text.partition("-")
            last = last if dash else first
            if not (text.isascii() and first.isdigit() and last.isdigit() and int(first) <= int(last) < (1 << 32) - 1):
                raise ValueError(f"allow.id_maps: {text} is not an id or a range of ids such as 1000-1999")
            ranges.append((int(first), int(last) - int(first) + 1))
        return ranges


@dataclass(frozen=True)
class Largest:
    """The largest limits that may be set; None leaves it to the host. Where one is set, "no limit" is refused."""

    memory: int | str | None = None  # bytes, or written as "8G"
    cpu: float | None = None  # cores
    pids: int | None = None
    image_size: int | str = "8G"  # of one image, unpacked; bytes, or written as "8G"
    image_entries: int = 1_000_000  # files, directories and links of one image

    def __post_init__(self) -> None:
        for name, value in (*self.items(), ("image_size", self.image_bytes), ("image_entries", self.image_entries)):
            if value <= 0:
                raise ValueError(f"limits.{name} must be more than 0")

    @property
    def image_bytes(self) -> int:
        try:
            return parse_size(self.image_size)
        except InvalidInput as error:
            raise ValueError(f"limits.image_size: {error.message}") from None

    def items(self) -> list[tuple[str, float]]:
        """(name, bytes, cores or processes) of those that are set."""
        try:
            memory = None if self.memory is None else parse_size(self.memory)
        except InvalidInput as error:
            raise ValueError(f"limits.memory: {error.message}") from None
        rows = (("memory", memory), ("cpu", self.cpu), ("pids", self.pids))
        return [(name, value) for name, value in rows if value is not None]


@dataclass(frozen=True)
class Policy:
    peers: Peers = field(default_factory=Peers)
    uids: UidRange = field(default_factory=UidRange)
    allow: Allow = field(default_factory=Allow)
    limits: Largest = field(default_factory=Largest)

    def admits(self, uid: int) -> bool:
        """May a process of this user connect to the worker?"""
        return uid == 0 or uid in self.peers.uids


class _File(msgspec.Struct, forbid_unknown_fields=True):
    peers: Peers = msgspec.field(default_factory=Peers)
    uids: UidRange = msgspec.field(default_factory=UidRange)
    allow: Allow = msgspec.field(default_factory=Allow)
    limits: Largest = msgspec.field(default_factory=Largest)


def load(path: Path, owner: int = 0) -> Policy:
    """Read the policy; it must be a plain file of ``owner`` (root) that nobody else can write, else InvalidInput."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InvalidInput(
            f"The policy {path} can't be read: {error.strerror}.", code="invalid_policy", hint="deploy/up writes one."
        ) from None
    with open(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != owner or facts.st_mode & 0o022:
            raise InvalidInput(f"The policy {path} could be changed by others than root.", code="invalid_policy", hint=_MODE_HINT)
        text = file.read(MAX_POLICY + 1)
    try:
        if len(text) > MAX_POLICY:
            raise ValueError("it is too long")
        raw: Mapping[str, Any] = tomllib.loads(text.decode())
        parsed = msgspec.convert(_known(raw), _File)
    except ValueError as error:  # TOML, UTF-8, types (msgspec) and ranges alike
        raise InvalidInput(
            f"The policy {path} is not right: {error}.",
            code="invalid_policy",
            hint="Correct it, or move it away and run deploy/up.",
        ) from None
    return Policy(parsed.peers, parsed.uids, parsed.allow, parsed.limits)


def _known(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuse unknown keys: a misspelt permission must not go unnoticed (dataclasses have no forbid_unknown_fields)."""
    for section, kind in (("peers", Peers), ("uids", UidRange), ("allow", Allow), ("limits", Largest)):
        keys = raw.get(section, {})
        if isinstance(keys, dict) and (unknown := set(keys) - set(kind.__dataclass_fields__)):
            raise ValueError(f"there is no setting called {section}.{sorted(unknown)[0]}")
    return raw
