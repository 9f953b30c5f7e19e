"""What the web may ask of the worker: one class per command. Nothing else runs as root."""

from __future__ import annotations

import msgspec

from ...engines.base import LogQuery
from ...spec import Changes, ContainerSpec, ImportSpec, LimitChanges, NetworkSpec

TOPICS = ("containers", "stats", "events", "jobs")
MAX_PIECE = 1 << 19  # bytes of an upload at once


class Command(msgspec.Struct, frozen=True, tag=True, tag_field="command", forbid_unknown_fields=True):
    """A registered command; the class name is the word on the wire. Nothing else runs as root."""


class ListContainers(Command, frozen=True):
    """The reply is a list of those whose ids follow ``after``, in their order, as many as a reply should hold; [] at the end."""

    after: str = ""


class GetContainer(Command, frozen=True):
    id: str


class CreateContainer(Command, frozen=True):
    spec: ContainerSpec
    owner: str


class StartContainer(Command, frozen=True):
    id: str


class StopContainer(Command, frozen=True):
    id: str
    timeout: float | None = None  # seconds until SIGKILL; None is the container's own


class KillContainer(Command, frozen=True):
    id: str
    signal: int = 9


class RestartContainer(Command, frozen=True):
    id: str
    timeout: float | None = None


class UpdateContainer(Command, frozen=True):
    """Its name, restart policy or labels."""

    id: str
    changes: Changes


class PauseContainer(Command, frozen=True):
    id: str


class ResumeContainer(Command, frozen=True):
    id: str


class RemoveContainer(Command, frozen=True):
    id: str
    force: bool = False


class ExecuteCommand(Command, frozen=True):
    """``namespaces``: only these of the container's, and its user one; () is all. Without "mnt" it sees the host's files."""

    id: str
    argv: tuple[str, ...]
    timeout: float = 60.0
    namespaces: tuple[str, ...] = ()


class AddProcess(Command, frozen=True):
    """Put a running process of the host into the container's control groups. The reply is the Container."""

    id: str
    pid: int
    to: tuple[str, ...] = ("cgroup",)


class OpenTerminal(Command, frozen=True):
    """The reply is a TerminalOpened and carries the terminal's fd."""

    id: str
    argv: tuple[str, ...] = ()  # () asks for the best shell that the container has
    rows: int = 24
    columns: int = 80


class OpenToolbox(Command, frozen=True):
    """A throw-away sandbox beside this container. The reply is as OpenTerminal's."""

    id: str
    image: str = "busybox"
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
    changes: LimitChanges


class PutBackLimits(Command, frozen=True):
    """Those of ``names`` (() is all) that somebody has changed in the kernel get what was requested again."""

    id: str
    names: tuple[str, ...] = ()


class AcceptLimits(Command, frozen=True):
    """The other way round: what the kernel has counts as requested."""

    id: str
    names: tuple[str, ...] = ()


class ReadLimitEvents(Command, frozen=True):
    """The reply is a LimitEvents."""

    id: str


class ListGroups(Command, frozen=True): ...


class GetGroup(Command, frozen=True):
    name: str


class CreateGroup(Command, frozen=True):
    name: str
    owner: str
    limits: LimitChanges = {}


class RemoveGroup(Command, frozen=True):
    name: str


class UpdateGroupLimits(Command, frozen=True):
    name: str
    changes: LimitChanges


class AddToGroup(Command, frozen=True):
    """Put a running process of the host into the group's budget. The reply is the Group."""

    name: str
    pid: int
    to: tuple[str, ...] = ("cgroup",)


class ReadProcesses(Command, frozen=True):
    id: str


class ReadNamespaces(Command, frozen=True):
    id: str


class ReadDependents(Command, frozen=True):
    """The reply is a list of Dependent."""

    id: str


class ReadMounts(Command, frozen=True):
    """The reply is a list of MountEntry: what is mounted in its mount namespace; empty when it does not run."""

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
    query: LogQuery = LogQuery()


class ReadCommands(Command, frozen=True):
    id: str


class ReadSecurity(Command, frozen=True):
    id: str


class PreviewCommands(Command, frozen=True):
    """The shell commands that would make this container; nothing is made."""

    spec: ContainerSpec


class ReadHost(Command, frozen=True): ...


class ListImages(Command, frozen=True): ...


class GetImage(Command, frozen=True):
    name: str


class RemoveImage(Command, frozen=True):
    name: str


class ImportImage(Command, frozen=True):
    """The reply is a Job. Where the source is an upload, its bytes follow by FeedJob."""

    spec: ImportSpec
    owner: str


class FeedJob(Command, frozen=True):
    """A piece of an upload. ``offset`` is where it begins: pieces come in order, one may come again. The reply is a Job."""

    id: str
    offset: int
    data: bytes
    last: bool = False


class ListJobs(Command, frozen=True):
    """Newest first."""


class GetJob(Command, frozen=True):
    id: str


class CancelJob(Command, frozen=True):
    id: str


class CloneContainer(Command, frozen=True):
    """The reply is a Job."""

    id: str
    name: str
    owner: str


class CommitContainer(Command, frozen=True):
    """The reply is a Job."""

    id: str
    image: str
    owner: str


class ExportContainer(Command, frozen=True):
    """The reply carries an fd from which a tar comes."""

    id: str


class ExportImage(Command, frozen=True):
    """The same of an image."""

    name: str


class ListNetworks(Command, frozen=True): ...


class GetNetwork(Command, frozen=True):
    name: str
    engine: str = "raw"


class CreateNetwork(Command, frozen=True):
    spec: NetworkSpec
    owner: str


class RemoveNetwork(Command, frozen=True):
    name: str
    engine: str = "raw"


class TagImage(Command, frozen=True):
    engine: str
    name: str
    new: str


class RemoveDockerImage(Command, frozen=True):
    engine: str
    name: str
    force: bool = False


class PruneImages(Command, frozen=True):
    """The reply is a Prunable: what would go, or has gone."""

    engine: str
    preview: bool


class ConnectContainer(Command, frozen=True):
    id: str
    network: str


class DisconnectContainer(Command, frozen=True):
    id: str
    network: str


class ListVolumes(Command, frozen=True):
    sizes: bool = False


class CreateVolume(Command, frozen=True):
    engine: str
    name: str
    owner: str


class RemoveVolume(Command, frozen=True):
    engine: str
    name: str


class PruneVolumes(Command, frozen=True):
    """The reply is a Prunable: what would go, or has gone."""

    engine: str
    preview: bool


class ListEvents(Command, frozen=True):
    """The newest ``limit`` of those past ``after``, of one container, of one owner's containers, or of all (""); oldest first."""

    after: int = 0  # event sequence number
    limit: int = 200
    container: str = ""  # id
    owner: str = ""


class Subscribe(Command, frozen=True):
    topics: tuple[str, ...]


AnyCommand = (
    ListContainers | GetContainer | CreateContainer | UpdateContainer | StartContainer | StopContainer | KillContainer
    | RestartContainer | PauseContainer | ResumeContainer | RemoveContainer | ExecuteCommand | OpenTerminal | ResizeTerminal
    | ReadLimits | UpdateLimits | ReadProcesses | ReadNamespaces | ReadMounts | ReadGraph | ReadStats | ReadHistory | ReadMetrics
    | ReadLogs | ReadCommands | ReadSecurity | PreviewCommands | ReadHost | ListImages | ListNetworks | ListEvents | Subscribe
    | GetImage | RemoveImage | ImportImage | FeedJob | ListJobs | GetJob | CancelJob | CloneContainer | CommitContainer
    | ExportContainer | ExportImage | OpenToolbox | ReadDependents | AddProcess
    | GetNetwork | CreateNetwork | RemoveNetwork | TagImage | RemoveDockerImage | PruneImages | ConnectContainer
    | DisconnectContainer | ListVolumes | CreateVolume | RemoveVolume | PruneVolumes
    | PutBackLimits | AcceptLimits | ReadLimitEvents | ListGroups | GetGroup | CreateGroup | RemoveGroup | UpdateGroupLimits
    | AddToGroup
)  # fmt: skip
