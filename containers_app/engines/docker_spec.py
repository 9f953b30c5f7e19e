"""A spec → the body of Docker's POST /containers/create, and such a body → the `docker run` that does the same.

Where Docker has no word for what is asked, that is Unsupported, not a guess. Source of the fields: Docker Engine API 1.41,
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Unsupported
from ..spec import ContainerSpec, Mount, Namespaces
from . import docker_limits

OWNER_LABEL = "terrarium.owner"
Resolve = Callable[[str], str]  # a container's name, id or prefix → its full id; NotFound
_RAW_HINT = "Use a raw sandbox for that."


def create_body(spec: ContainerSpec, owner: str, cpus: int, resolve: Resolve) -> dict[str, Any]:
    """What `docker run` would send. Unsupported says which part Docker can't do.

    The spec's defaults leave Docker's in force, as `docker run` does: the image's cwd ("/") and user ("0:0"), the daemon's user
    namespace ("private") and, as Docker has no others, the host's time namespace ("private"). The container then tells the truth.
    """
    _must_have_words(spec)
    host: dict[str, Any] = {
        **docker_limits.record(spec.limits, dict(spec.limits), {}, cpus),
        **_namespaces(spec.namespaces, resolve),
        "Mounts": [_mount(mount) for mount in spec.mounts],
        "ReadonlyRootfs": spec.security.read_only_root,
        "SecurityOpt": _security_options(spec),
    }
    if spec.security.capabilities is not None:
        host["CapDrop"] = ["ALL"]
        host["CapAdd"] = [name.removeprefix("CAP_") for name in spec.security.capabilities]
    body: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(spec.command) or None,
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "Labels": {OWNER_LABEL: owner} if owner else {},
        "HostConfig": host,
    }
    if spec.cwd != "/":
        body["WorkingDir"] = spec.cwd
    if spec.user != "0:0":
        body["User"] = spec.user
    if spec.hostname:
        body["Hostname"] = spec.hostname
    return {name: value for name, value in body.items() if value is not None}


NOT_BUILT = (
    "rlimits", "oom_score_adj", "init", "restart", "stop_signal", "stop_timeout", "network", "ports", "dns", "extra_hosts",
    "id_map", "health", "labels",
)  # fmt: skip


def _must_have_words(spec: ContainerSpec) -> None:
    usual = ContainerSpec(name=spec.name)
    for field in NOT_BUILT:
        if getattr(spec, field) != getattr(usual, field):
            raise Unsupported(f"{field} can't be asked of Docker here yet.", hint=f"Leave {field} out.")
    if spec.security.seccomp_profile or spec.security.masked_paths or spec.security.read_only_paths:
        raise Unsupported("Seccomp profiles and covered paths of one's own can't be asked of Docker here.", hint=_RAW_HINT)
    if spec.group:
        raise Unsupported("Docker's containers can't be in a group of the panel.", hint=_RAW_HINT)
    if spec.time_offsets:
        raise Unsupported("Docker has no time namespaces, and so can't move clocks.", hint=_RAW_HINT)


def _namespaces(asked: Namespaces, resolve: Resolve) -> dict[str, str]:
    for kind, mode in asked.items():
        if mode.startswith("path:"):
            raise Unsupported(f"Docker can't join a {kind} namespace by its path.", hint=_RAW_HINT)
        if mode.startswith("container:") and kind not in ("pid", "net", "ipc"):
            raise Unsupported(f"Docker can't share the {kind} namespace of another container.", hint=_RAW_HINT)
    if asked.mnt != "private":
        raise Unsupported("Docker always makes a mount namespace of its own.", hint=_RAW_HINT)
    found = {"NetworkMode": _shared(asked.net, resolve), "IpcMode": _shared(asked.ipc, resolve)}
    if asked.ipc == "private":
        found["IpcMode"] = "shareable"  # its own, and another container may join it, as it may any other namespace
    if asked.net == "private":
        found["NetworkMode"] = "none"  # a network namespace with nothing but lo
    if asked.pid != "private":
        found["PidMode"] = _shared(asked.pid, resolve)
    for field, mode in (("UTSMode", asked.uts), ("UsernsMode", asked.user)):
        if mode == "host":
            found[field] = "host"
    return found | {"CgroupnsMode": asked.cgroup}


def _shared(mode: str, resolve: Resolve) -> str:
    prefix, _, target = mode.partition(":")
    return f"container:{resolve(target)}" if prefix == "container" else mode


def _mount(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": mount.type, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.type == "bind":
        found["Source"] = mount.source
    elif mount.size:
        found["TmpfsOptions"] = {"SizeBytes": mount.size}
    return found


def _security_options(spec: ContainerSpec) -> list[str]:
    options = ["no-new-privileges"] if spec.security.no_new_privs else []
    return options + (["seccomp=unconfined"] if spec.security.seccomp == "off" else [])


_FLAGS = (
    ("NetworkMode", "--network"), ("PidMode", "--pid"), ("IpcMode", "--ipc"), ("UTSMode", "--uts"), ("UsernsMode", "--userns"),
    ("CgroupnsMode", "--cgroupns"), ("CpuShares", "--cpu-shares"), ("CpuQuota", "--cpu-quota"), ("CpuPeriod", "--cpu-period"),
    ("CpusetCpus", "--cpuset-cpus"), ("Memory", "--memory"), ("MemoryReservation", "--memory-reservation"),
    ("MemorySwap", "--memory-swap"), ("PidsLimit", "--pids-limit"),
)  # fmt: skip


def run_command(name: str, config: Mapping[str, Any], host: Mapping[str, Any], start: bool = True) -> str:
    """``config`` and ``host``: the Config and HostConfig of a body or of an inspected container."""
    words = ["docker", "run", "-d"] if start else ["docker", "create"]
    words += ["--name", name]
    if host.get("NanoCpus"):
        words += ["--cpus", f"{host['NanoCpus'] / 1e9:g}"]
    for field, flag in _FLAGS:
        value = host.get(field)
        if value and value not in ("default", docker_limits.UNLIMITED):
            words += [flag, str(value)]
    for flag, values in (
        ("--cap-drop", host.get("CapDrop")),
        ("--cap-add", host.get("CapAdd")),
        ("--security-opt", host.get("SecurityOpt")),
        ("--volume", host.get("Binds")),
        ("--mount", [_mount_words(mount) for mount in host.get("Mounts") or ()]),
        ("--env", config.get("Env")),
        ("--label", [f"{key}={value}" for key, value in (config.get("Labels") or {}).items()]),
    ):
        for value in values or ():
            words += [flag, str(value)]
    for flag, field in (("--user", "User"), ("--workdir", "WorkingDir"), ("--hostname", "Hostname")):
        if config.get(field):
            words += [flag, str(config[field])]
    for flag, set_ in (
        ("--read-only", host.get("ReadonlyRootfs")),
        ("--privileged", host.get("Privileged")),
        ("-t", config.get("Tty")),
    ):
        words += [flag] if set_ else []
    entrypoint = list(config.get("Entrypoint") or ())
    words += ["--entrypoint", str(entrypoint[0])] if entrypoint else []
    return shlex.join([*words, str(config.get("Image", "")), *map(str, entrypoint[1:]), *map(str, config.get("Cmd") or ())])


def _mount_words(mount: Mapping[str, Any]) -> str:
    words = [f"type={mount.get('Type')}"]
    words += [f"source={mount['Source']}"] if mount.get("Source") else []
    words += [f"target={mount.get('Target')}"] + (["readonly"] if mount.get("ReadOnly") else [])
    size = (mount.get("TmpfsOptions") or {}).get("SizeBytes")
    return ",".join(words + ([f"tmpfs-size={size}"] if size else []))
