"""Combinations that a raw sandbox can't have, each a named check with its cause. Whatever else can be written, the kernel allows.

tests/engines/test_raw_combinations.py tries the namespaces' modes against each other on the running kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import InvalidInput, Unsupported
from ..kernel import security
from ..kernel.seccomp import compile_custom
from ..spec import NET_LIMITS, ContainerSpec

REFERENCES = ("container:", "path:")
MOST_SHARED_MOUNTS = 4  # each is a descriptor that goes along with the launch


def check_joined_root(spec: ContainerSpec) -> None:
    """Who joins a mount namespace sees its files: there is no root, no mount and no /etc of one's own."""
    files = {name: getattr(spec, name) for name in ("mounts", "dns", "extra_hosts")}
    files |= {name: getattr(spec.security, name) for name in ("read_only_root", "masked_paths", "read_only_paths")}
    asked = [name for name, value in files.items() if value]
    if asked and spec.namespaces.mnt.startswith(REFERENCES):
        raise Unsupported(
            "A sandbox that joins a mount namespace has its files and mounts, and none of its own.",
            hint=f'Leave out {" and ".join(asked)}, or make "mnt" private.',
        )


def check_seccomp_rules(spec: ContainerSpec) -> None:
    own_filter(spec)


def check_capability_names(spec: ContainerSpec) -> None:
    unknown = [name for name in spec.security.capabilities or () if name not in security.CAPABILITIES]
    if unknown:
        raise Unsupported(f"There is no capability called {unknown[0]}.", hint="See capabilities(7).")


def check_init(spec: ContainerSpec) -> None:
    """Orphans come to the first process of a pid namespace, and the program is put into the sandbox's own /dev."""
    if spec.init and spec.namespaces.pid != "private":
        raise Unsupported(
            "An init is the first process of a pid namespace, and here another one is.",
            hint='Make "pid" private, or leave init out.',
        )
    if spec.init and spec.namespaces.mnt != "private":
        raise Unsupported(
            "An init is put into the sandbox's own /dev, and it has none when it joins a mount namespace.",
            hint='Make "mnt" private, or leave init out.',
        )


def check_first_processes(spec: ContainerSpec) -> None:
    """A launch that joins namespaces or moves clocks goes through a helper in the same control group; an init forks."""
    check_pids(spec, spec.limits)


def check_pids(spec: ContainerSpec, limits: Mapping[str, object]) -> None:
    """Also for a limit that is changed later: the next start would fail of it."""
    joins = any(mode.startswith(REFERENCES) for _, mode in spec.namespaces.items())
    if limits.get("pids") == 1 and (joins or spec.time_offsets or spec.init):
        what = "init" if spec.init else "joined namespaces" if joins else "moved clocks"
        raise InvalidInput(
            f"A sandbox with {what} needs two processes to start.", code="invalid_limit", hint="Set pids to 2 or more."
        )


def without_link(spec: ContainerSpec) -> dict[str, str]:
    """Why its network rates can't be set, where they can't."""
    mode = spec.namespaces.net
    if mode == "bridge":
        return {}
    why = {"host": "its network is the host's", "none": "it has none", "private": "it has none"}.get(
        mode, f"its network is that of {mode.partition(':')[2]}"
    )
    return dict.fromkeys(NET_LIMITS, f"It has no link of its own: {why}.")


def check_first_rates(spec: ContainerSpec) -> None:
    check_rates(spec, spec.limits)


def check_rates(spec: ContainerSpec, limits: Mapping[str, object]) -> None:
    """Also for limits that are changed later."""
    for name, why in without_link(spec).items():
        if limits.get(name) is not None:
            raise InvalidInput(
                f"{name} can't be set: {why}", code="limit_locked", hint=f'Rates are for "net" bridge; leave {name} out.'
            )


def check_kept_limits(spec: ContainerSpec) -> None:
    """Also for a description that is changed later."""
    if not spec.keep_limits:
        raise Unsupported(
            "A sandbox always starts with its limits: keep_limits can't be false.",
            hint="Leave keep_limits out, and clear those limits that it is not to have.",
        )


def check_tmpfs(spec: ContainerSpec) -> None:
    if any(mount.type == "tmpfs" and mount.read_only for mount in spec.mounts):
        raise InvalidInput(
            "A tmpfs begins empty: one that is read-only stays so.",
            code="invalid_mount",
            hint="Leave read_only out; what is to be read only is bound.",
        )


def check_mapped_users(spec: ContainerSpec) -> None:
    """Root inside owns the sandbox's files and sets it up; then its program's user takes over."""
    if not spec.id_map:
        return
    for name, number in (("root, 0,", 0), *zip(("the user", "the group"), ids(spec), strict=True)):
        if not any(line.inside <= number < line.inside + line.count for line in spec.id_map):
            raise InvalidInput(
                f"The id map leaves out {name} {number or ''}".rstrip(", ") + ".",
                code="invalid_id_map",
                hint="Map 0, and whatever user names, for example inside 0, outside 1000000, count 1.",
            )


def check_shared_mounts(spec: ContainerSpec) -> None:
    shared = [mount for mount in spec.mounts if mount.propagation == "shared"]
    if len(shared) > MOST_SHARED_MOUNTS:
        raise Unsupported(f"A sandbox has at most {MOST_SHARED_MOUNTS} shared mounts.", hint="Make the others slave.")
    if any(mount.type != "bind" and mount.propagation != "private" for mount in spec.mounts):
        raise InvalidInput("Only a bind mount has anybody to share with.", code="invalid_mount", hint="Leave propagation out.")


def check_health(spec: ContainerSpec) -> None:
    if spec.health is not None:
        raise Unsupported("A sandbox has no health check.", hint="Leave health out, or use Docker.")


def own_filter(spec: ContainerSpec) -> bytes:
    profile = spec.security.seccomp_profile
    return compile_custom(profile) if profile is not None else b""


def ids(spec: ContainerSpec) -> tuple[int, int]:
    """("1000", "1000:1000") → uid and gid inside; the gid is the uid's where only one is given."""
    uid, _, gid = spec.user.partition(":")
    return int(uid), int(gid or uid)


POSSIBLE_CHECKS: tuple[Callable[[ContainerSpec], None], ...] = (
    check_joined_root,
    check_capability_names,
    check_seccomp_rules,
    check_init,
    check_first_processes,
    check_first_rates,
    check_kept_limits,
    check_tmpfs,
    check_mapped_users,
    check_shared_mounts,
    check_health,
)


def check_possible(spec: ContainerSpec) -> None:
    for check in POSSIBLE_CHECKS:
        check(spec)
