"""What confines a process, in the kernel's own word: proc_pid_status(5), and the label of the security module."""

from __future__ import annotations

from typing import Any

from . import procfs, rlimits, security

_SECCOMP_MODES = {"0": "off", "1": "strict", "2": "filter"}


def read(pid: int) -> dict[str, Any]:
    """{} when the process is gone."""
    status = procfs.read(f"/proc/{pid}/status")
    if status is None:
        return {}
    rows = dict(line.split(":\t", 1) for line in status.decode(errors="replace").splitlines() if ":\t" in line)
    return {
        "capabilities": list(security.capability_set(int(rows.get("CapEff", "0"), 16))),
        "bounding": list(security.capability_set(int(rows.get("CapBnd", "0"), 16))),
        "no_new_privs": rows.get("NoNewPrivs") == "1",
        "seccomp": _SECCOMP_MODES.get(rows.get("Seccomp", ""), "unknown"),
        "seccomp_filters": int(rows.get("Seccomp_filters", "0")),
        "uid": rows.get("Uid", "").split("\t")[0],
        "lsm": _label(pid),
        "oom_score_adj": int(procfs.read(f"/proc/{pid}/oom_score_adj") or 0),
        "rlimits": _rlimits(pid),
    }


def _rlimits(pid: int) -> dict[str, list[int | None]]:
    """Name → [soft, hard], None for unlimited: rlimits.NAMES of the kernel's table. {} when the process is gone."""
    text = (procfs.read(f"/proc/{pid}/limits") or b"").decode()
    return {
        name: [None if value == rlimits.UNLIMITED else value for value in pair] for name, pair in rlimits.by_name(text).items()
    }


def _label(pid: int) -> str:
    """Of AppArmor or SELinux; "" where neither is there, which the kernel says by EINVAL."""
    try:
        return (procfs.read(f"/proc/{pid}/attr/current") or b"").rstrip(b"\0\n").decode(errors="replace")
    except OSError:
        return ""
