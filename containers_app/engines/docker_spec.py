"""A spec → the body of Docker's POST /containers/create. What `docker run` makes of the same words is in docker_command.py.

Where Docker has no word for what is asked, that is Unsupported, not a guess. Source of the fields: Docker Engine API 1.41,
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from typing import Any

from ..errors import InvalidInput, Unsupported
from ..spec import ContainerSpec, Health, Mount, Namespaces, Port
from . import docker_limits

OWN_LABELS = "terrarium."
OWNER_LABEL = OWN_LABELS + "owner"
NANOSECONDS = 10**9
Resolve = Callable[[str], str]  # a container's name, id or prefix → its full id; NotFound
_RAW_HINT = "Use a raw sandbox for that."


def create_body(spec: ContainerSpec, owner: str, cpus: int, resolve: Resolve) -> dict[str, Any]:
    """What `docker run` would send. Unsupported says which part Docker can't do.

    The spec's defaults leave Docker's in force, as `docker run` does: the image's cwd and user (""), the daemon's user
    namespace ("private") and, as Docker has no others, the host's time namespace ("private"). The container then tells the truth.
    """
    _must_have_words(spec)
    usual = ContainerSpec(name=spec.name)
    host: dict[str, Any] = {
        **docker_limits.record(spec.limits, dict(spec.limits), {}, cpus),
        **_namespaces(spec.namespaces, resolve),
        "ReadonlyRootfs": spec.security.read_only_root,
        "RestartPolicy": {"Name": spec.restart.policy, "MaximumRetryCount": spec.restart.retries},
        "OomScoreAdj": spec.oom_score_adj,
        "PortBindings": _bindings(spec.ports),
        "Dns": list(spec.dns),
        "SecurityOpt": _security_options(spec) or None,
        "Mounts": [_mount(mount) for mount in spec.mounts] or None,
        "ExtraHosts": [f"{name}:{address}" for name, address in spec.extra_hosts.items()] or None,
        "Ulimits": [{"Name": name, "Soft": one.soft, "Hard": one.hard} for name, one in sorted(spec.rlimits.items())] or None,
        "Init": spec.init or None,
    }
    if spec.network:
        host["NetworkMode"] = spec.network
    if spec.security.capabilities is not None:
        host["CapDrop"] = ["ALL"]
        host["CapAdd"] = sorted(spec.security.capabilities)
    body: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(spec.command) or None,
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "Labels": {**spec.labels, **({OWNER_LABEL: owner} if owner else {})},
        "ExposedPorts": {_port(port): {} for port in spec.ports} or None,
        "Healthcheck": _health(spec.health) if spec.health else None,
        "HostConfig": {name: value for name, value in host.items() if value is not None},
    }
    if spec.stop_signal != usual.stop_signal:
        body["StopSignal"] = spec.stop_signal
    if spec.stop_timeout != usual.stop_timeout:
        body["StopTimeout"] = int(spec.stop_timeout)
    if spec.cwd != usual.cwd:
        body["WorkingDir"] = spec.cwd
    if spec.user != usual.user:
        body["User"] = spec.user
    if spec.hostname:
        body["Hostname"] = spec.hostname
    return {name: value for name, value in body.items() if value is not None}


def _must_have_words(spec: ContainerSpec) -> None:
    if spec.security.seccomp_profile or spec.security.masked_paths or spec.security.read_only_paths:
        raise Unsupported("Seccomp profiles and covered paths of one's own can't be asked of Docker here.", hint=_RAW_HINT)
    if spec.time_offsets:
        raise Unsupported("Docker has no time namespaces, and so can't move clocks.", hint=_RAW_HINT)
    if spec.id_map:
        raise Unsupported("Docker maps ids for its whole daemon (userns-remap), not for one container.", hint=_RAW_HINT)
    if "as" in spec.rlimits:
        raise Unsupported("Docker knows no resource limit “as”.", hint="Limit its memory instead, or use a raw sandbox.")
    if spec.stop_timeout != int(spec.stop_timeout):
        raise Unsupported("Docker takes whole seconds for stop_timeout.", hint=f"Write {math.ceil(spec.stop_timeout)}.")
    if own := next((key for key in spec.labels if key.startswith(OWN_LABELS)), None):
        raise InvalidInput(f"The label {own} is the panel's own.", hint=f"Choose one that does not begin with {OWN_LABELS}")


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
    """Docker's own default is "rprivate", which is the panel's "private"; it knows propagation for binds only."""
    found: dict[str, Any] = {"Type": mount.type, "Target": mount.target}
    if mount.read_only:
        found["ReadOnly"] = True
    if mount.type != "tmpfs":
        found["Source"] = mount.source
    else:  # Docker's own default is the same mode, Podman's is 0
        found["TmpfsOptions"] = {"Mode": 0o1777} | ({"SizeBytes": mount.size} if mount.size else {})
    if mount.propagation != "private":
        if mount.type != "bind":
            raise Unsupported(f"Docker propagates mounts below binds only, not below {mount.target}.", hint="Leave it private.")
        found["BindOptions"] = {"Propagation": "r" + mount.propagation}
    return found


def _port(port: Port) -> str:
    return f"{port.container_port}/{port.protocol}"


def _bindings(ports: tuple[Port, ...]) -> dict[str, list[dict[str, str]]]:
    """The host's port "": Docker chooses a free one at each start."""
    found: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        binding = {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
        found.setdefault(_port(port), []).append(binding)
    return found


def _health(health: Health) -> dict[str, Any]:
    """As a shell command: `docker run --health-cmd` knows no other form. Times are nanoseconds."""
    times = {"Interval": health.interval, "Timeout": health.timeout, "StartPeriod": health.start_period}
    return {"Test": ["CMD-SHELL", shlex.join(health.test)], "Retries": health.retries} | {
        name: round(seconds * NANOSECONDS) for name, seconds in times.items() if seconds
    }


def _security_options(spec: ContainerSpec) -> list[str]:
    options = ["no-new-privileges"] if spec.security.no_new_privs else []
    return options + (["seccomp=unconfined"] if spec.security.seccomp == "off" else [])
