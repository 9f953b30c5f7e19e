"""The shape of a container's description: words and types, unchecked. Sizes are bytes, CPU is cores, times are seconds."""

from __future__ import annotations

import re

import msgspec

from .limits import LimitValue
from .seccomp import SeccompProfile

NAMESPACE_TYPES = ("mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time")
NET_MODES = ("bridge", "none", "host", "private")
ENGINE_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)  # raw; of Docker daemons there may be several
CLOCKS = ("monotonic", "boottime")
MAX_TIME_OFFSET = 100 * 365 * 86400  # seconds; the kernel's own bound is about 146 years, less what the clock shows
RESTART_POLICIES = ("no", "on-failure", "unless-stopped", "always")
PROTOCOLS = ("tcp", "udp")
MOUNT_TYPES = ("bind", "tmpfs", "volume")
PROPAGATIONS = ("private", "slave", "shared")
RLIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack",
)  # fmt: skip
MAX_STOP_TIMEOUT = 3600.0  # seconds
UNLIMITED = -1  # of an rlimit
STATES = ("created", "running", "paused", "exited", "unknown")


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
    """A mount inside: ``type`` bind (source on the host, under the policy), tmpfs (size in bytes), volume (source is its
    name; Docker only)."""

    target: str
    type: str = "bind"
    source: str = ""
    read_only: bool = False
    size: int = 0
    propagation: str = "private"  # private | slave | shared, mount_namespaces(7)


class Port(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port of the container that the host answers for. ``host_port`` 0: the panel chooses a free one."""

    container_port: int
    host_port: int = 0
    host_ip: str = ""  # "" is every address of the host
    protocol: str = "tcp"


class Restart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of it when it ends by itself, and at the host's boot ("unless-stopped" and "always")."""

    policy: str = "no"
    retries: int = 0  # most attempts in a row of "on-failure"; 0 is without end


class Rlimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """getrlimit(2), in the unit of the resource; -1 is unlimited."""

    soft: int
    hard: int


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program run inside every so often, by its shell: exit code 0 says healthy. Times in seconds. Docker's word."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0


class IdMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a user namespace's map, user_namespaces(7)."""

    inside: int
    outside: int
    count: int


class Security(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Confinement. ``capabilities`` are the names kept (inside the user namespace); None means the default set."""

    capabilities: tuple[str, ...] | None = None
    no_new_privs: bool = True
    seccomp: str = "default"  # default | off
    seccomp_profile: SeccompProfile | None = None  # beside the default filter, so that it can only forbid more; with off, alone
    read_only_root: bool = False
    masked_paths: tuple[str, ...] = ()  # beside those that are always masked or read-only
    read_only_paths: tuple[str, ...] = ()


class ContainerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    engine: str = "raw"
    image: str = "busybox"
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str = ""  # "" is the image's
    user: str = ""  # uid or uid:gid inside; "" is the image's
    hostname: str = ""
    namespaces: Namespaces = Namespaces()
    time_offsets: dict[str, int] = {}  # seconds added to the clocks "monotonic" and "boottime" of its own time namespace
    limits: dict[str, LimitValue] = {}
    keep_limits: bool = True  # those that its engine's record has no words for come back when it starts anew
    rlimits: dict[str, Rlimit] = {}  # by the names of getrlimit(2) in small letters, without RLIMIT_
    oom_score_adj: int = 0  # -1000 (never killed for memory) to 1000
    init: bool = False  # a small first process that forwards signals and reaps
    restart: Restart = Restart()
    stop_signal: str = "TERM"
    stop_timeout: float = 10.0  # seconds until SIGKILL
    network: str = ""  # the bridge network of net "bridge"; "" is the default one
    ports: tuple[Port, ...] = ()
    dns: tuple[str, ...] = ()  # name servers; () is the host's
    extra_hosts: dict[str, str] = {}  # name → address, for /etc/hosts
    id_map: tuple[IdMap, ...] = ()  # of its own user namespace, for users and groups; () is a whole range of its own
    health: Health | None = None
    labels: dict[str, str] = {}
    group: str = ""  # a group of sandboxes that share one budget; "" is none
    mounts: tuple[Mount, ...] = ()
    security: Security = Security()
    start: bool = True
