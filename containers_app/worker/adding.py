"""A running process of the host, put into a container's control groups: from then on it shares the container's limits and end.
Or into a group's: then it shares the group's budget, and goes back to the host when the group goes.

That is all the kernel lets anybody do to another process. Namespaces are entered by a process itself, with setns(2): no program
can put a running one there. To have a host's program in some of a container's namespaces, start it there (``ExecuteCommand``
with ``namespaces``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..engines.base import Container
from ..engines.policy import Policy
from ..errors import Conflict, InvalidInput, KernelRefused, NotFound, PolicyRefused, TerrariumError, Unsupported
from ..kernel import procfs
from ..kernel.cgroups import Cgroups

Paths = Callable[[], Mapping[str, str]]  # called when all else is checked


def add(
    container: Container, others: Iterable[Container], pid: int, to: tuple[str, ...], run: str, policy: Policy, cgroups: Cgroups
) -> None:
    """Blocking: on cgroup v1 the kernel may wait for every fork on the host. All of its control groups, or none.

    ``run``: the directory with the panel's own pid files.
    """
    _check_allowed(to, policy)
    if container.state != "running":
        raise Conflict(f"{container.name} is {container.state}.", hint="Start it first.")
    _add(lambda: container.cgroups, (container, *others), pid, run, policy, cgroups)


def add_to_group(
    paths: Paths, containers: Iterable[Container], pid: int, to: tuple[str, ...], run: str,
    policy: Policy, cgroups: Cgroups,
) -> None:  # fmt: skip
    """The same for a group; no process of any of ``containers``."""
    _check_allowed(to, policy)
    _add(paths, containers, pid, run, policy, cgroups)


def _check_allowed(to: tuple[str, ...], policy: Policy) -> None:
    if not policy.allow.add_process:
        raise PolicyRefused(
            "This host does not let its processes be moved into containers.", hint="Ask root to set add_process in policy.toml."
        )
    if to != ("cgroup",):
        raise Unsupported(
            "A running process can be put into control groups only: into namespaces it goes by its own setns(2).",
            hint='Send "to": ["cgroup"], or start a program in the namespaces with exec.',
        )


def _add(paths: Paths, containers: Iterable[Container], pid: int, run: str, policy: Policy, cgroups: Cgroups) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, OverflowError):
        raise NotFound(f"There is no process {pid}.", hint="It may have ended; ps shows what there is.") from None
    except OSError:
        raise InvalidInput(
            f"{pid} is not a process: it is a thread of one, or no number of one.", hint="Name the process."
        ) from None
    try:
        begun = procfs.start_time(pid)
        _check_process(pid, run, policy)
        for other in containers:
            if other.cgroups and pid in cgroups.pids(other.cgroups):
                raise Conflict(f"Process {pid} belongs to {other.name} already.", hint="Only a process of the host can be added.")
        _move(pid, paths(), cgroups)
        if procfs.start_time(pid) != begun:
            raise Conflict(f"Process {pid} ended as it was moved.", hint="Look at what is in the container now.")
    finally:
        os.close(pidfd)


def _check_process(pid: int, run: str, policy: Policy) -> None:
    found = procfs.process(pid)
    if found is None or found.state == "zombie":
        raise Conflict(f"Process {pid} has ended.", hint="Choose one that runs.")
    if procfs.is_kernel_thread(pid):
        raise Unsupported(f"{found.name} ({pid}) is a thread of the kernel.", hint="The kernel does not let its own be moved.")
    if pid == 1:
        raise Unsupported("Process 1 holds up the host.", hint="Choose another process.")
    if pid in _own(run) or found.uid in set(policy.peers.uids) - {0}:
        raise Unsupported(f"{found.name} ({pid}) is the panel's own.", hint="It would end with the container.")


def _own(run: str) -> set[int]:
    """Supervisor, keeper, worker, web, and all that started us."""
    own = {os.getpid()}
    for file in Path(run).glob("*.pid") if run else ():
        own.update(int(word) for word in file.read_text().split()[:1] if word.isdigit())
    parent = os.getppid()
    while parent > 1 and (above := procfs.process(parent)) is not None:
        own.add(parent)
        parent = above.ppid
    return own


def _move(pid: int, paths: Mapping[str, str], cgroups: Cgroups) -> None:
    before = cgroups.procs_files(cgroups.paths_of(pid))
    try:
        for file in cgroups.procs_files(paths):
            _write(file, pid)
    except OSError as error:
        for file in before:
            try:
                _write(file, pid)
            except OSError:
                continue  # it has ended, or its group has
        cause: TerrariumError = KernelRefused(
            f"The kernel did not move process {pid}: {error.strerror}.",
            hint="A process under a real-time policy, for example, stays.",
        )
        raise cause from None


def _write(file: str, pid: int) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"%d" % pid)
    finally:
        os.close(fd)
