"""What this host allows, whoever asks: the root-owned policy file and the checks it stands for.

The web process is not trusted: whoever takes it over gets no more than what is written here. ``load`` refuses a file
that anyone but root could have written. Every check is one named function and raises PolicyRefused.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..errors import InvalidInput, PolicyRefused, Unsupported
from ..kernel import namespaces
from ..kernel.host_image import HOST_IMAGE
from ..kernel.images.references import check_registry, parse_reference
from ..kernel.images.task import Registries
from ..kernel.security import DEFAULT_CAPABILITIES
from ..spec import NAMESPACE_TYPES, ContainerSpec, ImportSpec, LimitChanges, LimitValue, PullSource, RegistrySource
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


def check_spec(policy: Policy, spec: ContainerSpec) -> None:
    """Hold a checked spec against the policy. PolicyRefused names the first thing that is not allowed."""
    for check in POLICY_CHECKS:
        check(policy, spec)


def check_user_namespace(policy: Policy, spec: ContainerSpec) -> None:
    if spec.namespaces.user == "host" and not policy.allow.no_user_namespace:
        raise PolicyRefused(
            "This host asks for a user namespace of its own.",
            hint='Leave "user" private, or ask root to set no_user_namespace in policy.toml.',
        )


def check_host_namespaces(policy: Policy, spec: ContainerSpec) -> None:
    for kind, mode in spec.namespaces.items():
        if mode == "host" and kind != "user":
            check_initial_namespace(policy, kind)


def check_initial_namespace(policy: Policy, kind: str) -> None:
    """Also for whoever finds that a reference (``container:ID``, ``path:``) leads to the host's own namespace.

    Unsupported for "mnt", whatever the policy: what a container mounts as its root and below, the host would have.
    """
    if kind == "mnt":
        raise Unsupported(
            "A container always has a mount namespace of its own: in the host's, its root and mounts would be the host's too.",
            hint='Leave "mnt" private and mount what it needs; a sandbox with the image "host" sees the host\'s own files.',
        )
    allowed = policy.allow.no_user_namespace if kind == "user" else kind in policy.allow.host_namespaces
    if not allowed:
        setting = "set no_user_namespace" if kind == "user" else "add it to host_namespaces"
        raise PolicyRefused(
            f"This host does not lend its own {kind} namespace.",
            hint=f'Make "{kind}" private, or ask root to {setting} in policy.toml.',
        )


def check_namespace_paths(policy: Policy, spec: ContainerSpec) -> None:
    """A path may only be a namespace that root has bound under /run, and the host's own only where that is allowed."""
    for kind, mode in spec.namespaces.items():
        if not mode.startswith("path:"):
            continue
        path = os.path.normpath(mode.removeprefix("path:"))
        try:
            if not path.startswith(("/run/", "/var/run/")) or not os.path.realpath(path).startswith("/run/"):
                raise PolicyRefused("Namespaces by path must lie under /run.", hint="For example path:/run/netns/blue.")
            same = os.stat(path).st_ino == namespaces.initial().get(kind)
        except OSError as error:
            raise InvalidInput(
                f"There is no namespace at {path}: {error.strerror}.", code="invalid_namespace", hint="ip netns add makes one."
            ) from None
        if same:
            check_initial_namespace(policy, kind)


def check_host_files(policy: Policy, spec: ContainerSpec) -> None:
    """The image "host", and mount namespaces by path: those that programs keep under /run mostly hold the host's own files."""
    if policy.allow.host_image:
        return
    if spec.engine == "raw" and spec.image == HOST_IMAGE:
        raise PolicyRefused(
            "This host does not show its own files to containers.",
            hint="Choose another image, or ask root to set host_image in policy.toml.",
        )
    if spec.namespaces.mnt.startswith("path:"):
        raise PolicyRefused(
            "This host does not let its mount namespaces be joined by path.",
            hint='Make "mnt" private or container:ID, or ask root to set host_image in policy.toml.',
        )


def check_toolbox(policy: Policy) -> None:
    if not policy.allow.toolbox:
        raise PolicyRefused("This host does not allow toolboxes.", hint="Ask root to set toolbox in policy.toml.")


def check_bind_paths(policy: Policy, spec: ContainerSpec) -> None:
    """Both the path as written and where it leads must be allowed. The engine must open it without following links."""
    for mount in spec.mounts:
        if mount.type != "bind":
            continue
        for path in (os.path.normpath(mount.source), _resolved(mount.source)):
            if not any(_within(path, _resolved(allowed)) for allowed in policy.allow.bind_paths):
                raise PolicyRefused(
                    f"This host does not let {mount.source} be mounted into containers.",
                    hint="Ask root to add it to bind_paths in policy.toml.",
                )


def check_import(policy: Policy, spec: ImportSpec) -> None:
    """What an image may be made from."""
    path = getattr(spec.source, "path", "")
    if path and not any(
        _within(place, _resolved(allowed))
        for allowed in policy.allow.import_paths
        for place in (os.path.normpath(path),)
        if _resolved(path) == place
    ):
        raise PolicyRefused(
            f"This host does not let {path} become an image.",
            hint="Ask root to add it to import_paths in policy.toml; write it without symbolic links.",
        )
    if isinstance(spec.source, RegistrySource):
        check_registry(registries(policy), parse_reference(spec.source.reference))
    if isinstance(spec.source, PullSource):
        check_registry(registries(policy), parse_reference(spec.name))


def registries(policy: Policy) -> Registries:
    return Registries(policy.allow.registries, policy.allow.insecure_registries)


def check_published_ports(policy: Policy, spec: ContainerSpec) -> None:
    for port in spec.ports:
        if port.host_port and not any(first <= port.host_port <= last for first, last in policy.allow.port_ranges()):
            raise PolicyRefused(
                f"This host does not let port {port.host_port} be published.",
                hint="Choose one of "
                + (", ".join(policy.allow.ports) or "none")
                + ", or ask root to add it to ports in policy.toml.",
            )
        allowed = [ipaddress.ip_network(text) for text in policy.allow.port_addresses]
        for address in (port.host_ip,) if port.host_ip else ("0.0.0.0", "::"):
            asked = ipaddress.ip_address(address)
            least = 0 if asked.is_unspecified else asked.max_prefixlen  # 0.0.0.0 and :: stand for every address
            if not any(asked in one and one.prefixlen <= least for one in allowed):
                raise PolicyRefused(
                    f"This host does not let ports be published on {port.host_ip or 'every address'}.",
                    hint="Name a host_ip within " + (", ".join(policy.allow.port_addresses) or "none") + ".",
                )


def check_capabilities(policy: Policy, spec: ContainerSpec) -> None:
    extra = set(spec.security.capabilities or ()) - set(DEFAULT_CAPABILITIES)
    if extra and not policy.allow.capabilities:
        raise PolicyRefused(
            f"This host does not give containers {sorted(extra)[0]}.",
            hint="Choose from the default set, or ask root to set capabilities in policy.toml.",
        )


def check_oom_score(policy: Policy, spec: ContainerSpec) -> None:
    if spec.oom_score_adj < 0 and not policy.allow.oom_score_below_zero:
        raise PolicyRefused(
            "This host does not let containers be spared when its memory is short.",
            hint="Set oom_score_adj to 0 or more, or ask root to set oom_score_below_zero in policy.toml.",
        )


def check_id_map(policy: Policy, spec: ContainerSpec) -> None:
    """Each line must lead into one range: the sandboxes' own, or one that root has listed."""
    ranges = [(policy.uids.base, policy.uids.count), *policy.allow.id_ranges()]
    for line in spec.id_map:
        if not any(first <= line.outside and line.outside + line.count <= first + count for first, count in ranges):
            wanted = f"{line.outside}-{line.outside + line.count - 1}"
            raise PolicyRefused(
                f"This host does not lend containers the ids {wanted}.",
                hint=f"Its own range begins at {policy.uids.base}; or ask root to add {wanted} to id_maps in policy.toml.",
            )


def check_shared_mounts(policy: Policy, spec: ContainerSpec) -> None:
    if any(mount.propagation == "shared" for mount in spec.mounts) and not policy.allow.shared_mounts:
        raise PolicyRefused(
            "This host does not take over what containers mount.",
            hint='Make the mount\'s propagation "slave", or ask root to set shared_mounts in policy.toml.',
        )


def check_seccomp(policy: Policy, spec: ContainerSpec) -> None:
    if spec.security.seccomp == "off" and not policy.allow.seccomp_off:
        raise PolicyRefused(
            "This host does not let containers run without a seccomp filter.",
            hint='Leave seccomp "default", or ask root to set seccomp_off in policy.toml.',
        )


def check_largest_limits(policy: Policy, spec: ContainerSpec) -> None:
    for name, largest in policy.limits.items():
        check_limit(name, spec.limits.get(name), largest)


def check_changes(policy: Policy, changes: LimitChanges) -> None:
    """The same for a change of limits: what is not changed is not looked at."""
    for name, largest in policy.limits.items():
        if name in changes:
            check_limit(name, changes[name], largest)


def check_limit(name: str, value: LimitValue | None, largest: float) -> None:
    if not isinstance(value, (int, float)) or value > largest:
        raise PolicyRefused(
            f"This host allows at most {largest:.10g} for the limit {name}.", hint=f"Set {name} to {largest:.10g} or less."
        )


POLICY_CHECKS: tuple[Callable[[Policy, ContainerSpec], None], ...] = (
    check_user_namespace, check_host_namespaces, check_host_files, check_namespace_paths, check_bind_paths, check_capabilities,
    check_seccomp, check_published_ports, check_oom_score, check_id_map, check_shared_mounts, check_largest_limits,
)  # fmt: skip


def _resolved(path: str) -> str:
    """Where it leads; what may not be looked at (links in /proc) leads to nowhere that is allowed."""
    try:
        return os.path.realpath(path)
    except OSError:
        return ""


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
