"""What deploy/down --all removes by itself, after the worker has removed what it knows: whatever died before, nothing stays.

Only what carries this panel's tag, or lies in its directories, is touched.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from containers_app.kernel import syscalls as sc

from . import unit
from .instance import Instance

_RTM_DELLINK, _NLM_F_REQUEST, _NLM_F_ACK = 17, 1, 4  # rtnetlink(7)
SECONDS = 10.0  # for processes to die and cgroups to become empty


def cgroups(instance: Instance) -> list[str]:
    """Kill what is in the panel's groups and remove them, in every hierarchy. Returns the groups that could not be removed."""
    tops = [place / f"terrarium-{instance.tag}" for place in (*map(Path, _hierarchies()), *unit.groups(instance))]
    deadline = time.monotonic() + SECONDS
    pause = 0.001
    while (left := [top for top in tops if top.is_dir()]) and time.monotonic() < deadline:
        for top in left:
            _kill(top)
            for directory, _names, _files in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
        time.sleep(pause)  # a killed process leaves its group when the kernel gets to it; there is no event on v1
        pause = min(pause * 2, 0.1)
    return [str(top) for top in tops if top.is_dir()]


def mounts(instance: Instance) -> list[str]:
    """Unmount all that is mounted below the data and the run directory. Returns what could not be."""
    for place in reversed(mounts_below(instance.data, instance.run)):
        with contextlib.suppress(OSError):
            sc.umount2(place, sc.MNT_DETACH)
    return mounts_below(instance.data, instance.run)


def mounts_below(*directories: Path) -> list[str]:
    """Mount points strictly inside, in the order in which they were mounted. proc_pid_mountinfo(5)"""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4].encode().decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
        if any(directory in Path(place).parents for directory in directories):
            found.append(place)
    return found


def links(instance: Instance) -> list[str]:
    """Delete the panel's bridge and veth pairs. Returns the names of those that stay."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        for index, name in socket.if_nameindex():
            if _is_ours(name, instance.tag):
                body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)  # struct ifinfomsg
                netlink.send(struct.pack("=IHHII", 16 + len(body), _RTM_DELLINK, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0) + body)
                netlink.recv(65536)
    return [name for _index, name in socket.if_nameindex() if _is_ours(name, instance.tag)]


def rules(instance: Instance) -> list[str]:
    """Delete the panel's firewall tables and its rules in iptables' chains. Returns what stays."""
    tables = [f"table {family} terrarium_{instance.tag}" for family in ("inet", "bridge")]
    for table in _standing(tables):
        _output("nft", "delete", *table.split())
    for program in ("iptables", "ip6tables"):
        for line in _output(program, "-w", "5", "-S").splitlines():
            words = shlex.split(line)
            if f"terrarium-{instance.tag}" in words and words[0] == "-A":
                _output(program, "-w", "5", "-D", *words[1:])
    return [f"the firewall's {table}" for table in _standing(tables)]


def _standing(tables: list[str]) -> list[str]:
    listed = _output("nft", "list", "tables").splitlines()
    return [table for table in tables if table in listed]


def _output(program: str, *words: str) -> str:
    path = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        return ""
    return subprocess.run([path, *words], capture_output=True, text=True, timeout=30, check=False).stdout


def _is_ours(name: str, tag: str) -> bool:
    return name == f"tr{tag}" or name.startswith(f"tr{tag}-")


def _hierarchies() -> list[str]:
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [fields[1] for fields in lines if fields[2] in ("cgroup", "cgroup2")]


def _kill(top: Path) -> None:
    for file in top.rglob("cgroup.procs"):
        for name, thawed in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):  # a frozen v1 process dies only when it thaws
            if (file.parent / name).exists():
                with contextlib.suppress(OSError):
                    (file.parent / name).write_text(thawed)
        with contextlib.suppress(OSError):
            for pid in file.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
