"""The forked side of a launch: what a new process does until it is the program. Standard library only.

The conversation with the keeper is drawn in plan.py. Nothing is imported here after the fork, and no traceback is ever
formatted: behind the pivot, a module would be loaded from the sandbox's own files.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from typing import Any, NoReturn

from . import plan as plans
from . import syscalls as sc
from .identity import receive_fds
from .operation import Operation, Stage

MAX_FDS = 16
MAX_MOUNTS = 253  # that the keeper sends along; more go into no message (SCM_MAX_FD, unix(7))
MAX_REST = 1 << 17  # bytes; no more than a socket takes at once
CLONE_PARENT = 0x8000


def flags(plan: plans.Plan) -> int:
    found = 0
    for kind in plan.namespaces:
        if kind != "cgroup":  # made by the child, once it stands in its cgroup
            found |= sc.CLONE_FLAGS[kind]
    return found


def error_of(step: str, error: OSError) -> dict[str, Any]:
    return {"step": step, "errno": error.errno or 0, "text": str(error)}


def _begin(status: socket.socket, stage: Stage) -> None:
    """The first that every forked process does, still as the host's root.

    What it has of the keeper's is closed: neither it nor the worker may miss the keeper's end because of it.
    """
    signal.set_wakeup_fd(-1)
    os.umask(0o022)  # the keeper's is stricter; what is made from here on is the sandbox's
    for tasks in stage.tasks:
        os.write(tasks, b"0")  # the writer itself
    first = 3
    for kept in sorted((status.fileno(), *stage.fds, *stage.views.values())):
        if first < kept:
            sc.close_range(first, kept - 1)
        first = kept + 1
    sc.close_range(first)


def run_helper(plan: plans.Plan, status: socket.socket, stage: Stage) -> NoReturn:
    """Do ``before`` and join existing namespaces in a process of its own, then fork the child as the keeper's. Never returns.

    A pid namespace is joined by one's children only, hence the second fork; CLONE_PARENT makes it the keeper's child.
    """
    step_name = "JoinCgroups"
    try:
        _begin(status, stage)
        for step in plan.before:
            step_name = type(step).__name__
            step.execute(stage)
        step_name = "setns"
        for index, kinds in plan.joins:
            sc.setns(stage.fds[index], kinds)
        stage.tasks, step_name = (), "clone3"  # the child is born where its helper stands
        pid, pidfd = sc.clone3(flags(plan) | CLONE_PARENT, exit_signal=0)
        if pid == 0:
            run_child(plan, status, stage)
        socket.send_fds(status, [json.dumps({"pid": pid}).encode()], [pidfd])
    except OSError as error:
        status.send(json.dumps({"error": error_of(step_name, error)}).encode())
    finally:
        os._exit(0)


def _rest(plan: plans.Plan, stage: Stage) -> tuple[Operation, ...]:
    """Say that we wait for what the worker holds back. The end of file is the worker's, which has died or wants us no more.

    With the steps it does not say yet that the program may run: meanwhile it writes limits, files and record.
    """
    if plan.rest < 0:
        return ()
    processors = os.sched_getaffinity(0)
    os.write(stage.fds[plan.rest], b"ready")
    told = os.read(stage.fds[plan.rest], MAX_REST)
    if not told:
        os._exit(125)
    with contextlib.suppress(OSError):  # the worker has chosen where we wake; its cpuset may have none of these by now
        os.sched_setaffinity(0, processors)
    return plans.decode_steps(json.loads(told))


def run_child(plan: plans.Plan, status: socket.socket, stage: Stage) -> NoReturn:
    """The child's part: wait for the parent's, carry out the steps, become the program. Never returns."""
    step_name = "JoinCgroups"
    try:
        _begin(status, stage)
        step_name = "setns"
        if not plan.needs_helper:
            for index, kinds in plan.joins:
                sc.setns(stage.fds[index], kinds)

        heard: dict[bytes, list[int]] = {}

        def wait_for(word: bytes) -> list[int]:
            """The keeper says "link" and "root" in the order in which it gets there."""
            while word not in heard:
                told, fds = receive_fds(status, 16, MAX_MOUNTS)
                if not told:
                    os._exit(125)  # the keeper is gone
                heard[told] = fds
            return heard[word]

        if plan.parent:
            wait_for(b"go")

        def let_go() -> None:
            """Of mounts that came along and have no place here, while nobody waits for us."""
            while stage.mounts:
                os.close(stage.mounts.pop())

        def await_link() -> None:
            let_go()
            if plan.link:
                wait_for(b"link")

        def await_root() -> None:
            nonlocal step_name
            for step in plan.child:
                step_name = type(step).__name__
                step.make_ready(stage)
            stage.mounts = wait_for(b"root")

        def about_to_run() -> None:
            if plan.rest >= 0 and not os.read(stage.fds[plan.rest], 16):
                os._exit(125)  # the worker wants us no more
            terminal = [stage.terminal] if stage.terminal >= 0 else []
            socket.send_fds(status, [b"{}"], terminal)
            # Whatever is still open and not meant for the program closes as it starts (CVE-2024-21626).
            sc.close_range(3, flags=sc.CLOSE_RANGE_CLOEXEC)

        stage.await_link, stage.await_root, stage.about_to_run = await_link, await_root, about_to_run
        for step in plan.child:
            step_name = type(step).__name__
            step.execute(stage)
        let_go()
        for step in _rest(plan, stage):
            step_name = type(step).__name__
            step.execute(stage)
    except OSError as error:
        status.send(json.dumps({"error": error_of(step_name, error)}).encode())
    except Exception as error:
        status.send(json.dumps({"error": {"step": step_name, "errno": 0, "text": repr(error)}}).encode())
    finally:
        os._exit(125)
