"""Programs and terminals in a Docker container without its daemon: the keeper joins them to its first process.

They get what `docker exec` would give and never more than the first process has in the kernel's own word: all its namespaces
and control groups (of every hierarchy: "devices" among them), its bounding set of capabilities, no_new_privs, its resource
limits and oom_score_adj, and a seccomp filter where it has one. Where we can't do the same, ``NotThisWay`` says why, and the
API's exec does it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from dataclasses import dataclass

from ..errors import NotFound
from ..kernel import identity, namespaces, procfs, security, standing
from ..kernel.operation import Operation
from ..kernel.plan import Plan
from ..kernel.seccomp import compile_profile
from ..kernel.standing import Standing
from . import raw_exec
from .base import ExecResult
from .docker_exec import SHELL, no_such_program
from .docker_user import User, look_up
from .docker_view import Seen
from .keeper_client import Exit, KeeperClient, KeeperRefused
from .raw_plan import DEFAULT_PATH

_STRAYING = ("CAP_SYS_PTRACE", "CAP_SYS_ADMIN")  # a container that has one may look into what enters it, before it is confined
BEGIN_SECONDS = 2.0  # until a container's first process has become its program
_PLAIN_PROFILES = ("seccomp=builtin", "seccomp=default")


class NotThisWay(Exception):
    """The reason, for the log."""


@dataclass(frozen=True, slots=True)
class _Door:
    """Opened for one entrance: whoever has it closes ``pidfd``."""

    pidfd: int
    standing: Standing
    user: User


class Entrance:
    """``run`` is the directory of the keeper's socket, "" where there is no keeper."""

    def __init__(self, run: str) -> None:
        self._keeper = KeeperClient(f"{run}/keeper.sock", exited=self._exited, found=lambda: None) if run else None
        self._exits: dict[str, asyncio.Future[Exit]] = {}

    async def open(self) -> None:
        if self._keeper is not None:
            await self._keeper.open()

    async def close(self) -> None:
        if self._keeper is not None:
            await self._keeper.close()

    def _exited(self, told: Exit) -> None:
        future = self._exits.get(told.run)
        if future is not None and not future.done():
            future.set_result(told)

    def _there(self) -> KeeperClient:
        if self._keeper is None or not self._keeper.connected:
            raise NotThisWay("there is no keeper")
        return self._keeper

    async def open_terminal(self, seen: Seen, argv: tuple[str, ...], rows: int, columns: int) -> raw_exec.RawTerminal:
        """NotThisWay, or Unsupported when the program can't be started."""
        keeper, run = self._there(), secrets.token_hex(8)
        door = await asyncio.to_thread(_open_door, seen)
        try:
            screen = identity.OpenTerminal(rows, columns, door.user.uid)
            return await raw_exec.open_terminal(keeper, _plan(seen, door, argv or SHELL, run, screen), door.pidfd)
        except KeeperRefused as error:
            if error.step == "RunProgram":
                raise no_such_program(argv) from None
            raise NotThisWay(error.message) from None
        finally:
            os.close(door.pidfd)

    async def execute(self, seen: Seen, argv: tuple[str, ...], timeout: float) -> ExecResult:
        """NotThisWay, or what ``raw_exec.execute`` raises. A program that can't be started ends with 127, as in a shell."""
        keeper, run = self._there(), secrets.token_hex(8)
        door = await asyncio.to_thread(_open_door, seen)
        ended = self._exits[run] = asyncio.get_running_loop().create_future()
        try:
            plan = _plan(seen, door, argv, run, raw_exec.STREAMS)
            return await raw_exec.execute(keeper, plan, door.pidfd, argv[0], ended, timeout, door.user.uid)
        except KeeperRefused as error:
            if error.step == "RunProgram":
                return ExecResult(127 if error.errno == 2 else 126, "", f"{argv[0]}: {os.strerror(error.errno)}\n")
            raise NotThisWay(error.message) from None
        finally:
            del self._exits[run]
            os.close(door.pidfd)


def _open_door(seen: Seen) -> _Door:
    """In a thread: reads /proc and two files of the container's."""
    container = seen.container
    try:
        pidfd = os.pidfd_open(container.pid)
    except OSError:
        raise NotThisWay("its first process is not here") from None
    try:
        _wait_for_its_program(container.pid)
        found = standing.read(container.pid)
        _check(seen, found)
        return _Door(pidfd, found, look_up(container.pid, str(seen.config.get("User") or "")))
    except (OSError, NotFound) as error:
        os.close(pidfd)
        raise NotThisWay(str(error)) from None
    except BaseException:
        os.close(pidfd)
        raise


def _wait_for_its_program(pid: int) -> None:
    """Docker says "running" a moment before runc has become the program, and the limits and credentials are still runc's own:

    Go's runtime raises the soft limit of open files until it executes something else.
    """
    deadline = time.monotonic() + BEGIN_SECONDS
    while (procfs.read(f"/proc/{pid}/comm") or b"").startswith(b"runc:["):
        if time.monotonic() > deadline:
            raise NotThisWay("its program has not begun yet")
        time.sleep(0.002)


def _check(seen: Seen, found: Standing) -> None:
    options = [str(option) for option in seen.host.get("SecurityOpt") or ()]
    profiles = [option for option in options if option.startswith("seccomp") and option not in _PLAIN_PROFILES]
    user = seen.container.namespaces["user"]
    if not all(seen.container.id in group for group in found.groups if group != "/") or found.groups.count("/") == len(
        found.groups
    ):
        raise NotThisWay("that pid is another process by now, or it is in other control groups than its own")
    if not user.initial or user.inode != namespaces.initial().get("user"):
        raise NotThisWay("it has a user namespace")
    if found.label not in ("", "unconfined"):
        raise NotThisWay(f"a security module confines it: {found.label}")
    if found.seccomp not in ("off", "filter") or (found.seccomp == "filter" and profiles):
        raise NotThisWay("it has a seccomp profile of its own")
    if stray := [name for name in _STRAYING if name in found.bounding]:
        raise NotThisWay(f"it has {stray[0]}")
    if unknown := [name for name in found.bounding if name not in security.CAPABILITIES]:
        raise NotThisWay(f"it has a capability that is not known here: {unknown[0]}")
    if (seen.config.get("WorkingDir") or "/").startswith("/proc"):
        raise NotThisWay("its working directory is in /proc")


def _plan(seen: Seen, door: _Door, argv: tuple[str, ...], run: str, streams: Operation) -> Plan:
    """Another program beside the first process: descriptor 0 is its pidfd, streams follow."""
    found, user = door.standing, door.user
    filter_bytes = compile_profile("default" if found.seccomp == "filter" else "off", found.bounding)
    confine = security.Confine(user.uid, user.gid, found.bounding, found.no_new_privs, filter_bytes, user.groups)
    cwd = str(seen.config.get("WorkingDir") or "/")
    terminal = isinstance(streams, identity.OpenTerminal)
    return Plan(
        id=seen.container.id,
        run=run,
        kind="exec",
        joins=((0, found.differs),),
        cgroup2=found.cgroup2,
        tasks=found.tasks,
        parent=(identity.AdjustOomScore(found.oom_score_adj),) if found.oom_score_adj else (),
        child=(
            identity.TakeRlimits(found.rlimits), streams, confine,
            security.RunProgram(argv, environment(seen, user, terminal), cwd),
        ),
    )  # fmt: skip


def environment(seen: Seen, user: User, terminal: bool) -> tuple[str, ...]:
    """NAME=value, each once: what Docker sets, then the container's own."""
    values = {"PATH": DEFAULT_PATH, "HOSTNAME": seen.container.hostname, "HOME": user.home}
    if terminal:
        values["TERM"] = "xterm-256color"
    values |= dict(pair.split("=", 1) for pair in map(str, seen.config.get("Env") or ()) if "=" in pair)
    return tuple(f"{name}={value}" for name, value in values.items())
