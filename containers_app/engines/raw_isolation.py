"""How far a sandbox is set apart from the host, in words: what its description gives up, the gravest first."""

from __future__ import annotations

from ..kernel import security
from ..spec import ContainerSpec
from .raw_checks import REFERENCES

_SHARED = {
    "net": "It has the host's network: its devices, its addresses, and every service that listens on this host alone.",
    "pid": "It sees the host's processes.",
    "ipc": "It shares the host's message queues and shared memory.",
    "uts": "It has the host's name.",
    "cgroup": "It sees the host's tree of control groups.",
    "time": "It has the host's clocks, as nearly every program has.",
    "mnt": "It has the host's mounts.",
}
_HARMLESS = ("time",)


def level(spec: ContainerSpec) -> str:
    """``full``; ``shared``: it has a namespace together with somebody; ``weak``: a fault in it is a fault of the host."""
    if spec.namespaces.user == "host" or spec.security.seccomp == "off" or not spec.security.no_new_privs:
        return "weak"
    shared = [kind for kind, mode in spec.namespaces.items() if mode == "host" or mode.startswith(REFERENCES)]
    return "shared" if set(shared) - set(_HARMLESS) else "full"


def warnings(spec: ContainerSpec) -> list[str]:
    found = []
    own = [kind for kind, mode in spec.namespaces.items() if mode != "host" and not mode.startswith(REFERENCES)]
    if own == ["mnt"]:
        found.append("Only its files are its own, as with chroot: this is no isolation from programs that mean harm.")
    if spec.namespaces.user == "host":
        found.append("Its root is the host's root: what it can reach, it can change.")
    if spec.security.seccomp == "off":
        found.append("No filter keeps it from the kernel's rarer system calls.")
    if not spec.security.no_new_privs:
        found.append("Set-user-id programs give it privileges.")
    extra = sorted(set(spec.security.capabilities or ()) - set(security.DEFAULT_CAPABILITIES))
    if extra:
        found.append(f"It has {', '.join(extra)}, beyond the default set.")
    found += [words for kind, words in _SHARED.items() if getattr(spec.namespaces, kind) == "host"]
    for kind, mode in spec.namespaces.items():
        if mode.startswith(REFERENCES):
            found.append(f"It shares the {kind} namespace of {mode.partition(':')[2]}.")
    if any(mount.propagation == "shared" for mount in spec.mounts):
        found.append("What it mounts below a shared mount appears on the host.")
    if spec.oom_score_adj < 0:
        found.append("When memory is short, others end before it.")
    return found
