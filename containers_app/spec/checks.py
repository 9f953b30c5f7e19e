"""Named checks of a container's description: each looks at one thing and raises InvalidInput with a hint."""

from __future__ import annotations

import ipaddress
import re
import signal
from collections.abc import Callable
from itertools import pairwise

from ..errors import InvalidInput
from ..units import shown
from .seccomp import check_profile
from .words import (
    CLOCKS,
    ENGINE_NAME,
    MAX_STOP_TIMEOUT,
    MAX_TIME_OFFSET,
    MOUNT_TYPES,
    NAMESPACE_TYPES,
    NET_MODES,
    PROPAGATIONS,
    PROTOCOLS,
    RESTART_POLICIES,
    RLIMITS,
    UNLIMITED,
    ContainerSpec,
)

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}", re.ASCII)
_HOSTNAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_USER = re.compile(r"[0-9]{1,5}(?::[0-9]{1,5})?", re.ASCII)
_REFERENCE = re.compile(r"(?:container:[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}|path:/[^\x00]{1,4000})", re.ASCII)
_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/@-]{0,254}", re.ASCII)
MAX_LABELS = 16 << 10  # bytes of all labels of a container: they are in every list of it
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}", re.ASCII)
_CAPABILITY = re.compile(r"CAP_[A-Z_]{2,32}", re.ASCII)


def check_name(spec: ContainerSpec) -> None:
    if not _NAME.fullmatch(spec.name):
        raise InvalidInput(
            f"{shown(spec.name)} is not a name.",
            code="invalid_name",
            hint="Use 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit.",
        )


def check_group(spec: ContainerSpec) -> None:
    if spec.group:
        check_group_name(spec.group)


def check_group_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{shown(name)} is not a group's name.",
            code="invalid_name",
            hint="Use 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit.",
        )


def check_engine(spec: ContainerSpec) -> None:
    """Which there are only the worker knows."""
    if not ENGINE_NAME.fullmatch(spec.engine):
        raise InvalidInput(f"{shown(spec.engine)} is not an engine's name.", hint="For example raw or docker.")


def check_image(spec: ContainerSpec) -> None:
    if not _IMAGE.fullmatch(spec.image) or ".." in spec.image:
        raise InvalidInput(f"{shown(spec.image)} is not an image name.", code="invalid_image", hint="For example busybox.")


def check_command(spec: ContainerSpec) -> None:
    check_argv(spec.command)


def check_argv(argv: tuple[str, ...]) -> None:
    if len(argv) > 256 or sum(map(len, argv)) > 65536:
        raise InvalidInput("The command is too long.", hint="At most 256 words and 64 KiB; put more into a script.")
    if any("\x00" in word for word in argv) or (argv and not argv[0]):
        raise InvalidInput("The command has an empty first word or a NUL character.", code="invalid_command")


def check_env(spec: ContainerSpec) -> None:
    if len(spec.env) > 256 or sum(len(k) + len(v) for k, v in spec.env.items()) > 65536:
        raise InvalidInput("The environment is too large.", hint="At most 256 variables and 64 KiB.")
    for key, value in spec.env.items():
        if not _ENV_NAME.fullmatch(key) or "\x00" in value:
            raise InvalidInput(f"{shown(key)} is not a variable's name.", code="invalid_env", hint="For example PATH.")


def check_cwd(spec: ContainerSpec) -> None:
    if not spec.cwd:
        return
    if not spec.cwd.startswith("/") or "\x00" in spec.cwd or len(spec.cwd) > 4000:
        raise InvalidInput(f"{shown(spec.cwd)} is not a working directory.", hint="Write an absolute path, for example /root.")


def check_user(spec: ContainerSpec) -> None:
    if not spec.user:
        return
    if not _USER.fullmatch(spec.user) or any(int(part) > 65535 for part in spec.user.split(":")):
        raise InvalidInput(f"{shown(spec.user)} is not a user.", hint="Write UID or UID:GID, each from 0 to 65535.")


def check_hostname(spec: ContainerSpec) -> None:
    if spec.hostname and not _HOSTNAME.fullmatch(spec.hostname):
        raise InvalidInput(f"{shown(spec.hostname)} is not a host name.", hint="Use letters, digits, '-' and '.', up to 63.")
    if spec.hostname and spec.namespaces.uts != "private":
        raise InvalidInput(
            "A host name is for a uts namespace of its own.",
            code="invalid_namespace",
            hint='Make "uts" private, or leave hostname out.',
        )


def check_namespaces(spec: ContainerSpec) -> None:
    for kind, mode in spec.namespaces.items():
        plain = NET_MODES if kind == "net" else ("private", "host")
        if mode not in plain and not _REFERENCE.fullmatch(mode):
            raise InvalidInput(
                f"{shown(mode)} is not a mode of the {kind} namespace.",
                code="invalid_namespace",
                hint="Modes are " + ", ".join(plain) + ", container:ID and path:/run/....",
            )


def check_namespace_types(kinds: tuple[str, ...]) -> None:
    unknown = [kind for kind in kinds if kind not in NAMESPACE_TYPES]
    if unknown:
        raise InvalidInput(
            f"{shown(unknown[0])} is not a type of namespace.", code="invalid_namespace", hint=", ".join(NAMESPACE_TYPES) + "."
        )


def check_time_offsets(spec: ContainerSpec) -> None:
    for clock, seconds in spec.time_offsets.items():
        if clock not in CLOCKS:
            raise InvalidInput(f"No clock called {shown(clock)} can be moved.", hint="Clocks are monotonic and boottime.")
        if abs(seconds) > MAX_TIME_OFFSET:
            raise InvalidInput(f"{seconds} seconds is more than the kernel moves a clock.", hint="At most 100 years either way.")
    if spec.time_offsets and spec.namespaces.time != "private":
        raise InvalidInput(
            "Clocks can be moved in a time namespace of its own only.",
            code="invalid_namespace",
            hint='Make "time" private, or leave time_offsets out.',
        )


def check_mounts(spec: ContainerSpec) -> None:
    if len(spec.mounts) > 64:
        raise InvalidInput("A container has at most 64 mounts.")
    for mount in spec.mounts:
        if mount.type not in MOUNT_TYPES:
            raise InvalidInput(f"{shown(mount.type)} is not a type of mount.", hint="Types are " + ", ".join(MOUNT_TYPES) + ".")
        if mount.type == "volume" and (spec.engine == "raw" or not VOLUME_NAME.fullmatch(mount.source)):
            raise InvalidInput(
                "A mount of type volume has the name of a Docker volume as its source.",
                code="invalid_mount",
                hint="Raw sandboxes have none: bind a directory." if spec.engine == "raw" else "See /api/v1/volumes.",
            )
        if mount.propagation not in PROPAGATIONS:
            raise InvalidInput(f"{shown(mount.propagation)} is not a propagation.", hint="private, slave or shared.")
        for path in (mount.target, *((mount.source,) if mount.type == "bind" else ())):
            if not path.startswith("/") or "\x00" in path or len(path) > 4000 or ".." in path.split("/"):
                raise InvalidInput(
                    f"{shown(path)} is not an absolute path.", code="invalid_mount", hint="No '..', for example /srv/data."
                )
        top = mount.target.strip("/").split("/")[0]
        if top in ("", "proc", "sys", "dev"):
            raise InvalidInput(
                f"Nothing can be mounted on {mount.target}.",
                code="invalid_mount",
                hint="/, /proc, /sys and /dev are the panel's.",
            )


def check_mount_words(spec: ContainerSpec) -> None:
    """What its type has no use for would be ignored."""
    for mount in spec.mounts:
        if mount.type == "tmpfs" and mount.source:
            raise InvalidInput(
                f"The tmpfs on {mount.target} has no source: it begins empty.",
                code="invalid_mount",
                hint="Leave source out, or bind the directory.",
            )
        if mount.type != "tmpfs" and mount.size:
            raise InvalidInput(
                f"The {mount.type} on {mount.target} has no size of its own: it is as large as what it shows.",
                code="invalid_mount",
                hint="Leave size out; a tmpfs has one.",
            )


def check_security(spec: ContainerSpec) -> None:
    if spec.security.seccomp not in ("default", "off"):
        raise InvalidInput(f"{shown(spec.security.seccomp)} is not a seccomp profile.", hint="Profiles are default and off.")
    for capability in spec.security.capabilities or ():
        if not _CAPABILITY.fullmatch(capability):
            raise InvalidInput(f"{shown(capability)} is not a capability.", hint="For example CAP_NET_BIND_SERVICE.")


def check_seccomp_profile(spec: ContainerSpec) -> None:
    if spec.security.seccomp_profile is not None:
        check_profile(spec.security.seccomp_profile)
        if not spec.security.no_new_privs:
            raise InvalidInput(
                "A seccomp profile needs no_new_privs.",
                code="invalid_seccomp_profile",
                hint="The kernel takes a filter only from those who can gain nothing by it; leave no_new_privs on.",
            )


def check_covered_paths(spec: ContainerSpec) -> None:
    paths = (*spec.security.masked_paths, *spec.security.read_only_paths)
    if len(paths) > 128:
        raise InvalidInput("A container has at most 128 masked and read-only paths.")
    if sum(map(len, paths)) > 65536:
        raise InvalidInput("The masked and read-only paths are longer than 65536 characters together.", code="invalid_path")
    for path in paths:
        if not path.startswith("/") or not path.strip("/") or "\x00" in path or len(path) > 4000 or ".." in path.split("/"):
            raise InvalidInput(
                f"{shown(path)} can't be masked or made read-only.",
                code="invalid_path",
                hint="Write an absolute path without '..'; for / there is read_only_root.",
            )


def check_rlimits(spec: ContainerSpec) -> None:
    for name, limit in spec.rlimits.items():
        if name not in RLIMITS:
            raise InvalidInput(f"There is no resource limit {shown(name)}.", hint="They are " + ", ".join(RLIMITS) + ".")
        for value in (limit.soft, limit.hard):
            if not UNLIMITED <= value < 1 << 63:
                raise InvalidInput(f"{value} is no value of the limit {name}.", hint="Write 0 or more, or -1 for unlimited.")
        if limit.hard != UNLIMITED and not UNLIMITED < limit.soft <= limit.hard:
            raise InvalidInput(f"The soft limit {name} is above the hard one.", hint="Lower soft, or raise hard.")


def check_oom_score(spec: ContainerSpec) -> None:
    if not -1000 <= spec.oom_score_adj <= 1000:
        raise InvalidInput(f"{spec.oom_score_adj} is no oom_score_adj.", hint="It is from -1000 to 1000.")


def check_restart(spec: ContainerSpec) -> None:
    if spec.restart.policy not in RESTART_POLICIES:
        raise InvalidInput(
            f"{shown(spec.restart.policy)} is not a restart policy.", hint="Policies are " + ", ".join(RESTART_POLICIES) + "."
        )
    if not 0 <= spec.restart.retries <= 1000 or (spec.restart.retries and spec.restart.policy != "on-failure"):
        raise InvalidInput("retries is from 0 (without end) to 1000, for the policy on-failure only.")


def check_stop(spec: ContainerSpec) -> None:
    if signal_number(spec.stop_signal) is None:
        raise InvalidInput(f"{shown(spec.stop_signal)} is not a signal.", hint="For example TERM, INT or QUIT.")
    if not 0 <= spec.stop_timeout <= MAX_STOP_TIMEOUT:
        raise InvalidInput("stop_timeout is from 0 to 3600 seconds.")


def signal_number(name: str) -> int | None:
    """TERM, SIGTERM and 15 → 15; None when there is no such signal."""
    if name.isascii() and name.isdigit() and len(name) <= 2:
        return int(name) if 1 <= int(name) <= 64 else None
    found = getattr(signal.Signals, "SIG" + name.removeprefix("SIG"), None)
    return int(found) if isinstance(found, signal.Signals) else None


def check_ports(spec: ContainerSpec) -> None:
    if len(spec.ports) > 256:
        raise InvalidInput("A container has at most 256 published ports.")
    if spec.ports and spec.namespaces.net != "bridge":
        raise InvalidInput(
            "Ports are published from a bridge network only.", code="invalid_port", hint='Make "net" bridge, or leave ports out.'
        )
    taken = set()
    for port in spec.ports:
        if not 1 <= port.container_port <= 65535 or not 0 <= port.host_port <= 65535:
            raise InvalidInput("A port is from 1 to 65535.", code="invalid_port", hint="host_port 0 lets the panel choose one.")
        if port.protocol not in PROTOCOLS:
            raise InvalidInput(
                f"{shown(port.protocol)} is not a protocol.", code="invalid_port", hint="Protocols are tcp and udp."
            )
        if port.host_ip:
            check_address(port.host_ip)
            if ipaddress.ip_address(port.host_ip) == ipaddress.IPv6Address("::1") and spec.engine == "raw":
                raise InvalidInput("The kernel forwards nothing for ::1.", code="invalid_port", hint="Use 127.0.0.1.")
        place = (port.host_ip, port.host_port, port.protocol)
        if port.host_port and place in taken:
            raise InvalidInput(f"Port {port.host_port} of the host is published twice.", code="invalid_port")
        taken.add(place)


def check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(f"{shown(text)} is not an address.", hint="For example 10.0.0.1 or fd00::1.") from None


def check_names(spec: ContainerSpec) -> None:
    """Name servers, lines of /etc/hosts and labels."""
    if len(spec.dns) > 8 or len(spec.extra_hosts) > 256 or len(spec.labels) > 128:
        raise InvalidInput("At most 8 name servers, 256 extra hosts and 128 labels.")
    if (spec.network or spec.dns) and spec.namespaces.net != "bridge":
        asked = "network" if spec.network else "dns"
        raise InvalidInput(
            f'{asked} is for "net" bridge only.', code="invalid_namespace", hint=f'Make "net" bridge, or leave {asked} out.'
        )
    if spec.network and not _NAME.fullmatch(spec.network):
        raise InvalidInput(f"{shown(spec.network)} is not a network's name.")
    for address in (*spec.dns, *spec.extra_hosts.values()):
        check_address(address)
    for name in spec.extra_hosts:
        if not _HOSTNAME.fullmatch(name):
            raise InvalidInput(f"{shown(name)} is not a host name.", hint="Use letters, digits, '-' and '.', up to 63.")
    for key, value in spec.labels.items():
        if not key or len(key) > 128 or len(value) > 4096 or not (key + value).isprintable():
            raise InvalidInput(f"{shown(key)} is not a label.", hint="Printable text, up to 128 and 4096 characters.")
    if sum(len((key + value).encode()) for key, value in spec.labels.items()) > MAX_LABELS:
        raise InvalidInput("The labels are too large.", hint="At most 16 KiB in all; put more into a file.")


def check_id_map(spec: ContainerSpec) -> None:
    if spec.id_map and spec.namespaces.user != "private":
        raise InvalidInput("An id map is for a user namespace of its own.", code="invalid_namespace", hint='Make "user" private.')
    if len(spec.id_map) > 32:
        raise InvalidInput("An id map has at most 32 lines.")
    for line in spec.id_map:
        if line.count < 1 or min(line.inside, line.outside) < 0 or max(line.inside, line.outside) + line.count > (1 << 32) - 1:
            raise InvalidInput("A line of an id map is out of range.", hint="Ids are from 0 to 4294967294, count is 1 or more.")
    for attribute in ("inside", "outside"):
        ranges = sorted((getattr(line, attribute), line.count) for line in spec.id_map)
        if any(start + count > following for (start, count), (following, _) in pairwise(ranges)):
            raise InvalidInput(f"Lines of the id map overlap {attribute}.")


def check_health(spec: ContainerSpec) -> None:
    if spec.health is None:
        return
    check_argv(spec.health.test)
    times = (spec.health.interval, spec.health.timeout, spec.health.start_period)
    if not spec.health.test or not 1 <= spec.health.retries <= 100 or not all(0 <= one <= 86400 for one in times):
        raise InvalidInput("A health check has a program, 1 to 100 retries, and times from 0 to 86400 seconds.")


CONTAINER_CHECKS: tuple[Callable[[ContainerSpec], None], ...] = (
    check_name, check_engine, check_image, check_command, check_env, check_cwd, check_user, check_hostname,
    check_namespaces, check_time_offsets, check_mounts, check_mount_words, check_security,
    check_seccomp_profile, check_covered_paths, check_rlimits, check_oom_score, check_restart, check_stop,
    check_ports, check_names, check_id_map, check_health, check_group,
)  # fmt: skip
