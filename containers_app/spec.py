"""What a container is asked to be: the words of the API, typed and checked.

Everything here is frozen and plain; nothing here touches the machine. ``parse_container`` and ``parse_limits``
are the border: raw JSON in, a checked value out, or ``InvalidInput`` with a hint. Sizes are bytes, CPU is cores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .errors import InvalidInput
from .units import parse_share, parse_size, plain, shown

NAMESPACE_TYPES = ("mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time")
NET_MODES = ("bridge", "none", "host", "private")
ENGINES = ("raw", "docker")
CLOCKS = ("monotonic", "boottime")
MAX_TIME_OFFSET = 100 * 365 * 86400  # seconds; the kernel's own bound is about 146 years, less what the clock shows
STATES = ("created", "running", "paused", "exited", "unknown")

LimitValue = int | float | str
Limits = dict[str, LimitValue]
LimitChanges = dict[str, LimitValue | None]


class Limit(msgspec.Struct, frozen=True):
    """One row of the table of limits; ``unit`` is what the number means, files are where the kernel keeps it."""

    name: str
    label: str
    unit: str  # cores | weight | cpus | bytes | processes
    kind: str  # share | weight | cpuset | size | count
    minimum: float
    maximum: float | None  # None: the host says
    v1: str
    v2: str
    help: str


_LIMIT_ROWS = (
    Limit(
        "cpu",
        "CPU",
        "cores",
        "share",
        0.01,
        None,
        "cpu.cfs_quota_us, cpu.cfs_period_us",
        "cpu.max",
        "Most CPU time it may use, in cores. 0.5 is half of one core.",
    ),
    Limit(
        "cpu_weight",
        "CPU weight",
        "weight",
        "weight",
        1,
        10000,
        "cpu.shares",
        "cpu.weight",
        "Its share when CPUs are contended. 100 is the default.",
    ),
    Limit(
        "cpuset",
        "CPUs",
        "cpus",
        "cpuset",
        0,
        None,
        "cpuset.cpus",
        "cpuset.cpus",
        "The CPUs it may run on, as a list such as 0-1,3.",
    ),
    Limit(
        "memory",
        "Memory",
        "bytes",
        "size",
        1 << 20,
        None,
        "memory.limit_in_bytes",
        "memory.max",
        "Most memory it may use; past it the kernel reclaims, then kills.",
    ),
    Limit(
        "memory_high",
        "Memory high",
        "bytes",
        "size",
        1 << 20,
        None,
        "",
        "memory.high",
        "Above this the kernel slows it down and reclaims.",
    ),
    Limit(
        "memory_low",
        "Memory low",
        "bytes",
        "size",
        0,
        None,
        "memory.soft_limit_in_bytes",
        "memory.low",
        "Memory that the kernel tries to leave to it.",
    ),
    Limit(
        "swap",
        "Swap",
        "bytes",
        "size",
        0,
        None,
        "memory.memsw.limit_in_bytes",
        "memory.swap.max",
        "Most swap it may use beside its memory.",
    ),
    Limit(
        "pids",
        "Processes",
        "processes",
        "count",
        1,
        None,
        "pids.max",
        "pids.max",
        "Most processes and threads it may have at once.",
    ),
)
LIMITS: dict[str, Limit] = {row.name: row for row in _LIMIT_ROWS}


class LimitReading(msgspec.Struct, frozen=True):
    """One limit as it stands. None means "no limit". ``locked`` says why it can't be set here, "" if it can."""

    requested: LimitValue | None
    kernel: LimitValue | None
    effective: LimitValue | None
    unit: str
    maximum: float | None = None
    locked: str = ""


class Namespaces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mode of each namespace: ``private``, ``host``, ``container:ID`` or ``path:/run/netns/x``; net has more."""

    mnt: str = "private"
    uts: str = "private"
    ipc: str = "private"
    pid: str = "private"
    net: str = "bridge"
    user: str = "private"
    cgroup: str = "private"
    time: str = "private"

    def items(self) -> list[tuple[str, str]]:
        return [(kind, getattr(self, kind)) for kind in NAMESPACE_TYPES]


class Mount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mount inside: ``type`` bind (source on the host, under the policy), or tmpfs (size in bytes)."""

    target: str
    type: str = "bind"
    source: str = ""
    read_only: bool = False
    size: int = 0


class Security(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Confinement. ``capabilities`` are the names kept (inside the user namespace); None means the default set."""

    capabilities: tuple[str, ...] | None = None
    no_new_privs: bool = True
    seccomp: str = "default"  # default | off
    read_only_root: bool = False


class ContainerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    engine: str = "raw"
    image: str = "busybox"
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str = "/"
    user: str = "0:0"
    hostname: str = ""
    namespaces: Namespaces = Namespaces()
    time_offsets: dict[str, int] = {}  # seconds added to the clocks "monotonic" and "boottime" of its own time namespace
    limits: dict[str, LimitValue] = {}
    mounts: tuple[Mount, ...] = ()
    security: Security = Security()
    start: bool = True


_CPUSET = re.compile(r"[0-9]{1,4}(?:-[0-9]{1,4})?(?:,[0-9]{1,4}(?:-[0-9]{1,4})?)*", re.ASCII)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}", re.ASCII)
_HOSTNAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_USER = re.compile(r"[0-9]{1,5}(?::[0-9]{1,5})?", re.ASCII)
_REFERENCE = re.compile(r"(?:container:[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}|path:/[^\x00]{1,4000})", re.ASCII)
_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/@-]{0,254}", re.ASCII)
_CAPABILITY = re.compile(r"CAP_[A-Z_]{2,32}", re.ASCII)


def parse_limit(name: str, value: object) -> LimitValue | None:
    """One limit as the API sends it → its value in the table's unit, or None (no limit)."""
    row = LIMITS.get(name)
    if row is None:
        raise InvalidInput(f"There is no limit called {shown(name)}.", hint="Limits are " + ", ".join(LIMITS) + ".")
    if value is None:
        return None
    if row.kind == "cpuset":
        if not isinstance(value, str) or not _CPUSET.fullmatch(value.strip()):
            raise InvalidInput(f"{shown(value)} is not a list of CPUs.", hint="Write for example 0-1,3.")
        return value.strip()
    number: float | int
    if row.kind == "size":
        number = parse_size(value)
    elif row.kind == "share":
        number = round(parse_share(value, 1.0), 3)
    else:
        number = parse_share(value, row.maximum or 0)
        if number != int(number):
            raise InvalidInput(f"{row.label} takes a whole number, not {shown(value)}.")
        number = int(number)
    if number < row.minimum:
        raise InvalidInput(f"{row.label} can't be below {plain(row.minimum)} {row.unit}.", hint="Send null to clear the limit.")
    if row.maximum is not None and number > row.maximum:
        raise InvalidInput(f"{row.label} can't be above {plain(row.maximum)} {row.unit}.", hint="Send null to clear the limit.")
    if number > 1 << 53:
        raise InvalidInput(f"{shown(value)} is more than any machine has.", hint="Send null to clear the limit.")
    return number


def parse_limits(raw: object) -> LimitChanges:
    """A mapping of limit names; null clears. Any bad entry refuses the whole."""
    if not isinstance(raw, Mapping):
        raise InvalidInput("Limits are an object of names and values.", hint='For example {"memory": "64M", "pids": 50}.')
    return {str(name): parse_limit(str(name), value) for name, value in raw.items()}


def parse_container(raw: object) -> ContainerSpec:
    """The body of ``POST /api/v1/containers`` → a checked spec."""
    if not isinstance(raw, Mapping):
        raise InvalidInput(
            "A container is described by a JSON object.", hint='For example {"name": "web-1", "image": "busybox"}.'
        )
    fields: dict[str, Any] = dict(raw)
    limits = parse_limits({} if fields.get("limits") is None else fields["limits"])
    fields["limits"] = {name: value for name, value in limits.items() if value is not None}
    mounts = [] if fields.get("mounts") is None else fields["mounts"]
    if isinstance(mounts, (list, tuple)):  # what is no list is refused below
        mounts = [{**m, "size": parse_size(m["size"])} if isinstance(m, Mapping) and m.get("size") else m for m in mounts]
    fields["mounts"] = mounts
    try:
        spec = msgspec.convert(fields, ContainerSpec)
    except msgspec.ValidationError as error:
        raise InvalidInput(_sentence(str(error)), hint="See /api/v1/openapi.json for the fields and their types.") from None
    for check in CONTAINER_CHECKS:
        check(spec)
    return spec


def check_name(spec: ContainerSpec) -> None:
    if not _NAME.fullmatch(spec.name):
        raise InvalidInput(
            f"{shown(spec.name)} is not a name.",
            code="invalid_name",
            hint="Use 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit.",
        )


def check_engine(spec: ContainerSpec) -> None:
    if spec.engine not in ENGINES:
        raise InvalidInput(f"There is no engine called {shown(spec.engine)}.", hint="Engines are raw and docker.")


def check_image(spec: ContainerSpec) -> None:
    if not _IMAGE.fullmatch(spec.image) or ".." in spec.image:
        raise InvalidInput(f"{shown(spec.image)} is not an image name.", code="invalid_image", hint="For example busybox.")


def check_command(spec: ContainerSpec) -> None:
    check_argv(spec.command)


def check_argv(argv: tuple[str, ...]) -> None:
    if len(argv) > 256 or sum(map(len, argv)) > 65536:
        raise InvalidInput("The command is too long.", hint="At most 256 words and 64 KiB; put more into a script.")
    if any("\x00" in word for word in argv) or (argv and not argv[0]):
        raise InvalidInput("The command has an empty first word or a NUL character.", code="invalid_command")


def check_env(spec: ContainerSpec) -> None:
    if len(spec.env) > 256 or sum(len(k) + len(v) for k, v in spec.env.items()) > 65536:
        raise InvalidInput("The environment is too large.", hint="At most 256 variables and 64 KiB.")
    for key, value in spec.env.items():
        if not _ENV_NAME.fullmatch(key) or "\x00" in value:
            raise InvalidInput(f"{shown(key)} is not a variable's name.", code="invalid_env", hint="For example PATH.")


def check_cwd(spec: ContainerSpec) -> None:
    if not spec.cwd.startswith("/") or "\x00" in spec.cwd or len(spec.cwd) > 4000:
        raise InvalidInput(f"{shown(spec.cwd)} is not a working directory.", hint="Write an absolute path, for example /root.")


def check_user(spec: ContainerSpec) -> None:
    if not _USER.fullmatch(spec.user) or any(int(part) > 65535 for part in spec.user.split(":")):
        raise InvalidInput(f"{shown(spec.user)} is not a user.", hint="Write UID or UID:GID, each from 0 to 65535.")


def check_hostname(spec: ContainerSpec) -> None:
    if spec.hostname and not _HOSTNAME.fullmatch(spec.hostname):
        raise InvalidInput(f"{shown(spec.hostname)} is not a host name.", hint="Use letters, digits, '-' and '.', up to 63.")


def check_namespaces(spec: ContainerSpec) -> None:
    for kind, mode in spec.namespaces.items():
        plain = NET_MODES if kind == "net" else ("private", "host")
        if mode not in plain and not _REFERENCE.fullmatch(mode):
            raise InvalidInput(
                f"{shown(mode)} is not a mode of the {kind} namespace.",
                code="invalid_namespace",
                hint="Modes are " + ", ".join(plain) + ", container:ID and path:/run/....",
            )


def check_time_offsets(spec: ContainerSpec) -> None:
    for clock, seconds in spec.time_offsets.items():
        if clock not in CLOCKS:
            raise InvalidInput(f"No clock called {shown(clock)} can be moved.", hint="Clocks are monotonic and boottime.")
        if abs(seconds) > MAX_TIME_OFFSET:
            raise InvalidInput(f"{seconds} seconds is more than the kernel moves a clock.", hint="At most 100 years either way.")
    if spec.time_offsets and spec.namespaces.time != "private":
        raise InvalidInput(
            "Clocks can be moved in a time namespace of its own only.",
            code="invalid_namespace",
            hint='Make "time" private, or leave time_offsets out.',
        )


def check_mounts(spec: ContainerSpec) -> None:
    if len(spec.mounts) > 64:
        raise InvalidInput("A container has at most 64 mounts.")
    for mount in spec.mounts:
        if mount.type not in ("bind", "tmpfs"):
            raise InvalidInput(f"{shown(mount.type)} is not a type of mount.", hint="Types are bind and tmpfs.")
        for path in (mount.target, *((mount.source,) if mount.type == "bind" else ())):
            if not path.startswith("/") or "\x00" in path or len(path) > 4000 or ".." in path.split("/"):
                raise InvalidInput(
                    f"{shown(path)} is not an absolute path.", code="invalid_mount", hint="No '..', for example /srv/data."
                )
        top = mount.target.strip("/").split("/")[0]
        if top in ("", "proc", "sys", "dev"):
            raise InvalidInput(
                f"Nothing can be mounted on {mount.target}.",
                code="invalid_mount",
                hint="/, /proc, /sys and /dev are the panel's.",
            )


def check_security(spec: ContainerSpec) -> None:
    if spec.security.seccomp not in ("default", "off"):
        raise InvalidInput(f"{shown(spec.security.seccomp)} is not a seccomp profile.", hint="Profiles are default and off.")
    for capability in spec.security.capabilities or ():
        if not _CAPABILITY.fullmatch(capability):
            raise InvalidInput(f"{shown(capability)} is not a capability.", hint="For example CAP_NET_BIND_SERVICE.")


CONTAINER_CHECKS: tuple[Callable[[ContainerSpec], None], ...] = (
    check_name, check_engine, check_image, check_command, check_env, check_cwd, check_user, check_hostname,
    check_namespaces, check_time_offsets, check_mounts, check_security,
)  # fmt: skip


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
