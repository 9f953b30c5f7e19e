"""What goes in and out of the API where the spec and the worker's protocol have no type for it."""

from __future__ import annotations

from typing import Any

import msgspec

from ..spec import LimitChanges
from ..worker import protocol
from ..worker.protocol import Container, Dependent, EngineStatus, Event, Job


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True): ...


class NoBody(Body, frozen=True): ...


class TimeoutBody(Body, frozen=True):
    timeout: float | None = None  # seconds until SIGKILL; left out: the container's own


class KillBody(Body, frozen=True):
    signal: int | str = 9  # a number or a name such as "TERM"


class ExecBody(Body, frozen=True):
    """``namespaces`` joins only these of the container's (and its user namespace): without "mnt" the program is the host's."""

    argv: tuple[str, ...]
    timeout: float = 60.0  # seconds
    namespaces: tuple[str, ...] = ()  # [] is all


class AddBody(Body, frozen=True):
    pid: int  # on the host
    to: tuple[str, ...] = ("cgroup",)  # the kernel lets nobody put a running process into namespaces


class LimitNamesBody(Body, frozen=True):
    names: tuple[str, ...] = ()  # [] is every limit that somebody else has changed


class GroupBody(Body, frozen=True):
    name: str
    limits: LimitChanges = {}


class TerminalBody(Body, frozen=True):
    argv: tuple[str, ...] = ()  # [] asks for the best shell that the container has
    rows: int = 24
    columns: int = 80


class ToolboxBody(Body, frozen=True):
    image: str = "busybox"  # of the raw engine
    rows: int = 24
    columns: int = 80


class ListQuery(msgspec.Struct, frozen=True):
    engine: str = ""
    state: str = ""
    q: str = ""
    limit: int = 1000
    cursor: str = ""


class RemoveQuery(msgspec.Struct, frozen=True):
    force: bool = False


class RemoveImageQuery(msgspec.Struct, frozen=True):
    engine: str = "raw"
    force: bool = False  # for Docker's: with all its names


class HistoryQuery(msgspec.Struct, frozen=True):
    seconds: int = 300  # up to 300 in steps of a second, beyond in steps of ten, at most two hours


class LogsQuery(msgspec.Struct, frozen=True):
    tail: int = 1000  # lines
    after: str = ""  # the "next" of an earlier answer: what has come since, instead of the last lines
    timestamps: bool = False
    since: float = 0.0  # Unix seconds: lines that came later


class EventsQuery(msgspec.Struct, frozen=True):
    limit: int = 200
    after: int = 0  # sequence number
    cursor: str = ""
    container: str = ""  # left out: of all


class NoQuery(msgspec.Struct, frozen=True): ...


class Containers(msgspec.Struct, frozen=True):
    items: list[Container]
    next: str | None = None


class Groups(msgspec.Struct, frozen=True):
    items: list[protocol.Group]
    next: str | None = None


class Events(msgspec.Struct, frozen=True):
    items: list[Event]
    next: str | None = None


class Process(msgspec.Struct, frozen=True):
    """``pid`` on the host, ``ns_pid`` inside; sizes in bytes, times in seconds."""

    pid: int
    ppid: int
    ns_pid: int
    uid: int
    name: str
    argv: list[str]
    state: str
    cpu_seconds: float
    rss: int
    threads: int
    started_at: float


class Processes(msgspec.Struct, frozen=True):
    items: list[Process]
    next: str | None = None


class Sharer(msgspec.Struct, frozen=True):
    id: str
    name: str


class Namespace(msgspec.Struct, frozen=True):
    """``owner`` and ``parent`` are inodes of namespaces, null where there is none or it can't be seen."""

    type: str
    inode: int
    mode: str
    initial: bool
    owner: int | None
    parent: int | None
    shared_with: list[Sharer]


class NamespaceList(msgspec.Struct, frozen=True):
    items: list[Namespace]
    next: str | None = None


class Dependents(msgspec.Struct, frozen=True):
    """``hidden`` more are other people's."""

    items: list[Dependent]
    hidden: int
    next: str | None = None


class Rejoined(msgspec.Struct, frozen=True):
    """``error`` is "" when it was restarted and is in the container's namespaces again."""

    id: str
    name: str
    error: str


class RejoinedList(msgspec.Struct, frozen=True):
    items: list[Rejoined]
    next: str | None = None


class MountEntry(msgspec.Struct, frozen=True):
    """A line of /proc/PID/mountinfo. ``root`` is the part of the file system that is mounted at ``target``."""

    id: int
    parent: int
    device: str  # major:minor
    root: str
    target: str
    options: list[str]
    propagation: str  # private | shared | slave | "shared,slave" | unbindable
    type: str
    source: str
    super_options: list[str]


class Mounts(msgspec.Struct, frozen=True):
    items: list[MountEntry]
    next: str | None = None


class GraphNode(msgspec.Struct, frozen=True):
    """``kind`` is namespace, container or host, and tells which of the other fields there are."""

    id: str
    kind: str
    type: str = ""
    inode: int = 0
    initial: bool = False
    owner: str | None = None
    parent: str | None = None
    processes: int = 0
    container: str = ""
    name: str = ""
    engine: str = ""
    state: str = ""
    pid: int = 0


class GraphEdge(msgspec.Struct, frozen=True):
    source: str
    target: str
    type: str


class Graph(msgspec.Struct, frozen=True):
    nodes: list[GraphNode]
    edges: list[GraphEdge]


# Numbers of one second as an object; on the wire between worker and web they are an array.
Stats = msgspec.defstruct(
    "Stats", [(field.name, field.type) for field in msgspec.structs.fields(protocol.Stats)], frozen=True, module=__name__
)


class History(msgspec.Struct, frozen=True):
    """Rows of (Unix seconds, then the columns), oldest first, null for unknown; a row is of the time since the row before.

    Columns are those of Stats, in its units: cpu and cpu_limit in cores, memory and memory_limit in bytes, pids and pids_limit
    as counts, throttled as a share from 0 to 1, io_read, io_write, net_in and net_out in bytes per second. With a step of
    10 seconds cpu and memory are means, and cpu_max and memory_max are there too. The panel forgets it when its worker ends.
    """

    columns: list[str]
    step: float  # seconds; rows may be further apart: 10 seconds when nobody watched
    items: list[list[int | float | None]]


class Logs(msgspec.Struct, frozen=True):
    """Both streams as they were written. ``next`` goes into the next call's ``after``.

    With timestamps each line begins with its time, RFC 3339. Docker's are to the nanosecond. A sandbox writes straight into
    its log, so a line's time there is that of the last write in the second in which it came: never too early, and late by less
    than a second (by more where the keeper was down).
    """

    text: str
    next: str


class Commands(msgspec.Struct, frozen=True):
    commands: list[str]


class Image(msgspec.Struct, frozen=True):
    """``size`` in bytes, ``created_at`` in Unix seconds. What follows ``created_at`` is known of raw images only."""

    name: str
    engine: str
    size: int | None
    created_at: float | None
    source: str = ""
    digest: str = ""
    command: list[str] = []
    env: dict[str, str] = {}
    cwd: str = "/"
    user: str = "0:0"
    owner: str = ""
    in_use_by: list[str] = []  # names of sandboxes


class Images(msgspec.Struct, frozen=True):
    items: list[Image]
    next: str | None = None


class Jobs(msgspec.Struct, frozen=True):
    items: list[Job]
    next: str | None = None


class CloneBody(Body, frozen=True):
    name: str


class CommitBody(Body, frozen=True):
    image: str


class PieceQuery(msgspec.Struct, frozen=True):
    offset: int = 0  # bytes
    last: bool = False


class NetworkMember(msgspec.Struct, frozen=True):
    id: str
    name: str
    owner: str = ""
    address: str = ""
    address6: str = ""


class Network(msgspec.Struct, frozen=True):
    """Subnets of IPv6 and the note are known of networks of the panel's own (engine raw) only."""

    name: str
    engine: str
    subnet: str | None
    gateway: str | None
    bridge: str | None
    subnet6: str | None = None
    gateway6: str | None = None
    nat: bool = True  # a way out of this host; false: an internal network
    isolated: bool = True  # its containers don't reach each other
    containers: list[NetworkMember] = []
    note: str = ""  # why there is no IPv6 in it, or none beyond this host
    commands: list[str] = []  # that would make its bridge
    id: str = ""  # this and what follows is known of Docker's
    driver: str = ""
    owner: str = ""


class Networks(msgspec.Struct, frozen=True):
    items: list[Network]
    next: str | None = None


class HostCheck(msgspec.Struct, frozen=True):
    name: str
    ok: bool
    detail: str
    hint: str


class HostLimit(msgspec.Struct, frozen=True):
    """``maximum`` in the limit's unit, null where nothing bounds it; ``locked`` says why this host can't enforce it."""

    maximum: float | None
    locked: str
    parts: list[str]  # disks or sizes of huge page, where the limit is an object


class UidRange(msgspec.Struct, frozen=True):
    """The host's user ids that sandboxes are given; ``count`` 0: none are."""

    base: int
    count: int


class Host(msgspec.Struct, frozen=True):
    node: str
    hostname: str
    kernel: str
    cgroups: str  # v1 | v2 | hybrid
    controllers: dict[str, Any]
    cpus: int
    memory_total: int  # bytes
    engines: list[EngineStatus]
    checks: list[HostCheck]
    limits: dict[str, HostLimit]
    uids: UidRange


class TerminalSession(msgspec.Struct, frozen=True):
    session: str
    container: str
    alive: bool
    viewers: int
    opened_at: float


class TerminalSessions(msgspec.Struct, frozen=True):
    items: list[TerminalSession]
    next: str | None = None


class OpenedTerminal(msgspec.Struct, frozen=True):
    session: str


class Me(msgspec.Struct, frozen=True):
    username: str
    staff: bool


class ErrorDetail(msgspec.Struct, frozen=True):
    code: str
    message: str
    hint: str


class Error(msgspec.Struct, frozen=True):
    error: ErrorDetail


LimitsBody = LimitChanges
