"""Groups: named control groups of our own, in which several containers share one budget.

    terrarium-TAG/group.NAME/ID        the group's limits hold for all in it together; a member's effective value is the tighter
                       .../processes   those of the host that were put into it: cgroup v2 allows none beside groups inside

A group is a record, DATA/groups/NAME.json, of which two versions are kept (kernel/state_file.py), and a control group in each
hierarchy, made anew when it is not there (the host was restarted, or somebody removed it). Where no version can be read, or where
something runs in a control group that no record tells of, the group is there again with the limits that the kernel holds.
A Docker container is in it by its cgroup parent, so Docker makes its control group, in hierarchies too that we have no use for,
and may do so before us when the host starts: the limits are written then when we come.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Iterator

import msgspec

from ..errors import Conflict, InvalidInput, KernelRefused, NotFound, TerrariumError
from ..kernel import procfs, state_file
from ..kernel.cgroups import Cgroups, files
from ..spec import NET_LIMITS, LimitChanges, LimitReading, LimitValue, check_group_name, merge_limits, set_limits
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
    version: int = 0  # how often it was saved


_decode = msgspec.json.Decoder(GroupRecord).decode


class GroupUsage(msgspec.Struct, frozen=True):
    """Of all members together; None is "not known". ``cpu`` in seconds since the group was made, ``memory`` in bytes.

    ``at`` is when it was read, in seconds of a clock that only runs on: two readings make a rate.
    """

    at: float
    cpu: float | None
    memory: int | None
    pids: int | None


class Groups:
    """Methods raise errors of ``containers_app.errors``, for a full disk too."""

    def __init__(self, tag: str, data: str, cgroups: Cgroups) -> None:
        self._tag, self._cgroups = tag, cgroups
        self._directory = f"{data}/groups"
        self._locked = _NO_LINK | cgroups.unshared()
        self._records: dict[str, GroupRecord] = {}
        self._expecting: Counter[str] = Counter()

    def open(self) -> None:
        """Read the records, and find the groups whose record is lost."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        recorded = {entry.removesuffix(".json") for entry in os.listdir(self._directory) if entry.endswith(".json")}
        for name in filter(_is_name, recorded | self._populated()):
            try:
                self._records[name] = state_file.read(self._file(name), _decode)
            except (OSError, ValueError):
                self._records[name] = self._found_again(name)
        for record in self._records.values():
            if record.boot_id != procfs.boot_id() and self._is_there(record.name):
                self._limit_again(record)

    def _populated(self) -> set[str]:
        """Those in whose control group something runs: it is to run on, whatever has become of their records."""
        top = f"terrarium-{self._tag}"
        places = {*self._cgroups.paths(top).values(), *self._cgroups.former_paths(top).values()}
        there = {entry for place in places if os.path.isdir(place) for entry in os.listdir(place)}
        names = filter(_is_name, (entry.removeprefix(PREFIX) for entry in there if entry.startswith(PREFIX)))
        return {name for name in names if self._cgroups.pids(self._cgroups.find(self.place(name)))}

    def _found_again(self, name: str) -> GroupRecord:
        """What can be told of it without its record: its limits, while its control group is there. Its owner is not known."""
        limits: dict[str, LimitValue] = {}
        with contextlib.suppress(NotFound):
            found = readings({}, self._cgroups.find(self.place(name)), self._cgroups, locked=self._locked)
            limits = {limit: one.kernel for limit, one in found.items() if one.drift and one.kernel is not None}
        record = GroupRecord(name, "", time.time(), limits, procfs.boot_id())
        _log.warning("the record of the group %s is lost; it is nobody's, with the limits of its control group: %s", name, limits)
        try:
            self._save(record)
        except TerrariumError as error:  # the next start finds it as this one did
            _log.warning("group %s: %s", name, error)
        return record

    def _limit_again(self, record: GroupRecord) -> None:
        """The host was started anew, and Docker has made the control group for a container that came before us."""
        try:
            self._cgroups.update(self.paths(record.name), record.requested)
            record.boot_id = procfs.boot_id()
            self._save(record)
        except TerrariumError as error:  # it shows as drift
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
        try:
            self._save(record)
            self._cgroups.create_parent(self.place(name), record.requested)
        except BaseException:
            state_file.remove(self._file(name))
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

    @contextlib.contextmanager
    def expecting(self, name: str) -> Iterator[None]:
        """Its control group is there, and stays, for a member that is being made."""
        self.ensure(name)
        self._expecting[name] += 1
        try:
            yield
        finally:
            self._expecting[name] -= 1

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
        if self._expecting[name] or any(os.path.basename(path) != PROCESSES for path in inside):
            raise Conflict(f"Something is being made in {name}.", hint="Try again in a moment.", code="group_in_use")
        let_go(self.place(name), self._cgroups)
        self._cgroups.remove(self.paths(name))
        for root in self._cgroups.elsewhere:
            files.remove(f"{root}/{self.place(name)}")
        state_file.remove(self._file(name))
        del self._records[name], self._expecting[name]

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
        before, record.requested = record.requested, merge_limits(record.requested, changes)
        try:
            self._save(record)
        except TerrariumError:
            record.requested = before
            self._cgroups.update(self.paths(name), {limit: before.get(limit) for limit in changes})
            raise
        return self.read_limits(name)

    def read_usage(self, name: str) -> GroupUsage:
        found = self._cgroups.counters(self.paths(name))
        cpu = _number(found.cpu, found.cpu_key)
        memory, cache = _number(found.memory), _number(found.memory_stat, found.cache_key)
        return GroupUsage(
            time.monotonic(),
            None if cpu is None else cpu * found.cpu_unit,
            None if memory is None else max(0, memory - (cache or 0)),
            _number(found.pids),
        )

    def paths(self, name: str) -> dict[str, str]:
        return self._cgroups.paths(self.place(name))

    def _file(self, name: str) -> str:
        return f"{self._directory}/{name}.json"

    def _save(self, record: GroupRecord) -> None:
        record.version += 1
        path = self._file(record.name)
        try:
            state_file.write(path, msgspec.json.encode(record))
            state_file.sync((path, self._directory))
        except OSError as error:
            message = f"The record of the group {record.name} can't be written: {error.strerror}."
            raise KernelRefused(message, hint=f"Look at df {self._directory}.") from None


def let_go(place: str, cgroups: Cgroups) -> None:
    """The host's processes that were put into the group go to the hierarchies' roots: where they came from may be gone."""
    roots = {name: path.removesuffix(f"/{place}") for name, path in cgroups.former_paths(place).items()}
    inside = cgroups.find(f"{place}/{PROCESSES}")
    while pids := cgroups.pids(inside):  # again: one may have forked meanwhile
        for pid in pids:
            for file in cgroups.procs_files(roots):
                with contextlib.suppress(ProcessLookupError):
                    files.write(file, str(pid))


def _is_name(name: str) -> bool:
    try:
        check_group_name(name)
    except InvalidInput:
        return False
    return True


def _number(path: str, key: bytes = b"") -> int | None:
    data = files.read_or_none(path) if path else None
    return files.number(data, key) if data else None
