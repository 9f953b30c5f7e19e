"""What an engine is. The worker, its commands and the contract tests know engines only by this protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from ..kernel.images.task import Defaults
from ..spec import Changes, ContainerSpec, LimitChanges, LimitReading, Port


class NamespaceView(msgspec.Struct, frozen=True):
    """``inode`` 0 when there is no process to read it from; ``initial`` when it is the host's own."""

    inode: int
    mode: str
    initial: bool = False


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A container as every layer above sees it and as the API sends it. Times are Unix seconds (float)."""

    id: str
    node: str
    engine: str
    name: str
    state: str  # created | running | paused | exited | unknown
    image: str
    command: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""  # inside: uid:gid, or a name where an engine has that; "" is root
    pid: int = 0  # host pid of its first process; 0 when it has none
    namespaces: dict[str, NamespaceView] = {}
    limits: dict[str, LimitReading] = {}
    exit_code: int | None = None  # 128 + signal when a signal ended it
    reason: str = ""  # in words: "OOM killed", "killed by SIGKILL", "exited 1", …
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    owner: str = ""  # the user who made it; "" for containers made outside
    group: str = ""  # whose budget it shares
    hostname: str = ""
    addresses: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    user_map: str = ""  # for example "0 1000000 65536"; "" when it is the host's
    cgroups: dict[str, str] = {}  # controller → absolute cgroup directory; "" is the v2 one
    restart_policy: str = "no"  # no | on-failure | unless-stopped | always
    restart_count: int = 0  # by that policy, since a user (Docker: since it was made) started it
    restarting: bool = False  # it has ended, and its policy is about to start it again: a stop prevents that
    ports: tuple[Port, ...] = ()  # as the host really has them bound now
    networks: tuple[str, ...] = ()  # names of its engine's networks that it is connected to
    health: str = ""  # starting | healthy | unhealthy; "" when nobody looks
    keep_limits: bool = True  # those that its engine's record has no words for come back when it starts anew
    stale: bool = False  # its engine does not answer: all of this is as last seen


class ExecResult(msgspec.Struct, frozen=True):
    exit_code: int
    stdout: str
    stderr: str
    truncated: bool = False


class LogQuery(msgspec.Struct, frozen=True):
    """``tail``: the last so many lines; or, with the ``next`` of an earlier answer as ``after``, what has come since then."""

    tail: int = 1000
    after: str = ""
    timestamps: bool = False  # each line behind the time at which it came, RFC 3339
    since: float = 0.0  # Unix seconds; 0 is all


class LogText(msgspec.Struct, frozen=True):
    text: str
    next: str  # for the next query's ``after``


class Terminal(Protocol):
    """A shell with a pty. ``fd`` is read and written by whoever gets it; closing it hangs the shell up."""

    fd: int

    async def resize(self, rows: int, columns: int) -> None: ...


class Archive(msgspec.Struct, frozen=True):
    """A tar to be read from ``fd`` (the reader closes it). ``defaults`` are a Docker container's command and the like."""

    fd: int
    defaults: Defaults = Defaults()


class EngineStatus(msgspec.Struct, frozen=True):
    name: str
    available: bool
    detail: str  # version, or why it is not available
    hint: str = ""


Listing = list[Any] | Awaitable[list[Any]]  # at once, or when the daemon has answered
Changed = Callable[[str], None]  # called with a container's id whenever it may have changed, appeared or gone


class Engine(Protocol):
    """All methods raise errors of ``containers_app.errors``. ``get`` of an unknown id raises NotFound."""

    name: str

    async def open(self, changed: Changed) -> None: ...
    async def close(self) -> None: ...
    def status(self) -> EngineStatus: ...
    def owns(self, container_id: str) -> bool: ...
    def all(self) -> list[Container]: ...
    def get(self, container_id: str) -> Container: ...
    async def create(self, spec: ContainerSpec, owner: str) -> Container: ...
    async def start(self, container_id: str) -> None: ...
    async def stop(self, container_id: str, timeout: float | None) -> None: ...  # None: the container's own
    async def kill(self, container_id: str, signal: int) -> None: ...
    async def restart(self, container_id: str, timeout: float | None) -> None: ...
    async def pause(self, container_id: str) -> None: ...
    async def resume(self, container_id: str) -> None: ...
    async def update(self, container_id: str, changes: Changes) -> None: ...
    async def remove(self, container_id: str, force: bool) -> None: ...
    async def execute(
        self, container_id: str, argv: tuple[str, ...], timeout: float, namespaces: tuple[str, ...] = ()
    ) -> ExecResult: ...  # ``namespaces``: only these of its own; () is all
    async def open_terminal(self, container_id: str, argv: tuple[str, ...], rows: int, columns: int) -> Terminal: ...
    def look_again(self, container_id: str) -> None: ...  # somebody else has changed its limits in the kernel
    def read_limits(self, container_id: str) -> dict[str, LimitReading]: ...
    async def update_limits(self, container_id: str, changes: LimitChanges) -> dict[str, LimitReading]: ...
    async def logs(self, container_id: str, query: LogQuery) -> LogText: ...
    def commands(self, container_id: str) -> list[str]: ...
    def security(self, container_id: str) -> dict[str, Any]: ...
    def preview(self, spec: ContainerSpec) -> list[str]: ...
    def images(self) -> Listing: ...
    def networks(self) -> Listing: ...
    async def export_image(self, name: str) -> Archive: ...
    async def export_container(self, container_id: str) -> Archive: ...
