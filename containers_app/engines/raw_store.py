"""What we know of each sandbox, on disk: DATA/sandboxes/<id>/record.json, written whole or not at all.

A record goes through its phases in order, so that a worker killed at any instruction finds out at its next start what
was under way:

    ready ◀──▶ starting ──▶ running ──▶ ready (with an ending)      removing, from running

A directory without a record is half made: the record comes last. Its last two versions are kept (kernel/state_file.py). A record
that is there and can't be read is no reason to lose a sandbox: all of that stays (raw_spoilt.py).
``starting``: a launch was asked for, adopt it or clean up; a new sandbox goes there at once. ``removing``: finish the removal.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import msgspec

from ..errors import Conflict
from ..kernel import file_tree, state_file, top_directory
from ..kernel.network import Attachment
from ..spec import ContainerSpec, LimitValue, Port, stored_decoder

UIDS_EACH = 65536
_REMOVED = ".removed-"  # before the id, where it is no sandbox any more


class Run(msgspec.Struct, frozen=True):
    """One launch. (boot_id, pid, start_ticks) name its first process for good; ``pid`` 0 while it is being launched.

    ``start_ticks`` is field 22 of /proc/PID/stat, proc_pid_stat(5).
    """

    id: str
    boot_id: str
    pid: int = 0
    start_ticks: int = 0
    started_at: float = 0.0


class Ending(msgspec.Struct, frozen=True):
    """``code`` None: nobody saw how it ended (the keeper died too, on a kernel that doesn't keep it)."""

    code: int | None
    signal: int
    at: float | None
    oom_killed: bool = False
    oom_limit: int | None = None  # bytes that held it then; None: none did, so the host was short of memory, or it is not known
    oom_own: bool = False  # that was its own limit, not one of a group above


class Record(msgspec.Struct, kw_only=True):
    id: str
    node: str
    spec: ContainerSpec
    owner: str
    created_at: float
    uid_base: int
    phase: Literal["ready", "starting", "running", "removing"] = "ready"
    requested: dict[str, LimitValue] = {}
    attachment: Attachment | None = None
    ports: tuple[Port, ...] = ()  # as they were published last: 0 has become a port
    link_index: int = 0  # of the host's end of its veth, once it has had a rate
    run: Run | None = None
    ending: Ending | None = None
    paused: bool = False
    stopped_by: str = ""  # a signal that we sent on a user's behalf, to tell "stopped" from "killed"
    wanted: bool = True  # to run: no user has stopped it since a user started it
    attempts: int = 0  # to restart it, in a row
    restart_at: float | None = None  # Unix seconds of the next one
    restart_error: str = ""  # why the last one failed
    restart_count: int = 0  # since a user started it
    version: int = 0  # how often it was saved

    def id_ranges(self) -> list[tuple[int, int]]:
        """(first, count) of the host's user ids that are this sandbox's; a joined user namespace's too, for its files' sake."""
        if self.spec.id_map:
            return [(line.outside, line.count) for line in self.spec.id_map]
        return [(self.uid_base, UIDS_EACH)] if self.uid_base else []


class Loaded(NamedTuple):
    """``half_made`` are ids without a record, of sandboxes never finished. ``spoilt``: id → why its record can't be read."""

    records: list[Record]
    half_made: list[str]
    spoilt: dict[str, str]


_decode = stored_decoder(Record)


class Store:
    """All records of one data directory. Methods raise OSError when the disk does."""

    def __init__(self, data: str) -> None:
        self.directory = f"{data}/sandboxes"
        self._spares = f"{data}/spares"
        self.unsynced: dict[str, None] = {}  # ids of records that the disk may not have yet
        self.saved: Callable[[], None] = lambda: None  # whoever sees to that is told here
        for directory in (self.directory, self._spares):
            os.makedirs(directory, mode=0o700, exist_ok=True)
            top_directory.mark(directory)

    def home(self, sandbox: str) -> str:
        return f"{self.directory}/{sandbox}"

    def new_id(self) -> str:
        return secrets.token_hex(6)

    def load(self) -> Loaded:
        loaded = Loaded([], [], {})
        for name in self.names():
            path = f"{self.home(name)}/record.json"
            try:
                loaded.records.append(state_file.read(path, _decode))
            except FileNotFoundError:
                loaded.half_made.append(name)
            except OSError as error:
                loaded.spoilt[name] = f"{path} can't be read: {error.strerror}"
            except ValueError as error:
                loaded.spoilt[name] = str(error)
        return loaded

    def names(self) -> list[str]:
        """Of every sandbox that has a directory. What a removal, or a worker with spares, left behind when killed goes now."""
        self.remove_spares(*os.listdir(self._spares))
        for name in os.listdir(self.directory):
            if name.startswith(_REMOVED):
                file_tree.clear_away(f"{self.directory}/{name}")
        return sorted(name for name in os.listdir(self.directory) if not name.startswith(_REMOVED))

    def half_removed(self) -> list[str]:
        """Directories of which something can't be removed; the log says what."""
        return [f"{self.directory}/{name}" for name in os.listdir(self.directory) if name.startswith(_REMOVED)]

    def save(self, record: Record) -> None:
        """Whole or not at all, whoever is killed when; ``sync`` makes it outlive a power cut too."""
        record.version += 1
        state_file.write(f"{self.home(record.id)}/record.json", msgspec.json.encode(record))
        self.unsynced[record.id] = None
        self.saved()

    def sync(self, sandboxes: Iterable[str]) -> None:
        """In a thread: wait until the disk has them. Milliseconds, so never on the way to a running sandbox."""
        homes = [self.home(sandbox) for sandbox in sandboxes]
        state_file.sync((*(f"{home}/record.json" for home in homes), *homes, self.directory))

    def make(self, record: Record) -> None:
        """Its directory; ``save`` then makes it a sandbox."""
        os.mkdir(self.home(record.id), 0o700)

    def spare_home(self, spare: str) -> str:
        """Where a sandbox that nobody has asked for yet has its layer."""
        return f"{self._spares}/{spare}"

    def take_spare(self, spare: str) -> None:
        os.rename(self.spare_home(spare), self.home(spare))

    def remove_spares(self, *spares: str) -> None:
        for spare in spares:
            file_tree.clear_away(self.spare_home(spare))

    def make_layer(self, record: Record, home: str = "") -> None:
        for name in ("upper", "work"):
            path = f"{home or self.home(record.id)}/{name}"
            os.mkdir(path)
            os.chmod(path, 0o755)  # noqa: S103  whatever our umask is: the upper's mode is that of / inside
            os.chown(path, record.uid_base, record.uid_base)

    def layer_facts(self, sandbox: str) -> tuple[float, int]:
        """(when it was made, the host's user id of its root), by what it can't change; 0 where that is not there."""
        try:
            facts = os.stat(f"{self.home(sandbox)}/work")
        except OSError:
            return 0.0, 0
        return facts.st_mtime, facts.st_uid

    def remove(self, sandbox: str) -> None:
        """Out of the way in one step first: the keeper may be writing an exit record there at this moment."""
        gone = f"{self.directory}/{_REMOVED}{sandbox}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.home(sandbox), gone)
        file_tree.clear_away(gone)


def free_uid_base(base: int, count: int, used: Iterable[tuple[int, int]]) -> int:
    """The lowest free range of ids. ``base`` and ``count``: the policy's, as in /etc/subuid; ``used``: (first, count)."""
    taken: set[int] = set()
    for first, many in used:
        taken.update(range((first - base) // UIDS_EACH, (first - base + many - 1) // UIDS_EACH + 1))
    for slot in range(count // UIDS_EACH):
        if slot not in taken:
            return base + slot * UIDS_EACH
    raise Conflict("Every range of user ids is in use.", hint="Remove a sandbox, or widen [uids] in policy.toml.")
