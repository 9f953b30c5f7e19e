"""The words between web and worker, and their frames. Both sides import this; nobody else speaks it.

    web (client)                                worker (server)
    ── connect; SO_PEERCRED is held against the policy, else the connection is closed
    Hello(version)              ───────────▶
                                ◀───────────    Hello(version, node)      another version: Failure, close
    Request(id, Command)        ───────────▶
                                ◀───────────    Reply(id, result) (+ one fd by SCM_RIGHTS when has_fd)
                                             or Failure(id, code, message, hint, status)
    Request(id, Subscribe)      ───────────▶
                                ◀───────────    Reply(id, …), then Push(topic, payload) until the connection ends

A frame is a 4-byte big-endian length and that many bytes of MessagePack. A length over the bound, a frame that does
not decode, an unknown command or a wrong type is answered by a Failure (with id 0 when no id could be read) and, where
the stream can no longer be trusted (length over the bound, half a frame), by closing the connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from ..engines.base import Container as Container
from ..engines.base import EngineStatus as EngineStatus
from ..engines.base import ExecResult as ExecResult
from ..engines.base import NamespaceView as NamespaceView
from ..errors import TerrariumError
from ..spec import ContainerSpec, LimitValue

VERSION = 1
MAX_REQUEST = 1 << 20  # bytes; a spec is at most about 200 KB
MAX_REPLY = 32 << 20  # bytes; 1,000 containers are about 2 MB
TOPICS = ("containers", "stats", "events")


class Command(msgspec.Struct, frozen=True, tag=True, tag_field="command", forbid_unknown_fields=True):
    """A registered command; the class name is the word on the wire. Nothing else runs as root."""


class ListContainers(Command, frozen=True): ...


class GetContainer(Command, frozen=True):
    id: str


class CreateContainer(Command, frozen=True):
    spec: ContainerSpec
    owner: str


class StartContainer(Command, frozen=True):
    id: str


class StopContainer(Command, frozen=True):
    id: str
    timeout: float = 10.0  # seconds until SIGKILL


class KillContainer(Command, frozen=True):
    id: str
    signal: int = 9


class RestartContainer(Command, frozen=True):
    id: str
    timeout: float = 10.0


class PauseContainer(Command, frozen=True):
    id: str


class ResumeContainer(Command, frozen=True):
    id: str


class RemoveContainer(Command, frozen=True):
    id: str
    force: bool = False


class ExecuteCommand(Command, frozen=True):
    id: str
    argv: tuple[str, ...]
    timeout: float = 60.0


class OpenTerminal(Command, frozen=True):
    """The reply is a TerminalOpened and carries the terminal's fd."""

    id: str
    argv: tuple[str, ...] = ()  # () asks for the best shell that the container has
    rows: int = 24
    columns: int = 80


class ResizeTerminal(Command, frozen=True):
    """Only for terminals whose fd is no tty (``TerminalOpened.is_tty`` false); else the holder sets the size itself."""

    terminal: str
    rows: int
    columns: int


class ReadLimits(Command, frozen=True):
    id: str


class UpdateLimits(Command, frozen=True):
    id: str
    changes: dict[str, LimitValue | None]


class ReadProcesses(Command, frozen=True):
    id: str


class ReadNamespaces(Command, frozen=True):
    id: str


class ReadGraph(Command, frozen=True): ...


class ReadStats(Command, frozen=True):
    id: str


class ReadHistory(Command, frozen=True):
    """The reply is a History."""

    id: str
    seconds: float = 300.0  # up to 300 in steps of a second, beyond in steps of ten


class ReadMetrics(Command, frozen=True):
    """The reply is a Metrics: the kernel's own totals, of every container that runs and of the host."""


class ReadLogs(Command, frozen=True):
    id: str
    tail: int = 1000  # lines


class ReadCommands(Command, frozen=True):
    id: str


class ReadSecurity(Command, frozen=True):
    id: str


class PreviewCommands(Command, frozen=True):
    """The shell commands that would make this container; nothing is made."""

    spec: ContainerSpec


class ReadHost(Command, frozen=True): ...


class ListImages(Command, frozen=True): ...


class ListNetworks(Command, frozen=True): ...


class ListEvents(Command, frozen=True):
    after: int = 0  # event sequence number
    limit: int = 200


class Subscribe(Command, frozen=True):
    topics: tuple[str, ...]


AnyCommand = (
    ListContainers | GetContainer | CreateContainer | StartContainer | StopContainer | KillContainer | RestartContainer
    | PauseContainer | ResumeContainer | RemoveContainer | ExecuteCommand | OpenTerminal | ResizeTerminal | ReadLimits
    | UpdateLimits | ReadProcesses | ReadNamespaces | ReadGraph | ReadStats | ReadHistory | ReadMetrics | ReadLogs
    | ReadCommands | ReadSecurity | PreviewCommands | ReadHost | ListImages | ListNetworks | ListEvents | Subscribe
)  # fmt: skip


class TerminalOpened(msgspec.Struct, frozen=True):
    terminal: str
    is_tty: bool


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a container, for the activity page. ``sequence`` grows by one each, per node."""

    sequence: int
    time: float
    node: str
    container: str
    name: str
    engine: str
    action: str  # created started stopped killed exited oom paused resumed removed limits …
    detail: str = ""


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


class ContainersChanged(msgspec.Struct, frozen=True):
    """``containers`` appeared or changed; ``removed`` are ids that are gone; after ``reset`` there are no others."""

    containers: tuple[msgspec.Raw, ...]  # encoded base.Container
    removed: tuple[str, ...] = ()
    reset: bool = False


class Hello(msgspec.Struct, frozen=True, tag=True):
    version: int
    node: str = ""


class Request(msgspec.Struct, frozen=True, tag=True):
    id: int
    body: msgspec.Raw  # one of AnyCommand


class Reply(msgspec.Struct, frozen=True, tag=True):
    id: int
    result: msgspec.Raw
    has_fd: bool = False


class Failure(msgspec.Struct, frozen=True, tag=True):
    id: int
    code: str
    message: str
    hint: str
    status: int


class Push(msgspec.Struct, frozen=True, tag=True):
    topic: str
    payload: msgspec.Raw  # ContainersChanged | StatsFrame | Event, by topic


FromWorker = Hello | Reply | Failure | Push
FromWeb = Hello | Request

HEADER = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()


def frame(message: FromWorker | FromWeb) -> bytes:
    """One message as it goes over the wire."""
    body = _encoder.encode(message)
    return HEADER.pack(len(body)) + body


class FrameTooLong(TerrariumError):
    code = "too_large"
    status = 413


class Frames:
    """Cuts a byte stream into frame bodies. ``feed`` yields those that are whole; the rest waits for more."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises FrameTooLong as soon as a length over the maximum is read; the stream is then of no more use."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._buffer)
            if length > self._maximum:
                raise FrameTooLong(f"A message of {length} bytes is longer than the {self._maximum} allowed.")
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield body

    @property
    def unfinished(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._buffer)
