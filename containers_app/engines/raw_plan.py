"""From a sandbox's spec to its launch plan. Pure: reads nothing, makes nothing; the tests look at what comes out."""

from __future__ import annotations

import dataclasses

import msgspec

from ..kernel import binds, identity, joining, overlay, rlimits, rootfs, security
from ..kernel import syscalls as sc
from ..kernel.host_image import HOST_IMAGE
from ..kernel.launching import MAX_REST
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
from ..kernel.shaping import ShapeLink
from ..spec import NAMESPACE_TYPES, ContainerSpec, Security
from .raw_checks import REFERENCES, ids, own_filter

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
JOIN_ORDER = ("net", "ipc", "uts", "cgroup", "time", "pid", "mnt", "user")  # why this order: kernel/joining.py

LOG_FD = 0  # the log is the first descriptor sent with a launch; the namespaces to join follow, then the shared mounts
REST_FD = 1  # of a spare, which has none of these
INIT = "/dev/init"  # where the init program lies inside: a tmpfs of the sandbox's own, so that nothing of the image is needed
SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -l; exec /bin/sh -l")


class Place(msgspec.Struct, frozen=True):
    """Where on this host a sandbox lives: what a plan needs besides the spec."""

    id: str
    run: str
    home: str  # its directory
    image: str  # the image's root file system
    image_env: dict[str, str]
    uid_base: int
    uid_count: int
    cgroup2: str  # its group in the v2 hierarchy, "" where there is none
    tasks: tuple[str, ...]  # the tasks files of its v1 groups
    host_directories: tuple[str, ...] = ()  # bound read-only, for the image that is the host's own files
    attachment: Attachment | None = None
    shape: ShapeLink | None = None  # the link's rates
    init: str = ""  # the init program on the host, for a spec that asks for one


def joined_types(spec: ContainerSpec) -> list[str]:
    """Namespace types that are joined by reference, in the order of joining; their descriptors follow the log's in that order."""
    return [kind for kind in JOIN_ORDER if getattr(spec.namespaces, kind).startswith(REFERENCES)]


def created_types(spec: ContainerSpec) -> tuple[str, ...]:
    return tuple(kind for kind in NAMESPACE_TYPES if getattr(spec.namespaces, kind) in ("private", "bridge", "none"))


def id_lines(spec: ContainerSpec, uid_base: int, count: int) -> tuple[tuple[int, int, int], ...]:
    """Its own user namespace's map: (first inside, first on the host, how many)."""
    if spec.id_map:
        return tuple((line.inside, line.outside, line.count) for line in spec.id_map)
    return ((0, uid_base, count),)


def maps_ids(spec: ContainerSpec) -> bool:
    """Is root inside another user than root outside?"""
    return spec.namespaces.user != "host"


def environment(spec: ContainerSpec, place: Place) -> tuple[str, ...]:
    """NAME=value, each once: our defaults, then the image's, then the spec's."""
    values = {"PATH": DEFAULT_PATH, "HOME": "/root" if spec.user.startswith("0") else "/", "TERM": "xterm-256color"}
    if spec.namespaces.uts == "private":
        values["HOSTNAME"] = hostname(spec)
    values.update(place.image_env)
    values.update(spec.env)
    return tuple(f"{name}={value}" for name, value in values.items())


def hostname(spec: ContainerSpec) -> str:
    return spec.hostname or spec.name.replace("_", "-").strip(".-")[:63] or "sandbox"


def confinement(spec: ContainerSpec) -> security.Confine:
    wanted = spec.security.capabilities
    kept = tuple(sorted(wanted if wanted is not None else security.DEFAULT_CAPABILITIES))
    uid, gid = ids(spec)
    filter_bytes = compile_profile(spec.security.seccomp, kept)
    denied = spec.id_map and identity.WriteIdMaps(id_lines(spec, 0, 0)).denies_setgroups
    return security.Confine(uid, gid, kept, spec.security.no_new_privs, filter_bytes, None if denied else ())


def launch_plan(spec: ContainerSpec, place: Place) -> Plan:
    before = _helper_steps(spec, place)
    cloned = created_types(spec)
    if spec.time_offsets:
        cloned = tuple(kind for kind in cloned if kind != "time")  # made by the helper
    return Plan(
        id=place.id,
        run=place.run,
        kind="sandbox",
        namespaces=cloned,
        cgroup2=place.cgroup2,
        tasks=place.tasks,
        before=tuple(before),
        parent=tuple(_parent_steps(spec, place)),
        link=tuple(_link_steps(place)),
        root=tuple(_prepared_mounts(spec, place)) if spec.namespaces.mnt == "private" else (),
        child=tuple(_child_steps(spec, place)),
        log=f"{place.home}/log",
        exit_record=f"{place.home}/exit.json",
    )


def shape(spec: ContainerSpec) -> ContainerSpec | None:
    """All of a sandbox that is settled before its program is: who has the same can take the same spare (raw_spares.py).

    None for one that is launched in one go: it joins something, or asks for more than the usual.
    """
    security = spec.security
    settled = Security(
        read_only_root=security.read_only_root, masked_paths=security.masked_paths, read_only_paths=security.read_only_paths
    )
    found = ContainerSpec(
        name="", image=spec.image, command=("",), cwd="/", user="0:0", namespaces=spec.namespaces, security=settled
    )
    held_back = {field: getattr(found, field) for field in HELD_BACK}
    if msgspec.structs.replace(spec, security=settled, **held_back) != found:
        return None
    if created_types(spec) != NAMESPACE_TYPES or spec.image == HOST_IMAGE:
        return None
    return found if len(msgspec.json.encode((spec.command, spec.env))) < MAX_REST // 4 else None


# What is known only when a spare is taken: written to its files and groups then, or part of its plan's rest.
HELD_BACK = (
    "name", "command", "env", "cwd", "user", "hostname", "limits", "start", "dns", "extra_hosts", "labels", "restart",
    "stop_signal", "stop_timeout",
)  # fmt: skip


def split(plan: Plan) -> tuple[Plan, tuple[Operation, ...]]:
    """What a spare does before it waits, and the rest: who it is, and its program."""
    at = next(index for index, step in enumerate(plan.child) if isinstance(step, (identity.SetHostname, identity.UseStreams)))
    return dataclasses.replace(plan, child=plan.child[:at], rest=REST_FD), plan.child[at:]


def _viewed_types(spec: ContainerSpec, place: Place) -> list[str]:
    """Joined namespaces that the sandbox's own root shows by a file system made inside them."""
    if spec.namespaces.mnt != "private":
        return []
    shown = [kind for kind in joined_types(spec) if kind in joining.VIEWS]
    return [kind for kind in shown if kind != "cgroup" or place.cgroup2]


def _helper_steps(spec: ContainerSpec, place: Place) -> list[Operation]:
    joins: dict[str, Operation] = {
        kind: joining.JoinNamespace(kind, LOG_FD + 1 + index, getattr(spec.namespaces, kind))
        for index, kind in enumerate(joined_types(spec))
    }
    last = [joins.pop(kind) for kind in ("mnt", "user") if kind in joins]
    steps = [*joins.values(), *(joining.PrepareView(kind) for kind in _viewed_types(spec, place))]
    if spec.time_offsets:
        steps.append(joining.NewTimeNamespace(spec.time_offsets.get("monotonic", 0), spec.time_offsets.get("boottime", 0)))
    return steps + last


def _parent_steps(spec: ContainerSpec, place: Place) -> list[Operation]:
    maps = [identity.WriteIdMaps(id_lines(spec, place.uid_base, place.uid_count))] if "user" in created_types(spec) else []
    return [*maps, *_outer_steps(spec)]


def _prepared_mounts(spec: ContainerSpec, place: Place) -> list[Operation]:
    home = place.home
    steps: list[Operation] = [
        overlay.PrepareOverlay(place.image, f"{home}/upper", f"{home}/work", f"{home}/seat", maps_ids(spec))
    ]
    steps += [binds.PrepareBind(directory, True) for directory in place.host_directories]
    steps += [
        binds.PrepareBind(mount.source, mount.read_only, mount.propagation == "slave")
        for mount in spec.mounts
        if mount.type == "bind" and mount.propagation != "shared"
    ]
    return [*steps, binds.PrepareBind(place.init, True)] if spec.init else steps


def _outer_steps(spec: ContainerSpec) -> list[Operation]:
    """What only the parent may give a process, the first one and every other."""
    steps: list[Operation] = []
    if spec.rlimits:
        steps.append(rlimits.RaiseRlimits(_rlimit_rows(spec)))
    if spec.oom_score_adj:
        steps.append(identity.AdjustOomScore(spec.oom_score_adj))
    return steps


def _inner_steps(spec: ContainerSpec) -> list[Operation]:
    """The last ones before the program."""
    return [*([rlimits.SetRlimits(_rlimit_rows(spec))] if spec.rlimits else []), confinement(spec)]


def _rlimit_rows(spec: ContainerSpec) -> rlimits.Rows:
    return tuple((name, limit.soft, limit.hard) for name, limit in sorted(spec.rlimits.items()))


def _link_steps(place: Place) -> list[Operation]:
    if place.attachment is None:
        return []
    message, offset = link_message(place.attachment)
    attach = identity.AttachLink(message, offset, tuple(describe_link(place.attachment)))
    return [attach, place.shape] if place.shape is not None else [attach]


def _child_steps(spec: ContainerSpec, place: Place) -> list[Operation]:
    created = created_types(spec)
    steps: list[Operation] = []
    if maps_ids(spec):
        steps.append(identity.BecomeRoot())
    if place.attachment is not None and place.attachment.address6 and spec.namespaces.mnt == "private":
        steps.append(identity.QuietIpv6())
    if "cgroup" in created:
        steps.append(identity.NewCgroupNamespace())
    if spec.namespaces.mnt == "private":
        steps += _root_steps(spec, place)
    if place.attachment is not None:  # late, because the parent makes the link meanwhile
        steps.append(
            identity.ConfigureNetwork(tuple(inside_messages(place.attachment)), tuple(describe_inside(place.attachment)))
        )
    elif "net" in created:
        steps.append(identity.ConfigureNetwork(tuple(loopback_messages()), tuple(describe_loopback())))
    command = (INIT, "--", *spec.command) if spec.init else spec.command
    if "uts" in created:
        steps.append(identity.SetHostname(hostname(spec)))
    steps += [identity.UseStreams(LOG_FD, True), *_inner_steps(spec)]
    return [*steps, security.RunProgram(command, environment(spec, place), spec.cwd, own_filter(spec))]


def _root_steps(spec: ContainerSpec, place: Place) -> list[Operation]:
    """The sandbox's own root. Each namespace is shown by the file system made in it, be it created, joined or the host's."""
    created, viewed = created_types(spec), _viewed_types(spec, place)
    steps: list[Operation] = [rootfs.EnterRoot()]
    steps += [binds.AttachBind(directory, directory) for directory in place.host_directories]
    shared = LOG_FD + 1 + len(joined_types(spec))
    for mount in spec.mounts:
        if mount.type == "tmpfs":
            steps.append(rootfs.MountTmpfs(mount.target, mount.size))
        elif mount.propagation == "shared":
            steps.append(binds.AttachShared(mount.source, mount.target, shared))
            shared += 1
        else:
            steps.append(binds.AttachBind(mount.source, mount.target))
    # Ours on top of the user's: an image's symbolic link can't bring a mount into /proc (CVE-2019-19921).
    steps.append(joining.AttachView("pid") if "pid" in viewed else rootfs.MountProc("pid" in created))
    steps.append(joining.AttachView("net") if "net" in viewed else rootfs.MountSys("net" in created))
    if "cgroup" in viewed:
        steps.append(joining.AttachView("cgroup"))
    elif place.cgroup2 and "cgroup" in created:
        steps.append(rootfs.MountCgroup(place.cgroup2))
    steps.append(rootfs.MountDev("ipc" in created))
    if "ipc" in viewed:
        steps.append(joining.AttachView("ipc"))
    if spec.init:
        steps.append(binds.AttachBind(place.init, INIT, links=False))
    steps.append(rootfs.HidePaths((*security.MASKED_PATHS, *spec.security.masked_paths)))
    steps.append(rootfs.ProtectPaths(security.READ_ONLY_PATHS))
    if spec.security.read_only_paths:
        steps.append(rootfs.ProtectPaths(spec.security.read_only_paths, kernels=False))
    if spec.security.read_only_root:
        steps.append(rootfs.ProtectRoot())
    return [*steps, rootfs.Pivot()]


def exec_plan(spec: ContainerSpec, place: Place, argv: tuple[str, ...], join_flags: int, streams: Operation) -> Plan:
    """Another program in a running sandbox: descriptor 0 is its first process's pidfd, streams follow.

    One that does not join its mount namespace runs from the host's files, and can change none.
    """
    outside = spec.namespaces.mnt != "host" and not join_flags & sc.CLONE_NEWNS
    seal: tuple[Operation, ...] = (joining.SealFiles(),) if outside else ()
    cwd = "/" if outside else spec.cwd
    become_root: tuple[Operation, ...] = (identity.BecomeRoot(),) if maps_ids(spec) else ()
    program = security.RunProgram(argv, environment(spec, place), cwd, own_filter(spec))
    return Plan(
        id=place.id,
        run=place.run,
        kind="exec",
        joins=((0, join_flags),),
        cgroup2=place.cgroup2,
        tasks=place.tasks,
        parent=tuple(_outer_steps(spec)),
        child=(*become_root, *seal, streams, *_inner_steps(spec), program),
    )
