"""A throw-away sandbox beside a container: its own tools, the other's pid, net, ipc and uts namespaces, its files at /target.

    open ── directory, cgroup, plan ──▶ keeper ──▶ a shell on a pty, whose master is handed out
             └─ no record: what nobody owns is removed at the worker's start   │ the shell ends, or nobody has the master any more
                                              gone, with all that it started ◀─┘

It stands in the target's user namespace, so it can do there what its root can, ptrace(2) too. Where the target has none it is
the host's root with Docker's usual capabilities, which opens no device (kernel/devices.py), and stays out of the host's own pid
namespace, where that root would be the host's.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import os
import secrets
import select
import time
from collections.abc import Callable

from ..errors import Conflict, Unsupported
from ..kernel import devices, identity, rootfs, target
from ..kernel.cgroups import Cgroups
from ..kernel.operation import Operation
from ..kernel.plan import Plan
from ..kernel.security import DEFAULT_CAPABILITIES
from ..spec import ContainerSpec, LimitValue, Namespaces, Security
from . import raw_plan
from .base import Container
from .policy import Policy
from .policy_checks import check_host_files, check_toolbox
from .raw_exec import RawTerminal
from .raw_joins import Joiner
from .raw_run import Runner
from .raw_store import Record, Store

SHARED = ("pid", "net", "ipc", "uts")
LIMITS: dict[str, int] = {"memory": 512 << 20, "pids": 256}
_TIOCGPTPEER = 0x5441


class Toolboxes:
    def __init__(self, node: str, policy: Policy, store: Store, cgroups: Cgroups, runner: Runner, joiner: Joiner) -> None:
        self._node, self._policy, self._store, self._cgroups = node, policy, store, cgroups
        self._runner, self._joiner = runner, joiner
        self._watches: dict[str, _Watch] = {}

    async def open(self, beside: Container, image: str, rows: int, columns: int) -> RawTerminal:
        check_toolbox(self._policy)
        if beside.state != "running" or not beside.pid:
            raise Conflict(f"{beside.name} is {beside.state}.", hint="A toolbox stands beside a running container.")
        spec = self._spec(beside, image)
        check_host_files(self._policy, spec)  # the rest of the spec is ours; beside the host's users toolbox = true lends those
        uid_base = self._joiner.uid_base(spec) if raw_plan.maps_ids(spec) else 0
        box = Record(
            id=self._store.new_id(), node=self._node, spec=spec, owner="", created_at=time.time(), uid_base=uid_base,
            requested=self._limits(),
        )  # fmt: skip
        fds: list[int] = []
        paths: dict[str, str] = {}
        try:
            place = self._runner.place(box, secrets.token_hex(8))
            self._make_files(box)
            paths = self._cgroups.create(self._runner.group(box.id), box.requested)
            if not raw_plan.maps_ids(spec):
                self._keep_devices_shut(paths)
            spec, joined = self._joiner.open(spec, uid_base)
            fds = [os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC), *joined]
            fds.append(os.open(f"/proc/{beside.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))
            launched = await self._runner.keeper.launch(plan(spec, place, len(fds) - 1, rows, columns), fds)
        except BaseException as error:
            await asyncio.to_thread(self._take_down, box.id, paths)
            if isinstance(error, FileNotFoundError):
                raise Conflict(f"{beside.name} has just ended.", hint="Start it again.") from None
            raise
        finally:
            for fd in fds:
                os.close(fd)
        self._watches[box.id] = _Watch(launched.pidfd, launched.terminal, lambda: self._ended(box.id, paths))
        return RawTerminal(launched.terminal)

    def _spec(self, beside: Container, image: str) -> ContainerSpec:
        reference = f"container:{beside.id}"
        lent = self._policy.allow.host_namespaces
        modes = {}
        for kind in SHARED:
            if not beside.namespaces[kind].initial:
                modes[kind] = reference
            elif kind == "pid" or kind not in lent:
                modes[kind] = "none" if kind == "net" else "private"
            else:
                modes[kind] = "host"
        owned = not beside.namespaces["user"].initial
        more = ("CAP_SYS_PTRACE",) if owned else ()  # elsewhere it would reach whatever else enters that pid namespace
        return ContainerSpec(
            name="toolbox",
            image=image,
            command=raw_plan.SHELL,
            cwd="/",
            user="0:0",
            namespaces=Namespaces(**modes, user=reference if owned else "host", time="host"),
            security=Security(capabilities=(*DEFAULT_CAPABILITIES, *more)),
        )

    def _limits(self) -> dict[str, LimitValue]:
        largest, locked = dict(self._policy.limits.items()), self._cgroups.locked()
        wanted: dict[str, LimitValue] = {name: min(value, LIMITS.get(name, value)) for name, value in largest.items()}
        return {name: value for name, value in (LIMITS | wanted).items() if name not in locked}

    def _keep_devices_shut(self, paths: dict[str, str]) -> None:
        if not paths.get(""):
            raise Unsupported(
                "Without the v2 hierarchy of control groups no toolbox can stand beside a container that has the host's users.",
                hint="Mount it: mount -t cgroup2 none /sys/fs/cgroup/unified",
            )
        devices.keep_harmless(paths[""])

    def _make_files(self, box: Record) -> None:
        """Its own layer, in which names are looked up as the target does."""
        home = self._store.home(box.id)
        os.mkdir(home, 0o700)
        for name in ("upper", "work", "seat", "upper/etc"):
            os.mkdir(f"{home}/{name}")
            os.chmod(f"{home}/{name}", 0o755)  # noqa: S103  whatever our umask is: the upper's mode is that of / inside
        for name in ("hosts", "resolv.conf"):
            os.symlink(f"{target.PLACE}/etc/{name}", f"{home}/upper/etc/{name}")
        for name in ("upper", "work", "upper/etc"):
            os.chown(f"{home}/{name}", box.uid_base, box.uid_base)

    def _ended(self, box_id: str, paths: dict[str, str]) -> None:
        watch = self._watches.pop(box_id, None)
        if watch is None:
            return  # the shell's end and the hang-up came together
        watch.close()
        self._runner.spawn(asyncio.to_thread(self._take_down, box_id, paths))

    def _take_down(self, box_id: str, paths: dict[str, str]) -> None:
        """In a thread. Everything in its cgroup, whatever it was told to ignore, and its files."""
        if paths:
            self._runner.release(paths)
        self._store.remove(box_id)

    async def close(self) -> None:
        """With the worker: nobody would see their end."""
        for box_id, watch in list(self._watches.items()):
            watch.close()
            await asyncio.to_thread(self._take_down, box_id, self._cgroups.find(self._runner.group(box_id)))
        self._watches.clear()


class _Watch:
    """Calls ``ended`` once, when the shell has ended or when nobody has the pty's master any more.

    The pty's other end, held here, tells the latter (poll(2): POLLHUP); let go at the end of the shell, so that the master's
    holder sees that too.
    """

    def __init__(self, pidfd: int, master: int, ended: Callable[[], None]) -> None:
        self._pidfd, self._ended = pidfd, ended
        self._peer = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self._hang_up = select.epoll()
        self._hang_up.register(self._peer, 0)  # errors and hang-ups come unasked; that there is input is not for us
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd, self._ended)
        loop.add_reader(self._hang_up.fileno(), self._ended)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        loop.remove_reader(self._hang_up.fileno())
        self._hang_up.close()
        for fd in (self._pidfd, self._peer):
            with contextlib.suppress(OSError):
                os.close(fd)


def plan(spec: ContainerSpec, place: raw_plan.Place, index: int, rows: int, columns: int) -> Plan:
    """A sandbox's, but with a terminal for a log and the target's files; descriptor ``index`` is its mount namespace."""
    usual = raw_plan.launch_plan(spec, place)
    child: list[Operation] = []
    for step in usual.child:
        if isinstance(step, rootfs.HidePaths):
            child.append(target.AttachTarget())
        child.append(identity.OpenTerminal(rows, columns) if isinstance(step, identity.UseStreams) else step)
    before = (target.PrepareTarget(index), *usual.before)
    return dataclasses.replace(usual, kind="toolbox", before=before, child=tuple(child), log="", exit_record="")
