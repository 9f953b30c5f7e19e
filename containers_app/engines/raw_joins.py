"""Namespaces that a sandbox takes over from elsewhere: found, opened, and held against the policy again at every launch.

A reference is ``container:ID`` (of either engine; it must be running) or ``path:FILE``. One that leads to the host's own
namespace counts as "host". The kernel keeps a joined namespace as long as anybody is in it, whatever becomes of the container
that it came from; only a pid namespace ends with its first process.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable

import msgspec

from ..errors import Conflict, InvalidInput, NotFound, TerrariumError, Unsupported
from ..kernel import namespaces, procfs
from ..spec import ContainerSpec
from . import raw_plan
from .policy import UID_RANGE, Policy
from .policy_checks import check_initial_namespace
from .raw_checks import REFERENCES

Resolve = Callable[[str], int]  # a container's id or name, in whichever engine → host pid of its first process, 0 if none

_CLOCKS = {"monotonic": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}


class Joiner:
    def __init__(self, policy: Policy, resolve: Resolve) -> None:
        self._policy, self._resolve = policy, resolve

    def open(self, spec: ContainerSpec, uid_base: int) -> tuple[ContainerSpec, list[int]]:
        """The spec as it can be launched now, and the descriptors of ``raw_plan.joined_types`` of it; the caller closes them.

        Conflict when a container that it leans on does not run, or its ids are others than those this sandbox's files have.
        """
        check_clocks(spec)
        modes: dict[str, str] = {}
        found: list[int] = []
        try:
            for kind in raw_plan.joined_types(spec):
                mode = getattr(spec.namespaces, kind)
                fd = self._open(kind, mode)
                inode = os.fstat(fd).st_ino
                if inode == namespaces.initial().get(kind):
                    os.close(fd)
                    check_initial_namespace(self._policy, kind)
                    modes[kind] = "host"
                    continue
                found.append(fd)
                if kind == "user" and self._mapped(mode, inode) != uid_base:
                    raise Conflict(
                        f"The user namespace of {_shown(mode)} has other ids now than this sandbox's files.",
                        hint="Remove this sandbox and create it anew.",
                    )
            if modes.get("user") == "host" and uid_base:
                raise Conflict(
                    f"{_shown(spec.namespaces.user)} has no user namespace of its own any more.", hint="Create it anew."
                )
        except BaseException:
            for fd in found:
                os.close(fd)
            raise
        if modes:
            spec = msgspec.structs.replace(spec, namespaces=msgspec.structs.replace(spec.namespaces, **modes))
        return spec, found

    def uid_base(self, spec: ContainerSpec) -> int:
        """The host id that root of the joined user namespace is; 0 where that is the host's own, as far as policy lets it be."""
        mode = spec.namespaces.user
        fd = self._open("user", mode)
        try:
            inode = os.fstat(fd).st_ino
        finally:
            os.close(fd)
        if inode == namespaces.initial().get("user"):
            check_initial_namespace(self._policy, "user")
            return 0
        return self._mapped(mode, inode)

    def _open(self, kind: str, mode: str) -> int:
        scheme, _, target = mode.partition(":")
        path = target if scheme == "path" else f"/proc/{self._pid(kind, target)}/ns/{kind}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            message = f"The {kind} namespace of {_shown(mode)} can't be opened: {error.strerror}."
            raise InvalidInput(message, code="invalid_namespace", hint="It may have ended.") from None
        if scheme == "path" and not namespaces.is_namespace(fd, kind):
            os.close(fd)
            raise InvalidInput(f"{target} is not a {kind} namespace.", code="invalid_namespace", hint="lsns lists what there is.")
        return fd

    def _pid(self, kind: str, target: str) -> int:
        try:
            pid = self._resolve(target)
        except NotFound:
            raise Conflict(
                f"The container {target}, whose {kind} namespace it shares, is gone.",
                hint="Create this sandbox anew with another one, or with a namespace of its own.",
            ) from None
        if not pid:
            raise Conflict(
                f"The container {target}, whose {kind} namespace it shares, is not running.", hint="Start that one first."
            )
        return pid

    def _mapped(self, mode: str, inode: int) -> int:
        """The first host id of a user namespace, by one of its processes: the file itself does not tell."""
        scheme, _, target = mode.partition(":")
        pid = self._pid("user", target) if scheme == "container" else namespaces.member("user", inode)
        if pid is None:
            raise Unsupported(
                f"Nobody is in the user namespace {target}.", hint="A process in it tells which ids it has: start one."
            )
        ids = namespaces.id_map(pid)
        if ids.uid != ids.gid or len(ids.uid) != 1 or ids.uid[0][0] != 0 or ids.uid[0][2] < UID_RANGE:
            raise Unsupported(
                f"The user namespace of {_shown(mode)} does not have one whole range of ids.",
                hint=f"Ids 0 to {UID_RANGE - 1} are needed.",
            )
        base = ids.uid[0][1]
        if base < UID_RANGE:
            check_initial_namespace(self._policy, "user")  # root inside is a user of the host's own
        return base


def check_clocks(spec: ContainerSpec) -> None:
    for clock, seconds in spec.time_offsets.items():
        shows = int(time.clock_gettime(_CLOCKS[clock]))
        if shows + seconds < 0:
            raise InvalidInput(
                f"The clock {clock} would show less than zero.", hint=f"It shows {shows} seconds; move it back by less than that."
            )


def held_addresses(running: Iterable[tuple[ContainerSpec, int]]) -> set[str]:
    """IPv4 addresses in network namespaces that outlive, or may outlive, the sandbox they were given to."""
    held: set[str] = set()
    for spec, pid in running:
        if pid and spec.namespaces.net.startswith(REFERENCES):
            with contextlib.suppress(TerrariumError):
                held.update(procfs.local_addresses(pid))
    return held


def _shown(mode: str) -> str:
    return mode.partition(":")[2]
