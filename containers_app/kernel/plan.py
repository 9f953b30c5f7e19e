"""The launch plan: what the worker asks of the keeper, as a list of operations. Standard library only.

The same objects make the sandbox (``execute``), print "show the commands" (``describe``) and are what tests look at.

    worker                    keeper                       forker                            child
    plan + fds ──SEQPACKET──▶ plan + fds, status ─────────▶ clone3(namespaces, cgroup2) ────▶ cgroups, setns(joins), waits
                              ◀── pid, pidfd ─────────────
                                                           or, if needed, a helper of its own:
                                                           cgroups, before: operations,
                              ◀── pid, pidfd; ends ───────  setns(joins), clone3(PARENT) ───▶ waits
                              parent: operations, "go" ───────────────────────────────────▶ child: operations
                              link: operations, "link" ───────────────────────────────────▶ … that wait for it
    files, "go" ────────────▶ root: operations, "root" + prepared mounts ─────────────────▶ … that wait for it
    further steps, if held back ────────────────────────────────────────────────────────────▶ child: operations
    "go", if so ────────────────────────────────────────────────────────────────────────────▶ … the last of which waits for it
                              ◀──────────────────────────────────────────── terminal's fd, "run" or an error
    ◀── pid, pidfd, terminal  ◀──────────────────────────────────────────── end of file: the program runs
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable
from typing import Any

from . import binds, identity, joining, overlay, rlimits, rootfs, security, shaping, target
from .operation import Operation

OPERATIONS: dict[str, type[Operation]] = {
    kind.__name__: kind
    for kind in (
        identity.WriteIdMaps, identity.AdjustOomScore, identity.AttachLink, identity.BecomeRoot,
        identity.TakeRlimits,
        identity.SetHostname, identity.NewCgroupNamespace, identity.QuietIpv6, identity.ConfigureNetwork, identity.OpenTerminal,
        identity.UseStreams, overlay.PrepareOverlay, binds.PrepareBind, rootfs.EnterRoot, rootfs.MountProc, rootfs.MountSys,
        rootfs.MountCgroup, rootfs.MountDev, rootfs.MountTmpfs, binds.AttachBind, rootfs.HidePaths, rootfs.ProtectPaths,
        rootfs.ProtectRoot, rootfs.Pivot, joining.JoinNamespace, joining.PrepareView, joining.AttachView,
        joining.NewTimeNamespace, joining.SealFiles,
        target.PrepareTarget, target.AttachTarget, shaping.ShapeLink,
        rlimits.RaiseRlimits, rlimits.SetRlimits, binds.AttachShared, security.Confine, security.RunProgram,
    )
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """``namespaces`` are the types to create. ``joins`` are (index into the message's fds, CLONE_NEW flags).

    ``cgroup2`` is the v2 group that the process is born in. The ``tasks`` files of v1 groups it writes itself, first of
    all: a task may move itself at once, while to move another one the kernel waits for every fork and exit on the host.
    """

    id: str  # the sandbox
    run: str  # this launch, unique; an exit record carries it
    kind: str  # "sandbox" | "exec"
    namespaces: tuple[str, ...] = ()
    joins: tuple[tuple[int, int], ...] = ()
    cgroup2: str = ""
    tasks: tuple[str, ...] = ()
    before: tuple[Operation, ...] = ()
    parent: tuple[Operation, ...] = ()
    link: tuple[Operation, ...] = ()  # the parent's too, carried out while the child goes on
    root: tuple[Operation, ...] = ()  # and these when the worker says that the sandbox's files are there, if there are any
    child: tuple[Operation, ...] = ()
    rest: int = -1  # index into the message's fds of a socket: from there the child hears its further steps, whenever they come
    log: str = ""  # path of the sandbox's log; the keeper bounds it
    exit_record: str = ""  # path where the keeper writes how it ended

    @property
    def needs_helper(self) -> bool:
        """Who makes namespaces out of joined ones must join in a process before. A program only joins: it does so itself."""
        return bool(self.before or (self.joins and self.namespaces))

    def describe(self) -> list[str]:
        """The shell commands that do what this plan does, in order, as a person would type them."""
        lines = ["# a shell in the new namespaces, which waits; its host pid is $PID"]
        lines += [line for step in self.before for line in step.describe()]
        flags = [_UNSHARE[kind] for kind in self.namespaces if kind != "cgroup"]
        lines.append(f"unshare --fork {' '.join(flags)} sh & PID=$(pgrep -n -P $!)")
        groups = [f"{self.cgroup2}/cgroup.procs"] if self.cgroup2 else []
        lines += [f"echo $PID > {path}" for path in (*groups, *self.tasks)]
        lines += [line for step in (*self.parent, *self.link, *self.root) for line in step.describe()]
        lines.append("# in that shell, where $ROOT is a fresh directory:")
        return lines + [line for step in self.child for line in step.describe()]


_UNSHARE = {"mnt": "--mount", "uts": "--uts", "ipc": "--ipc", "pid": "--pid", "net": "--net", "user": "--user", "time": "--time"}


_PARTS = ("before", "parent", "link", "root", "child")
KEEPERS = ("parent", "link", "root")


def encode(plan: Plan) -> dict[str, Any]:
    """A plan → plain JSON values. Bytes become {"b64": …}."""
    fields = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    for part in _PARTS:
        fields[part] = encode_steps(fields[part])
    return fields


def encode_steps(steps: Iterable[Operation]) -> list[list[Any]]:
    return [_encode_step(step) for step in steps]


def _encode_step(step: Operation) -> list[Any]:
    return [type(step).__name__, *(_plain(getattr(step, name)) for name in _fields(type(step)))]


def _fields(kind: type[Operation]) -> tuple[str, ...]:
    return tuple(getattr(kind, "__dataclass_fields__"))  # noqa: B009  mypy knows no dataclass here


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    return value


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    if isinstance(value, list):
        return tuple(_value(part) for part in value)
    return value


def decode(fields: dict[str, Any], parts: tuple[str, ...] = _PARTS) -> Plan:
    """The other way, with the steps of ``parts`` alone. One that isn't registered is a KeyError, and nothing of the plan runs."""
    values = dict(fields)
    for part in _PARTS:
        values[part] = decode_steps(values[part]) if part in parts else ()
    values["joins"] = tuple((index, flags) for index, flags in values["joins"])
    values["namespaces"], values["tasks"] = tuple(values["namespaces"]), tuple(values["tasks"])
    return Plan(**values)


def decode_steps(steps: list[list[Any]]) -> tuple[Operation, ...]:
    return tuple(OPERATIONS[name](*map(_value, step)) for name, *step in steps)
