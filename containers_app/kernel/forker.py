"""The forker: a child of the keeper that forks for it, and does nothing else. Standard library only, one thread.

Who has forked copies each page that it writes to afterwards. The keeper goes on with links, mounts and other launches, and would
copy hundreds for each; the forker touches few. What it forks are the keeper's children (CLONE_PARENT, clone(2)).

    keeper → forker            a launch as the worker sent it + (status, the plan's fds)
    forker or helper → keeper  {"pid"} + pidfd, or {"error"}, on status; then the child has it to itself

It ends with the keeper. One that was killed is replaced at the next launch.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any, NoReturn

from . import launching
from . import plan as plans
from . import syscalls as sc
from .identity import receive_fds, write_file
from .keeper_socket import MAX_MESSAGE, widen
from .operation import Stage


class Forker:
    """The keeper's side."""

    def __init__(self) -> None:
        self._control = self._begin()

    def fork(self, message: bytes, fds: list[int]) -> None:
        """Raises OSError when not even a new one takes it."""
        try:
            socket.send_fds(self._control, [message], fds)
        except ConnectionError:
            self._control.close()
            self._control = self._begin()
            socket.send_fds(self._control, [message], fds)

    @staticmethod
    def _begin() -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            widen(end)
        keeper = os.getpid()
        if os.fork() == 0:
            try:
                _be_forker(theirs, keeper)
            finally:
                os._exit(1)
        theirs.close()
        return ours


def _be_forker(control: socket.socket, keeper: int) -> NoReturn:
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(0)
    write_file("/proc/self/comm", "forker")
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    sc.close_range(3, control.fileno() - 1)
    sc.close_range(control.fileno() + 1)
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    while True:
        message, fds = receive_fds(control, MAX_MESSAGE, launching.MAX_FDS + 1)
        if not message:
            os._exit(0)
        status = socket.socket(fileno=fds.pop(0))
        try:
            _fork(message, status, tuple(fds), own_pids)
        finally:
            status.close()
            for fd in fds:
                os.close(fd)


def _fork(message: bytes, status: socket.socket, fds: tuple[int, ...], own_pids: int) -> None:
    """What could not be forked, ``status`` is told."""
    step, opened = "JoinCgroups", []  # type: str, list[int]
    try:
        plan = plans.decode(json.loads(message)["plan"])
        cgroup2 = -1
        if plan.cgroup2:
            cgroup2 = os.open(plan.cgroup2, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.append(cgroup2)
        tasks = [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in plan.tasks]
        opened += tasks
        step = "clone3"
        born_in = [] if plan.needs_helper else [fds[index] for index, kinds in plan.joins if kinds & sc.CLONE_NEWPID]
        flags = 0 if plan.needs_helper else launching.flags(plan)
        with _born_in(born_in, own_pids):
            pid, pidfd = sc.clone3(flags | launching.CLONE_PARENT, exit_signal=0, cgroup_fd=cgroup2)
            if pid == 0:
                run = launching.run_helper if plan.needs_helper else launching.run_child
                run(plan, status, Stage(fds=fds, tasks=tuple(tasks)))
        opened.append(pidfd)
        if not plan.needs_helper:
            socket.send_fds(status, [b'{"pid":%d}' % pid], [pidfd])
    except OSError as error:
        _tell(status, launching.error_of(step, error))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        _tell(status, {"step": "message", "errno": 22, "text": f"not a request: {error!r}"})
    finally:
        for fd in opened:
            os.close(fd)


def _tell(status: socket.socket, error: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the keeper has given it up
        status.send(json.dumps({"error": error}).encode())


@contextlib.contextmanager
def _born_in(pid_namespaces: list[int], own_pids: int) -> Iterator[None]:
    """What is forked meanwhile is born in the pid namespace that its plan joins; the forker itself stays where it is."""
    for fd in pid_namespaces:
        sc.setns(fd, sc.CLONE_NEWPID)
    try:
        yield
    finally:
        if pid_namespaces:
            sc.setns(own_pids, sc.CLONE_NEWPID)
