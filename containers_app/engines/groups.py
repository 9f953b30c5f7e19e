"""Groups: named control groups of our own, in which several containers share one budget.

    terrarium-TAG/group.NAME/ID        the group's limits hold for all in it together; a member's effective value is the tighter
                       .../processes   those of the host that were put into it: cgroup v2 allows none beside groups inside

A group is a record, DATA/groups/NAME.json, written whole or not at all, and a control group in each hierarchy, made anew when it
is not there (the host was restarted, or somebody removed it). A Docker container is in it by its cgroup parent, so Docker makes
its control group, in hierarchies too that we have no use for, and may do so before us when the host starts: the limits are
written then when we come.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time

import msgspec

from ..errors import Conflict, NotFound, TerrariumError
from ..kernel import procfs
from ..kernel.cgroups import Cgroups, files
from ..spec import NET_LIMITS, LimitChanges, LimitReading, LimitValue, merge_limits, set_limits
from .limit_readings import check_changes, readings

_NO_LINK = dict.fromkeys(NET_LIMITS, "A group has no link of its own; limit those of its members.")
PREFIX = "group."  # of the control group's name: sandboxes' ids stand beside it
PROCESSES = "processes"
DOCKERS = re.compile(r"(libpod-)?[0-9a-f]{64}")  # a control group that Docker, or Podman, has made for a container of its own
MOST = 256
_log = logging.getLogger(__name__)


class GroupRecord(msgspec.Struct):
    name: str
    owner: str
    created_at: float
    requested: dict[str, LimitValue] = {}
    boot_id: str = ""  # of the host's run in which its control group got its limits


class GroupUsage(msgspec.Struct, frozen=True):
    """Of all members together; None is "not known". ``cpu`` in seconds since the group was made, ``memory`` in bytes."""

    cpu: float | None
    memory: int | None
    pids: int | None


class Groups:
    """Methods raise errors of ``containers_app.errors``, and OSError when the disk does."""

    def __init__(self, tag: str, data: str, cgroups: Cgroups) -> None:
        self._tag, self._cgroups = tag, cgroups
        self._directory = f"{data}/groups"
        self._locked = _NO_LINK | cgroups.unshared()
        self._records: dict[str, GroupRecord] = {}

    def open(self) -> None:
        """Read the records. One that can't be read is none: the record comes before the control group."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        for entry in os.listdir(self._directory):
            if entry.endswith(".json"):
                with contextlib.suppress(OSError, msgspec.DecodeError), open(f"{self._directory}/{entry}", "rb") as file:
                    record = msgspec.json.decode(file.read(), type=GroupRecord)
                    self._records[record.name] = record
        for record in self._records.values():
            if record.boot_id != procfs.boot_id() and self._is_there(record.name):
                self._limit_again(record)

    def _limit_again(self, record: GroupRecord) -> None:
        """The host was started anew, and Docker has made the control group for a container that came before us."""
        try:
            self._cgroups.update(self.paths(record.name), record.requested)
            record.boot_id = procfs.boot_id()
            self._save(record)
        except (TerrariumError, OSError) as error:  # it shows as drift
            _log.warning("the limits of the group %s could not be set again: %s", record.name, error)

    def names(self) -> list[str]:
        return sorted(self._records)

    def get(self, name: str) -> GroupRecord:
        if name not in self._records:
            raise NotFound(f"There is no group “{name[:64]}”.", hint="Make it first, or leave group out.")
        return self._records[name]

    def place(self, name: str) -> str:
        """The name of its control group."""
        return f"terrarium-{self._tag}/{PREFIX}{name}"

    def places(self) -> set[str]:
        """All that may be there without belonging to a sandbox."""
        return {place for name in self._records for place in (self.place(name), f"{self.place(name)}/{PROCESSES}")}

    def named_by(self, parent: str) -> str:
        """Docker's cgroup parent of a container → the group that it is in, "" for none."""
        above, _, name = parent.rstrip("/").rpartition(f"terrarium-{self._tag}/{PREFIX}")
        return name if name in self._records and above.strip("/") == (self.above() or "").strip("/") else ""

    def above(self) -> str | None:
        """What Docker has to put before ``place``: the unit that systemd delegated to us. None: not in every hierarchy."""
        return self._cgroups.above()

    def create(self, name: str, owner: str, limits: LimitChanges) -> GroupRecord:
        if name in self._records:
            raise Conflict(f"There is a group called “{name}” already.", hint="Choose another name.", code="name_taken")
        if len(self._records) >= MOST:
            raise Conflict(f"There are {MOST} groups already.", hint="Remove one first.")
        check_changes(limits, self._cgroups, self._locked)
        record = GroupRecord(name, owner, time.time(), set_limits(limits), procfs.boot_id())
        self._save(record)
        try:
            self._cgroups.create_parent(self.place(name), record.requested)
        except BaseException:
            os.unlink(self._file(name))
            raise
        self._records[name] = record
        return record

    def ensure(self, name: str) -> None:
        """Its control group is there, with its limits."""
        record = self.get(name)
        if not self._is_there(name):
            self._cgroups.create_parent(self.place(name), record.requested)
            if record.boot_id != procfs.boot_id():
                record.boot_id = procfs.boot_id()
                self._save(record)

    def _is_there(self, name: str) -> bool:
        return all(map(os.path.isdir, self.paths(name).values()))

    def prepare_processes(self, name: str) -> dict[str, str]:
        """The control group for processes of the host, made when it is not there."""
        self.ensure(name)
        place = f"{self.place(name)}/{PROCESSES}"
        paths = self._cgroups.paths(place)
        return paths if all(map(os.path.isdir, paths.values())) else self._cgroups.create(place, {})

    def processes(self, name: str) -> list[int]:
        """Of the host, that were put into it."""
        return self._cgroups.pids(self._cgroups.paths(f"{self.place(name)}/{PROCESSES}"))

    def remove(self, name: str, members: list[str]) -> None:
        """The control group first: a removal that was killed half way is done again. The host's processes go back to the host."""
        self.get(name)
        if members:
            raise Conflict(f"{name} has {', '.join(members[:5])} in it.", hint="Remove its members first.", code="group_in_use")
        inside = {path for one in self.paths(name).values() for path in files.subgroups(one)}
        if any(os.path.basename(path) != PROCESSES for path in inside):
            raise Conflict(f"Something is being made in {name}.", hint="Try again in a moment.", code="group_in_use")
        let_go(self.place(name), self._cgroups)
        self._cgroups.remove(self.paths(name))
        for root in self._cgroups.elsewhere:
            files.remove(f"{root}/{self.place(name)}")
        os.unlink(self._file(name))
        del self._records[name]

    def read_limits(self, name: str) -> dict[str, LimitReading]:
        requested = dict[str, LimitValue | None](self.get(name).requested)
        try:
            return readings(requested, self.paths(name), self._cgroups, locked=self._locked)
        except NotFound:
            return readings(requested, {}, self._cgroups, locked=self._locked)

    def update_limits(self, name: str, changes: LimitChanges) -> dict[str, LimitReading]:
        """All of ``changes`` or none."""
        record = self.get(name)
        check_changes(changes, self._cgroups, self._locked)
        self.ensure(name)
        self._cgroups.update(self.paths(name), changes)
        record.requested = merge_limits(record.requested, changes)
        self._save(record)
        return self.read_limits(name)

    def read_usage(self, name: str) -> GroupUsage:
        found = self._cgroups.counters(self.paths(name))
        cpu = _number(found.cpu, found.cpu_key)
        memory, cache = _number(found.memory), _number(found.memory_stat, found.cache_key)
        return GroupUsage(
            None if cpu is None else cpu * found.cpu_unit,
            None if memory is None else max(0, memory - (cache or 0)),
            _number(found.pids),
        )

    def paths(self, name: str) -> dict[str, str]:
        return self._cgroups.paths(self.place(name))

    def _file(self, name: str) -> str:
        return f"{self._directory}/{name}.json"

    def _save(self, record: GroupRecord) -> None:
        path = self._file(record.name)
        with open(path + ".new", "wb") as file:
            file.write(msgspec.json.encode(record))
        os.rename(path + ".new", path)


def let_go(place: str, cgroups: Cgroups) -> None:
    """The host's processes that were put into the group go to the hierarchies' roots: where they came from may be gone."""
    roots = {name: path.removesuffix(f"/{place}") for name, path in cgroups.former_paths(place).items()}
    inside = cgroups.find(f"{place}/{PROCESSES}")
    while pids := cgroups.pids(inside):  # again: one may have forked meanwhile
        for pid in pids:
            for file in cgroups.procs_files(roots):
                with contextlib.suppress(ProcessLookupError):
                    files.write(file, str(pid))


def _number(path: str, key: bytes = b"") -> int | None:
    data = files.read_or_none(path) if path else None
    return files.number(data, key) if data else None
