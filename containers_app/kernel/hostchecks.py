"""What this host's kernel can do, as the lines of the host page. Nothing here changes anything or loads a module.

A line is ok, not ok, or unknown (None): a feature that is neither seen at work nor named in a readable kernel
configuration can't be known without trying it.
"""

from __future__ import annotations

import os

from . import procfs
from .procfs import Check

_NAMESPACES = {
    "mnt": "mount points", "uts": "host name", "ipc": "System V IPC, message queues", "pid": "process ids", "net": "network",
    "user": "user and group ids", "cgroup": "view of the control groups", "time": "monotonic and boot clocks",
}  # fmt: skip
_CONTROLLERS = {
    "cpu": "CPU limits and weights", "cpuset": "choice of CPUs", "memory": "memory and swap limits", "pids": "process limits",
    "io": "disk limits",
}  # fmt: skip
_OTHER_KERNEL = "Boot a kernel that has it; Debian's and Ubuntu's do."


def checks(proc: str = "/proc", boot: str = "/boot", sys: str = "/sys") -> list[Check]:
    """All lines, in the order in which they are shown."""
    config = procfs.kernel_config(proc, boot)
    return [
        *_namespace_checks(proc),
        _user_namespaces(proc),
        *_controller_checks(proc, sys),
        _pressure(proc),
        _overlay(proc, config),
        _seccomp(proc),
        *(_module(*row, sys, config) for row in _MODULES),
        _forwarding(proc),
        _config_known(config),
    ]


def _namespace_checks(proc: str) -> list[Check]:
    return [
        Check(
            name=f"{kind} namespace",
            ok=(there := os.path.lexists(f"{proc}/self/ns/{kind}")),
            detail=f"isolates {what}" if there else "this kernel does not have it",
            hint="" if there else _OTHER_KERNEL,
        )
        for kind, what in _NAMESPACES.items()
    ]


def _number(path: str) -> int | None:
    data = procfs.read(path)
    return int(data) if data and data.strip().isdigit() else None


def _user_namespaces(proc: str) -> Check:
    most = _number(f"{proc}/sys/user/max_user_namespaces")
    return Check(
        name="user namespaces allowed",
        ok=None if most is None else most > 0,
        detail="the kernel does not say" if most is None else f"at most {most} (user.max_user_namespaces)",
        hint="" if most is None or most > 0 else "Run: sysctl -w user.max_user_namespaces=15000",
    )


def _controller_checks(proc: str, sys: str) -> list[Check]:
    """Enabled in the kernel (/proc/cgroups for v1, cgroup.controllers for v2) and mounted somewhere."""
    mounted: set[str] = set()
    for line in (procfs.read(f"{proc}/self/mountinfo") or b"").decode(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        kind = rest.split(" ")[0]
        if kind == "cgroup":
            mounted.update(rest.split(" ")[-1].split(","))
        elif kind == "cgroup2":
            mounted.update((procfs.read(fields.split(" ")[4] + "/cgroup.controllers") or b"").decode().split())
    if "blkio" in mounted:  # its name on v1
        mounted.add("io")
    return [
        Check(
            name=f"{name} controller",
            ok=name in mounted,
            detail=what if name in mounted else f"{what}: the controller is not mounted or not in the kernel",
            hint="" if name in mounted else f"Mount it, or boot without cgroup_disable={name}.",
        )
        for name, what in _CONTROLLERS.items()
    ]


def _pressure(proc: str) -> Check:
    there = bool(procfs.pressure(proc))
    return Check(
        name="pressure (PSI)",
        ok=there,
        detail="shows who waits for CPU, memory and disk" if there else "not counted by this kernel",
        hint="" if there else "Boot with psi=1 to see pressure.",
    )


def _overlay(proc: str, config: dict[str, str] | None) -> Check:
    there: bool | None = "overlay" in procfs.filesystems(proc)
    detail = "writable layers over read-only images"
    if not there and (config is None or "CONFIG_OVERLAY_FS" in config):
        there, detail = (True, "a module, loaded when needed") if config else (None, "not loaded; it may be a module")
    elif not there:
        detail = "this kernel does not have it"
    return Check(name="overlay file system", ok=there, detail=detail, hint="" if there else "Run: modprobe overlay")


def _seccomp(proc: str) -> Check:
    actions = procfs.read(f"{proc}/sys/kernel/seccomp/actions_avail")
    return Check(
        name="seccomp filters",
        ok=actions is not None,
        detail="system call filters" if actions is not None else "this kernel does not have them",
        hint="" if actions is not None else _OTHER_KERNEL,
    )


_MODULES = (
    ("bridge", "the network between sandboxes", "CONFIG_BRIDGE"),
    ("veth", "cables into sandboxes", "CONFIG_VETH"),
    ("nf_tables", "address translation and firewall", "CONFIG_NF_TABLES"),
    ("nf_nat", "address translation", "CONFIG_NF_NAT"),
    ("sch_tbf", "network rates", "CONFIG_NET_SCH_TBF"),
)


def _module(name: str, what: str, option: str, sys: str, config: dict[str, str] | None) -> Check:
    """Loaded or built in with parameters shows in /sys/module; else only the configuration can tell."""
    there: bool | None
    if os.path.isdir(f"{sys}/module/{name}"):
        there, detail = True, what
    elif config is None:
        there, detail = None, f"{what}: not loaded now; it may be a module"
    elif option in config:
        there, detail = True, what if config[option] == "y" else f"{what}: a module, loaded when needed"
    else:
        there, detail = False, f"{what}: this kernel does not have it ({option})"
    return Check(name=name, ok=there, detail=detail, hint="" if there else f"Run: modprobe {name}")


def _forwarding(proc: str) -> Check:
    on = _number(f"{proc}/sys/net/ipv4/ip_forward")
    return Check(
        name="IPv4 forwarding",
        ok=None if on is None else on == 1,
        detail="sandboxes can reach other networks" if on == 1 else "off: sandboxes reach only this host",
        hint="" if on == 1 else "Run: sysctl -w net.ipv4.ip_forward=1",
    )


def _config_known(config: dict[str, str] | None) -> Check:
    return Check(
        name="kernel configuration",
        ok=None if config is None else True,
        detail="readable" if config else "neither /proc/config.gz nor /boot/config-* can be read",
        hint="" if config else "Unknown lines above are settled by trying.",
    )
