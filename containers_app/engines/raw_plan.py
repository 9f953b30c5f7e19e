"""From a sandbox's spec to its launch plan. Pure: reads nothing, makes nothing; the tests look at what comes out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..errors import Unsupported
from ..kernel import identity, rootfs, security
from ..kernel import syscalls as sc
from ..kernel.network import (
    Attachment,
    describe_inside,
    describe_link,
    describe_loopback,
    inside_messages,
    link_message,
    loopback_messages,
)
from ..kernel.operation import Operation
from ..kernel.plan import Plan
from ..kernel.seccomp import compile_profile
from ..spec import NAMESPACE_TYPES, ContainerSpec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
JOINABLE = ("net", "ipc", "uts", "time")

LOG_FD = 0  # the log is the first descriptor sent with a launch; the namespaces to join follow
SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -l; exec /bin/sh -l")


class Place(msgspec.Struct, frozen=True):
    """Where on this host a sandbox lives: what a plan needs besides the spec."""

    id: str
    run: str
    home: str  # its directory
    image: str  # the image's root file system
    image_command: tuple[str, ...]
    image_env: dict[str, str]
    uid_base: int
    uid_count: int
    cgroup2: str  # its group in the v2 hierarchy, "" where there is none
    tasks: tuple[str, ...]  # the tasks files of its v1 groups
    attachment: Attachment | None = None


def check_possible(spec: ContainerSpec) -> None:
    """Combinations that a raw sandbox can't have, each with its cause."""
    for kind, mode in spec.namespaces.items():
        if mode.startswith(("container:", "path:")) and kind not in JOINABLE:
            raise Unsupported(
                f"A sandbox can't join another {kind} namespace.", hint="It can join net, ipc, uts and time namespaces."
            )
    if spec.namespaces.mnt == "host":
        raise Unsupported("A sandbox has a mount namespace of its own.", hint='Leave "mnt" private; "image" says what it sees.')
    unknown = [name for name in spec.security.capabilities or () if name not in security.CAPABILITIES]
    if unknown:
        raise Unsupported(f"There is no capability called {unknown[0]}.", hint="See capabilities(7).")


def joined_types(spec: ContainerSpec) -> list[str]:
    """Namespace types that are joined by reference, in the order in which their descriptors follow the log's."""
    return [kind for kind in JOINABLE if getattr(spec.namespaces, kind).startswith(("container:", "path:"))]


def created_types(spec: ContainerSpec) -> tuple[str, ...]:
    return tuple(kind for kind in NAMESPACE_TYPES if getattr(spec.namespaces, kind) in ("private", "bridge", "none"))


def environment(spec: ContainerSpec, place: Place) -> tuple[str, ...]:
    """NAME=value, each once: our defaults, then the image's, then the spec's."""
    values = {"PATH": DEFAULT_PATH, "HOME": "/root" if spec.user.startswith("0") else "/", "TERM": "xterm-256color"}
    values["HOSTNAME"] = hostname(spec)
    values.update(place.image_env)
    values.update(spec.env)
    return tuple(f"{name}={value}" for name, value in values.items())


def hostname(spec: ContainerSpec) -> str:
    return spec.hostname or spec.name.replace("_", "-").strip(".-")[:63] or "sandbox"


def ids(spec: ContainerSpec) -> tuple[int, int]:
    """("1000", "1000:1000") → uid and gid inside; the gid is the uid's where only one is given."""
    uid, _, gid = spec.user.partition(":")
    return int(uid), int(gid or uid)


def confinement(spec: ContainerSpec) -> security.Confine:
    wanted = spec.security.capabilities
    kept = tuple(sorted(wanted if wanted is not None else security.DEFAULT_CAPABILITIES))
    uid, gid = ids(spec)
    filter_bytes = compile_profile(spec.security.seccomp, kept)
    return security.Confine(uid, gid, kept, spec.security.no_new_privs, filter_bytes)


def launch_plan(spec: ContainerSpec, place: Place) -> Plan:
    created = created_types(spec)
    joined = joined_types(spec)
    return Plan(
        id=place.id,
        run=place.run,
        kind="sandbox",
        namespaces=created,
        joins=tuple((LOG_FD + 1 + index, sc.CLONE_FLAGS[kind]) for index, kind in enumerate(joined)),
        cgroup2=place.cgroup2,
        tasks=place.tasks,
        parent=tuple(_parent_steps(spec, place, created)),
        link=tuple(_link_steps(place)),
        child=tuple(_child_steps(spec, place, created)),
        log=f"{place.home}/log",
        exit_record=f"{place.home}/exit.json",
    )


def _parent_steps(spec: ContainerSpec, place: Place, created: Sequence[str]) -> list[Operation]:
    steps: list[Operation] = []
    mapped = "user" in created
    if mapped:
        steps.append(identity.WriteIdMaps(place.uid_base, place.uid_count))
    home = place.home
    steps.append(
        rootfs.PrepareOverlay(place.image, f"{home}/upper", f"{home}/work", f"{home}/seat", mapped, spec.security.read_only_root)
    )
    steps += [rootfs.PrepareBind(mount.source, mount.read_only) for mount in spec.mounts if mount.type == "bind"]
    return steps


def _link_steps(place: Place) -> list[Operation]:
    if place.attachment is None:
        return []
    message, offset = link_message(place.attachment)
    return [identity.AttachLink(message, offset, tuple(describe_link(place.attachment)))]


def _child_steps(spec: ContainerSpec, place: Place, created: Sequence[str]) -> list[Operation]:
    steps: list[Operation] = []
    if "user" in created:
        steps.append(identity.BecomeRoot())
    if "uts" in created:
        steps.append(identity.SetHostname(hostname(spec)))
    if "cgroup" in created:
        steps.append(identity.NewCgroupNamespace())
    steps += [rootfs.EnterRoot(), rootfs.MountProc("pid" in created), rootfs.MountSys("net" in created)]
    if place.cgroup2 and "cgroup" in created:
        steps.append(rootfs.MountCgroup())
    steps.append(rootfs.MountDev("ipc" in created))
    for mount in spec.mounts:
        if mount.type == "tmpfs":
            steps.append(rootfs.MountTmpfs(mount.target, mount.size))
        else:
            steps.append(rootfs.AttachBind(mount.source, mount.target))
    steps += [rootfs.HidePaths(security.MASKED_PATHS), rootfs.ProtectPaths(security.READ_ONLY_PATHS), rootfs.Pivot()]
    if place.attachment is not None:  # late, because the parent makes the link meanwhile
        steps.append(
            identity.ConfigureNetwork(tuple(inside_messages(place.attachment)), tuple(describe_inside(place.attachment)))
        )
    elif "net" in created:
        steps.append(identity.ConfigureNetwork(tuple(loopback_messages()), tuple(describe_loopback())))
    steps += [identity.UseStreams(LOG_FD, True), confinement(spec)]
    steps.append(security.RunProgram(spec.command or place.image_command, environment(spec, place), spec.cwd))
    return steps


def exec_plan(spec: ContainerSpec, place: Place, argv: tuple[str, ...], join_flags: int, streams: Operation) -> Plan:
    """Another program in a running sandbox: descriptor 0 is its first process's pidfd, streams follow."""
    become_root: tuple[Operation, ...] = (identity.BecomeRoot(),) if "user" in created_types(spec) else ()
    return Plan(
        id=place.id,
        run=place.run,
        kind="exec",
        joins=((0, join_flags),),
        cgroup2=place.cgroup2,
        tasks=place.tasks,
        child=(*become_root, streams, confinement(spec), security.RunProgram(argv, environment(spec, place), spec.cwd)),
    )
