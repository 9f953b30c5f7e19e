"""What the worker answers and tells, beside the engines' own words."""

from __future__ import annotations

import msgspec

from ...engines.groups import GroupUsage
from ...kernel.images.task import Layer
from ...spec import LimitReading


class TerminalOpened(msgspec.Struct, frozen=True):
    terminal: str
    is_tty: bool


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Work that takes its time. Known until the worker ends, the newest hundred."""

    id: str
    node: str
    kind: str  # import | pull | clone | commit
    target: str  # the image or sandbox that it makes
    owner: str
    state: str  # running | done | failed | cancelled
    phase: str = ""  # in words
    done: int = 0  # bytes of the phase
    total: int = 0  # 0: not known
    layers: tuple[Layer, ...] = ()  # of an image that comes layer by layer
    received: int = 0  # bytes of an upload
    upload: bool = False  # waits for bytes to be sent
    message: str = ""  # why it failed, or what is worth knowing
    hint: str = ""
    code: str = ""  # of the failure
    started_at: float = 0.0  # Unix seconds
    finished_at: float | None = None


class Dependent(msgspec.Struct, frozen=True):
    """A container that joined namespaces of another. ``attached``: it is in them now; else it has those of an earlier run.

    ``through`` is the id of the one that it named: another dependent where it joined by way of that.
    """

    id: str
    name: str
    engine: str
    state: str
    types: tuple[str, ...]
    attached: bool
    through: str


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a container, for the activity page. ``sequence`` grows by one each, per node.

    One that ``replaces`` another tells all that the other did, and the other is no more.
    """

    sequence: int
    time: float
    node: str
    container: str
    name: str
    engine: str
    action: str  # created started stopped killed exited oom paused resumed removed limits …
    detail: str = ""
    owner: str = ""  # the container's; "" for those made outside
    replaces: int = 0  # its sequence; 0: none


class Stats(msgspec.Struct, frozen=True, array_like=True):
    """One container's second. None is "unknown", never 0. CPU is in cores, the rest in bytes, counts and shares."""

    cpu: float | None
    memory: int | None
    pids: int | None
    memory_limit: int | None
    cpu_limit: float | None
    pids_limit: int | None
    throttled: float | None  # share of the CPU periods in which it was held back, 0 to 1
    io_read: float | None  # bytes per second
    io_write: float | None
    net_in: float | None  # bytes per second, counted once per network namespace
    net_out: float | None


class HostStats(msgspec.Struct, frozen=True):
    cpu: float | None  # cores in use
    cpus: int
    memory: int | None  # bytes in use (total − available)
    memory_total: int
    load: float
    pressure: dict[str, float]  # resource → avg10 "some" in per cent, where the kernel has PSI


class StatsFrame(msgspec.Struct, frozen=True):
    time: float
    host: HostStats
    rows: dict[str, Stats]


class History(msgspec.Struct, frozen=True):
    """Recent rows of one container, oldest first: (Unix seconds, then the ``columns``), None for unknown.

    Columns have the names and units of Stats; memory and cpu are means where there are memory_max and cpu_max. ``step`` is
    the least time between rows in seconds; a row's numbers hold for the time since the row before.
    """

    columns: tuple[str, ...]
    step: float
    items: list[tuple[int | float | None, ...]]


class NetworkTotals(msgspec.Struct, frozen=True):
    """One interface since it was made: columns of /proc/net/dev."""

    interface: str
    received: int  # bytes
    received_packets: int
    received_errors: int
    received_dropped: int
    sent: int  # bytes
    sent_packets: int
    sent_errors: int
    sent_dropped: int


class DiskTotals(msgspec.Struct, frozen=True):
    device: str  # "/dev/sda"
    read: int  # bytes
    written: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's own totals of one control group since it was made. None is "not known"; limits 0 are "no limit"."""

    group: str  # its path in the hierarchy; "/" for the whole host, which has no name
    name: str = ""
    image: str = ""
    engine: str = ""
    labels: dict[str, str] = {}
    started_at: float | None = None  # Unix seconds
    cpu: float | None = None  # seconds
    cpu_limit: float | None = None  # cores
    cpu_shares: int | None = None  # cgroup v1's measure: 1024 is usual
    periods: int | None = None
    throttled_periods: int | None = None
    throttled: float | None = None  # seconds
    memory: int | None = None  # bytes charged, with all file cache
    working_set: int | None = None  # without its inactive file cache
    anonymous: int | None = None
    files: int | None = None
    memory_limit: int | None = None
    memory_low: int | None = None
    oom_kills: int | None = None
    processes: int | None = None
    threads: int | None = None
    pids_limit: int | None = None
    networks: tuple[NetworkTotals, ...] = ()
    disks: tuple[DiskTotals, ...] = ()


class Metrics(msgspec.Struct, frozen=True):
    time: float  # Unix seconds
    kernel: str
    cpus: int
    memory_total: int  # bytes
    swap_total: int
    groups: tuple[Totals, ...]


class LimitEvents(msgspec.Struct, frozen=True):
    """What limits did to a container since it was started. None is "this kernel does not count it", never 0."""

    periods: int | None = None  # CPU periods in which it ran
    throttled_periods: int | None = None  # of those, in how many it was held back
    throttled: float | None = None  # seconds, of all its threads together
    memory_low: int | None = None  # times that it was reclaimed although below its protection
    memory_high: int | None = None  # times that it was slowed down above memory_high
    memory_max: int | None = None  # times that it ran into its memory limit
    oom: int | None = None  # times that nothing could be reclaimed there
    oom_kill: int | None = None  # processes killed for memory
    pids_max: int | None = None  # forks refused
    cpu_pressure: float | None = None  # per cent of the last ten seconds in which some of it waited
    memory_pressure: float | None = None
    io_pressure: float | None = None
    cpu_waited: float | None = None  # seconds in which some of it waited for a CPU
    memory_waited: float | None = None
    io_waited: float | None = None  # for a disk


class Member(msgspec.Struct, frozen=True):
    id: str
    name: str
    state: str


class Group(msgspec.Struct, frozen=True):
    """Several containers that share one budget. ``created_at`` in Unix seconds."""

    name: str
    owner: str
    created_at: float
    members: tuple[Member, ...]
    usage: GroupUsage
    limits: dict[str, LimitReading]
    processes: tuple[int, ...] = ()  # of the host, that were put into it


class ContainersChanged(msgspec.Struct, frozen=True):
    """``containers`` appeared or changed; ``removed`` are ids that are gone.

    A list begins with ``reset``: there are no others than ``ids``. Those of them that it does not hold itself follow it.
    """

    containers: tuple[msgspec.Raw, ...]  # encoded base.Container
    removed: tuple[str, ...] = ()
    reset: bool = False
    ids: tuple[str, ...] = ()
