"""How a Docker container reads from above: what the API's inspect says and the kernel's own word → ``base.Container``.

Inspect answers are foreign: every field may be absent or null. What an image or a user wrote there has no bound, and a
container is in every list and frame, so its texts are cut: MOST_TEXT characters each, MOST_WORDS bytes of labels and of command.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from ..errors import NotFound
from ..kernel import confinement, namespaces
from ..kernel.cgroups import Cgroups
from ..spec import MAX_LABELS, NAMESPACE_TYPES, Port
from . import docker_limits
from .base import Container, NamespaceView
from .docker_place import Place, first_pid
from .docker_spec import OWNER_LABEL
from .limit_readings import readings

MOST_TEXT = 4096  # characters
MOST_WORDS = MAX_LABELS  # bytes: what a sandbox may have
_STATES = {"created": "created", "running": "running", "paused": "paused"}  # restarting, removing, exited, dead: exited


@dataclass(frozen=True)
class Seen:
    """One look at a container. ``asked`` are the limits as last asked for; ``host`` is Docker's record (HostConfig)."""

    container: Container
    config: Mapping[str, Any]
    host: Mapping[str, Any]
    asked: docker_limits.Values


def started_at(inspected: Mapping[str, Any]) -> float | None:
    return _seconds((inspected.get("State") or {}).get("StartedAt"))


def view(
    inspected: Mapping[str, Any], place: Place, engine: str, node: str, cgroups: Cgroups, asked: docker_limits.Values,
    rates: docker_limits.Values, locked: Mapping[str, str],
) -> Seen:  # fmt: skip
    """Reads the cgroup files of its first process: a fraction of a millisecond.

    ``rates`` and ``locked`` are of its links, see limit_readings.py.
    """
    state, config, host = (inspected.get(name) or {} for name in ("State", "Config", "HostConfig"))
    status = _STATES.get(str(state.get("Status")), "exited")
    paths: Mapping[str, str] = place.cgroups
    try:
        limits = docker_limits.as_put(readings(asked, paths, cgroups, rates, locked), host)
    except NotFound:  # it ends at this moment; an event will tell
        limits, paths = readings(asked, {}, cgroups, {}, locked), {}
    ended, lives = status == "exited", bool(first_pid(inspected))
    container = Container(
        id=str(inspected.get("Id") or ""),
        node=node,
        engine=engine,
        name=str(inspected.get("Name") or "").removeprefix("/"),
        state=status,
        image=_cut(config.get("Image") or ""),
        command=_command([inspected.get("Path") or "", *(inspected.get("Args") or ())]),
        cwd=_cut(config.get("WorkingDir") or "/"),
        user=_cut(config.get("User") or ""),
        pid=place.pid,
        namespaces=_views(host, place.inodes),
        limits=limits,
        exit_code=int(state.get("ExitCode") or 0) if ended else None,
        reason=_cut(_reason(state, status, limited=asked["memory"] is not None)),
        created_at=_seconds(inspected.get("Created")) or 0.0,
        started_at=started_at(inspected),
        finished_at=_seconds(state.get("FinishedAt")) if ended else None,
        owner=str((config.get("Labels") or {}).get(OWNER_LABEL, "")),
        hostname=_cut(config.get("Hostname") or ""),
        addresses=_addresses(inspected),
        labels=_labels(config.get("Labels") or {}),
        restart_policy=str((host.get("RestartPolicy") or {}).get("Name") or "no"),
        restart_count=int(inspected.get("RestartCount") or 0),
        restarting=ended and bool(state.get("Restarting")),
        user_map=place.user_map,
        cgroups=dict(paths),
        ports=_ports(inspected) if lives else (),
        networks=tuple(map(str, (inspected.get("NetworkSettings") or {}).get("Networks") or {})),
        health=_health(state) if lives else "",
    )
    return Seen(container, config, host, asked)


def as_last_seen(seen: Seen) -> Seen:
    """While the daemon does not answer: what ran may have ended, what did not run can't be started."""
    state = "unknown" if seen.container.state in ("running", "paused") else seen.container.state
    return replace(seen, container=msgspec.structs.replace(seen.container, state=state, stale=True))


def _cut(text: object) -> str:
    whole = str(text)
    return whole if len(whole) <= MOST_TEXT else whole[: MOST_TEXT - 1] + "…"


def _labels(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Those that fit, in the record's order."""
    labels: dict[str, str] = {}
    room = MOST_WORDS
    for key, value in ((_cut(key), _cut(value)) for key, value in recorded.items()):
        size = len((key + value).encode())
        if size <= room:
            labels[key] = value
            room -= size
    return labels


def _command(words: list[Any]) -> tuple[str, ...]:
    """Its words as far as they fit; then "…"."""
    command: list[str] = []
    room = MOST_WORDS
    for word in map(_cut, words):
        room -= len(word.encode())
        if room < 0:
            return (*command, "…")
        command.append(word)
    return tuple(command)


def _views(host: Mapping[str, Any], inodes: Mapping[str, int]) -> dict[str, NamespaceView]:
    initial = namespaces.initial()
    modes = {
        "mnt": "private",
        "uts": _mode(host.get("UTSMode")),
        "ipc": _mode(host.get("IpcMode")),
        "pid": _mode(host.get("PidMode")),
        "net": _net_mode(str(host.get("NetworkMode") or "")),
        "user": _mode(host.get("UsernsMode")),
        "cgroup": _mode(host.get("CgroupnsMode")),
        "time": "host",
    }
    for kind in ("user", "cgroup", "time"):  # the record may be silent about the daemon's own default: the kernel isn't
        if inodes.get(kind):
            modes[kind] = "host" if inodes[kind] == initial.get(kind) else "private"
    return {
        kind: NamespaceView(inodes.get(kind, 0), modes[kind], bool(inodes.get(kind)) and inodes[kind] == initial.get(kind))
        for kind in NAMESPACE_TYPES
    }


def _mode(recorded: object) -> str:
    """ "shareable" and "none" are ways of having one's own ipc namespace."""
    mode = str(recorded or "private")
    return mode if mode == "host" or mode.startswith("container:") else "private"


def _net_mode(mode: str) -> str:
    """Docker's own networks, however they are called, are bridges as far as the namespace goes."""
    return mode if mode in ("host", "none") or mode.startswith("container:") else "bridge"


def _reason(state: Mapping[str, Any], status: str, *, limited: bool) -> str:
    """``limited``: it has a memory limit of its own. Without one it was its group's, or the host had none left."""
    code, error = int(state.get("ExitCode") or 0), str(state.get("Error") or "")
    if status == "created":
        return f"could not start: {error}" if error else ""
    if status != "exited":
        return ""
    if error:
        return f"could not start: {error}"
    if limited and state.get("OOMKilled") and code == 128 + signal.SIGKILL:
        return "OOM killed: it went over its memory limit"
    ended = f"exited {code}"
    if code > 128:
        with contextlib.suppress(ValueError):
            ended = f"killed by {signal.Signals(code - 128).name}"
    ended += "; a process in it was OOM killed" if state.get("OOMKilled") else ""
    return f"{ended}; Docker will start it again" if state.get("Restarting") else ended


def _seconds(text: object) -> float | None:
    """RFC 3339 with nanoseconds → Unix seconds; Go's zero time (year 1) is None."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.timestamp() if moment.year > 1 else None


def _addresses(inspected: Mapping[str, Any]) -> tuple[str, ...]:
    networks = (inspected.get("NetworkSettings") or {}).get("Networks") or {}
    found = (str((network or {}).get(key) or "") for network in networks.values() for key in ("IPAddress", "GlobalIPv6Address"))
    return tuple(filter(None, found))


def _ports(inspected: Mapping[str, Any]) -> tuple[Port, ...]:
    """A daemon with IPv6 tells each binding of every address twice, as 0.0.0.0 and ::."""
    found = []
    for place, bindings in ((inspected.get("NetworkSettings") or {}).get("Ports") or {}).items():
        number, _, protocol = str(place).partition("/")
        for one in bindings or ():
            found.append(Port(int(number), int(one.get("HostPort") or 0), str(one.get("HostIp") or ""), protocol or "tcp"))
    return tuple(found)


def _health(state: Mapping[str, Any]) -> str:
    said = str((state.get("Health") or {}).get("Status") or "none")
    return "" if said == "none" else said


def _seccomp(host: Mapping[str, Any], options: list[str]) -> str:
    """default | off | own, which is a profile that somebody gave it. Docker reads "name=value" and "name:value"."""
    if host.get("Privileged"):
        return "off"
    given = next((option[len("seccomp=") :] for option in options if option.startswith(("seccomp=", "seccomp:"))), "default")
    return {"unconfined": "off", "default": "default", "builtin": "default"}.get(given, "own")


def security_facts(seen: Seen) -> dict[str, Any]:
    """What confines its first process: as asked for, and in the kernel's own word where it runs."""
    host = seen.host
    options = [str(option) for option in host.get("SecurityOpt") or ()]
    facts: dict[str, Any] = {
        "asked": {
            "privileged": bool(host.get("Privileged")),
            "capabilities_added": list(host.get("CapAdd") or ()),
            "capabilities_dropped": list(host.get("CapDrop") or ()),
            "no_new_privs": any(option.startswith("no-new-privileges") and not option.endswith("false") for option in options),
            "seccomp": _seccomp(host, options),
            "security_module": [option for option in options if option.startswith(("apparmor", "label"))],
            "read_only_root": bool(host.get("ReadonlyRootfs")),
            "masked_paths": list(host.get("MaskedPaths") or ()),
            "read_only_paths": list(host.get("ReadonlyPaths") or ()),
            "user_map": seen.container.user_map,
        }
    }
    if seen.container.pid and (said := confinement.read(seen.container.pid)):
        facts["kernel"] = said
    return facts
