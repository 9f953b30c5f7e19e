"""What is asked for, held against the policy. Every check is one named function and raises PolicyRefused."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable

from ..errors import InvalidInput, PolicyRefused, Unsupported
from ..kernel import namespaces
from ..kernel.host_image import HOST_IMAGE
from ..kernel.images.references import check_registry, parse_reference
from ..kernel.images.task import Registries
from ..kernel.security import DEFAULT_CAPABILITIES
from ..spec import ContainerSpec, ImportSpec, LimitChanges, LimitValue, PullSource, RegistrySource
from .policy import Policy


def check_spec(policy: Policy, spec: ContainerSpec) -> None:
    """Hold a checked spec against the policy. PolicyRefused names the first thing that is not allowed."""
    for check in POLICY_CHECKS:
        check(policy, spec)


def check_user_namespace(policy: Policy, spec: ContainerSpec) -> None:
    if spec.namespaces.user == "host" and not policy.allow.no_user_namespace:
        raise PolicyRefused(
            "This host asks for a user namespace of its own.",
            hint='Leave "user" private, or ask root to set no_user_namespace in policy.toml.',
        )


def check_host_namespaces(policy: Policy, spec: ContainerSpec) -> None:
    for kind, mode in spec.namespaces.items():
        if mode == "host" and kind != "user":
            check_initial_namespace(policy, kind)


def check_initial_namespace(policy: Policy, kind: str) -> None:
    """Also for whoever finds that a reference (``container:ID``, ``path:``) leads to the host's own namespace.

    Unsupported for "mnt", whatever the policy: what a container mounts as its root and below, the host would have.
    """
    if kind == "mnt":
        raise Unsupported(
            "A container always has a mount namespace of its own: in the host's, its root and mounts would be the host's too.",
            hint='Leave "mnt" private and mount what it needs; a sandbox with the image "host" sees the host\'s own files.',
        )
    allowed = policy.allow.no_user_namespace if kind == "user" else kind in policy.allow.host_namespaces
    if not allowed:
        setting = "set no_user_namespace" if kind == "user" else "add it to host_namespaces"
        raise PolicyRefused(
            f"This host does not lend its own {kind} namespace.",
            hint=f'Make "{kind}" private, or ask root to {setting} in policy.toml.',
        )


def check_namespace_paths(policy: Policy, spec: ContainerSpec) -> None:
    """A path may only be a namespace that root has bound under /run, and the host's own only where that is allowed."""
    for kind, mode in spec.namespaces.items():
        if not mode.startswith("path:"):
            continue
        path = os.path.normpath(mode.removeprefix("path:"))
        try:
            if not path.startswith(("/run/", "/var/run/")) or not os.path.realpath(path).startswith("/run/"):
                raise PolicyRefused("Namespaces by path must lie under /run.", hint="For example path:/run/netns/blue.")
            same = os.stat(path).st_ino == namespaces.initial().get(kind)
        except OSError as error:
            raise InvalidInput(
                f"There is no namespace at {path}: {error.strerror}.", code="invalid_namespace", hint="ip netns add makes one."
            ) from None
        if same:
            check_initial_namespace(policy, kind)


def check_host_files(policy: Policy, spec: ContainerSpec) -> None:
    """The image "host", and mount namespaces by path: those that programs keep under /run mostly hold the host's own files."""
    if policy.allow.host_image:
        return
    if spec.engine == "raw" and spec.image == HOST_IMAGE:
        raise PolicyRefused(
            "This host does not show its own files to containers.",
            hint="Choose another image, or ask root to set host_image in policy.toml.",
        )
    if spec.namespaces.mnt.startswith("path:"):
        raise PolicyRefused(
            "This host does not let its mount namespaces be joined by path.",
            hint='Make "mnt" private or container:ID, or ask root to set host_image in policy.toml.',
        )


def check_toolbox(policy: Policy) -> None:
    if not policy.allow.toolbox:
        raise PolicyRefused("This host does not allow toolboxes.", hint="Ask root to set toolbox in policy.toml.")


def check_bind_paths(policy: Policy, spec: ContainerSpec) -> None:
    """Both the path as written and where it leads must be allowed. The engine must open it without following links."""
    for mount in spec.mounts:
        if mount.type != "bind":
            continue
        for path in (os.path.normpath(mount.source), _resolved(mount.source)):
            if not any(_within(path, _resolved(allowed)) for allowed in policy.allow.bind_paths):
                raise PolicyRefused(
                    f"This host does not let {mount.source} be mounted into containers.",
                    hint="Ask root to add it to bind_paths in policy.toml.",
                )


def check_import(policy: Policy, spec: ImportSpec) -> None:
    """What an image may be made from."""
    path = getattr(spec.source, "path", "")
    if path and not any(
        _within(place, _resolved(allowed))
        for allowed in policy.allow.import_paths
        for place in (os.path.normpath(path),)
        if _resolved(path) == place
    ):
        raise PolicyRefused(
            f"This host does not let {path} become an image.",
            hint="Ask root to add it to import_paths in policy.toml; write it without symbolic links.",
        )
    if isinstance(spec.source, RegistrySource):
        check_registry(registries(policy), parse_reference(spec.source.reference))
    if isinstance(spec.source, PullSource):
        check_registry(registries(policy), parse_reference(spec.name))


def registries(policy: Policy) -> Registries:
    return Registries(policy.allow.registries, policy.allow.insecure_registries)


def check_published_ports(policy: Policy, spec: ContainerSpec) -> None:
    for port in spec.ports:
        if port.host_port and not any(first <= port.host_port <= last for first, last in policy.allow.port_ranges()):
            raise PolicyRefused(
                f"This host does not let port {port.host_port} be published.",
                hint="Choose one of "
                + (", ".join(policy.allow.ports) or "none")
                + ", or ask root to add it to ports in policy.toml.",
            )
        allowed = [ipaddress.ip_network(text) for text in policy.allow.port_addresses]
        for address in (port.host_ip,) if port.host_ip else ("0.0.0.0", "::"):
            asked = ipaddress.ip_address(address)
            least = 0 if asked.is_unspecified else asked.max_prefixlen  # 0.0.0.0 and :: stand for every address
            if not any(asked in one and one.prefixlen <= least for one in allowed):
                raise PolicyRefused(
                    f"This host does not let ports be published on {port.host_ip or 'every address'}.",
                    hint="Name a host_ip within " + (", ".join(policy.allow.port_addresses) or "none") + ".",
                )


def check_capabilities(policy: Policy, spec: ContainerSpec) -> None:
    extra = set(spec.security.capabilities or ()) - set(DEFAULT_CAPABILITIES)
    if extra and not policy.allow.capabilities:
        raise PolicyRefused(
            f"This host does not give containers {sorted(extra)[0]}.",
            hint="Choose from the default set, or ask root to set capabilities in policy.toml.",
        )


def check_oom_score(policy: Policy, spec: ContainerSpec) -> None:
    if spec.oom_score_adj < 0 and not policy.allow.oom_score_below_zero:
        raise PolicyRefused(
            "This host does not let containers be spared when its memory is short.",
            hint="Set oom_score_adj to 0 or more, or ask root to set oom_score_below_zero in policy.toml.",
        )


def check_real_time(policy: Policy, spec: ContainerSpec) -> None:
    """sched(7): RLIMIT_RTPRIO alone lets a program be real-time, and no control group's CPU limit holds one (cgroup-v2.rst)."""
    wanted = spec.rlimits.get("rtprio")
    if wanted is not None and wanted.hard and not policy.allow.real_time:
        raise PolicyRefused(
            "This host does not let containers run before all other programs.",
            hint="Set the limit rtprio to 0, or ask root to set real_time in policy.toml.",
        )


def check_id_map(policy: Policy, spec: ContainerSpec) -> None:
    """Each line must lead into one range: the sandboxes' own, or one that root has listed."""
    ranges = [(policy.uids.base, policy.uids.count), *policy.allow.id_ranges()]
    for line in spec.id_map:
        if not any(first <= line.outside and line.outside + line.count <= first + count for first, count in ranges):
            wanted = f"{line.outside}-{line.outside + line.count - 1}"
            raise PolicyRefused(
                f"This host does not lend containers the ids {wanted}.",
                hint=f"Its own range begins at {policy.uids.base}; or ask root to add {wanted} to id_maps in policy.toml.",
            )


def check_shared_mounts(policy: Policy, spec: ContainerSpec) -> None:
    if any(mount.propagation == "shared" for mount in spec.mounts) and not policy.allow.shared_mounts:
        raise PolicyRefused(
            "This host does not take over what containers mount.",
            hint='Make the mount\'s propagation "slave", or ask root to set shared_mounts in policy.toml.',
        )


def check_seccomp(policy: Policy, spec: ContainerSpec) -> None:
    if spec.security.seccomp == "off" and not policy.allow.seccomp_off:
        raise PolicyRefused(
            "This host does not let containers run without a seccomp filter.",
            hint='Leave seccomp "default", or ask root to set seccomp_off in policy.toml.',
        )


def check_largest_limits(policy: Policy, spec: ContainerSpec) -> None:
    for name, largest in policy.limits.items():
        check_limit(name, spec.limits.get(name), largest)


def check_changes(policy: Policy, changes: LimitChanges) -> None:
    """The same for a change of limits: what is not changed is not looked at."""
    for name, largest in policy.limits.items():
        if name in changes:
            check_limit(name, changes[name], largest)


def check_limit(name: str, value: LimitValue | None, largest: float) -> None:
    if not isinstance(value, (int, float)) or value > largest:
        raise PolicyRefused(
            f"This host allows at most {largest:.10g} for the limit {name}.", hint=f"Set {name} to {largest:.10g} or less."
        )


POLICY_CHECKS: tuple[Callable[[Policy, ContainerSpec], None], ...] = (
    check_user_namespace, check_host_namespaces, check_host_files, check_namespace_paths, check_bind_paths, check_capabilities,
    check_seccomp, check_published_ports, check_oom_score, check_real_time, check_id_map, check_shared_mounts,
    check_largest_limits,
)  # fmt: skip


def _resolved(path: str) -> str:
    """Where it leads; what may not be looked at (links in /proc) leads to nowhere that is allowed."""
    try:
        return os.path.realpath(path)
    except OSError:
        return ""


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
