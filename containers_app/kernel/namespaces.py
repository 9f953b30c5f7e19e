"""Namespaces: which ones a process is in, who owns them, and the graph of all that containers use.

An inode number names a namespace (namespaces(7)); the owning user namespace and the parent of pid and user namespaces come
from ioctls on its file (ioctl_ns(2)). Processes may end at any time: they are left out then.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import NotFound
from ..spec import NAMESPACE_TYPES
from . import procfs
from .syscalls import CLONE_FLAGS

NS_GET_USERNS, NS_GET_PARENT, NS_GET_NSTYPE = 0xB701, 0xB702, 0xB703
_NESTED = ("pid", "user")  # the types that have parents


@dataclass(frozen=True, slots=True)
class Namespace:
    """``owner`` is the inode of the user namespace that owns it, ``parent`` that of its parent; None: none, or not seen."""

    type: str
    inode: int
    initial: bool
    owner: int | None
    parent: int | None


@dataclass(frozen=True, slots=True)
class IdMap:
    """Lines of (first id inside, first id outside as the reader sees it, count); () when not yet written."""

    uid: tuple[tuple[int, int, int], ...]
    gid: tuple[tuple[int, int, int], ...]

    @property
    def text(self) -> str:
        """The uid map as the kernel shows it: "0 1000000 65536"; "" when it maps everything to itself."""
        return "" if self.uid == ((0, 0, 4294967295),) else ", ".join("{} {} {}".format(*line) for line in self.uid)


def namespaces_of(pid: int | str, proc: str = "/proc") -> dict[str, int]:
    """Type → inode. NotFound when the process is gone; a zombie has {} (its namespaces are let go already)."""
    found: dict[str, int] = {}
    for kind in NAMESPACE_TYPES:
        try:
            found[kind] = _inode(os.readlink(f"{proc}/{pid}/ns/{kind}"))
        except OSError:  # ended, a zombie, or a kernel without this type
            continue
    if not found and not os.path.isdir(f"{proc}/{pid}"):
        raise NotFound(f"There is no process {pid}.", hint="It may just have ended.")
    return found


def _inode(link: str) -> int:
    """ "net:[4026531840]" → 4026531840."""
    return int(link[link.index("[") + 1 : -1])


def initial(proc: str = "/proc") -> dict[str, int]:
    """The host's own namespaces: those of its first process. They are the same until the next boot.

    Reading them needs all the capabilities that process 1 has (ptrace(2), access mode). Where root has fewer, as in some
    virtual machines, the kernel's own thread number 2 tells the same; where there is none, our own are the best answer.
    """
    return dict(_initial(proc))


@lru_cache(maxsize=4)
def _initial(proc: str) -> dict[str, int]:
    found = namespaces_of(1, proc)
    if len(found) < len(NAMESPACE_TYPES):
        kernel_thread = procfs.process(2, proc)
        if kernel_thread is not None and kernel_thread.name == "kthreadd":
            found = namespaces_of(2, proc) | found
    return found or namespaces_of("self", proc)


def id_map(pid: int, proc: str = "/proc") -> IdMap:
    """The id maps of its user namespace (user_namespaces(7)). NotFound when the process is gone."""
    maps: list[tuple[tuple[int, int, int], ...]] = []
    for name in ("uid_map", "gid_map"):
        data = procfs.read(f"{proc}/{pid}/{name}")
        if data is None:
            raise NotFound(f"There is no process {pid}.", hint="It may just have ended.")
        lines = (line.split() for line in data.splitlines())
        maps.append(tuple((int(inside), int(outside), int(count)) for inside, outside, count in lines))
    return IdMap(maps[0], maps[1])


def details(pid: int) -> list[Namespace]:
    """All namespaces of a process with owner and parent. NotFound when it is gone."""
    host = initial()
    return [_relations(kind, inode, f"/proc/{pid}/ns/{kind}", host) for kind, inode in namespaces_of(pid).items()]


def _relations(kind: str, inode: int, path: str, host: Mapping[str, int]) -> Namespace:
    owner = parent = None
    try:
        with _opened(path) as fd:
            owner = _related(fd, NS_GET_USERNS)
            parent = _related(fd, NS_GET_PARENT) if kind in _NESTED else None
    except OSError:  # the process ended since
        owner = parent = None
    return Namespace(kind, inode, inode == host.get(kind), owner, parent)


def is_namespace(fd: int, kind: str) -> bool:
    """Whether an open file is a namespace of this type."""
    try:
        return fcntl.ioctl(fd, NS_GET_NSTYPE) == CLONE_FLAGS[kind]
    except OSError:  # ENOTTY: an ordinary file
        return False


def member(kind: str, inode: int) -> int | None:
    """The pid of some process in a namespace, None where there is none. A look at every process: milliseconds."""
    return Scan().member.get((kind, inode))


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _related_fd(fd: int, request: int) -> int | None:
    """An fd of the owner or parent; None when there is none or it is outside of what we may see (EPERM)."""
    try:
        return fcntl.ioctl(fd, request)
    except OSError:
        return None


def _related(fd: int, request: int) -> int | None:
    other = _related_fd(fd, request)
    if other is None:
        return None
    try:
        return os.fstat(other).st_ino
    finally:
        os.close(other)


# -- the graph -----------------------------------------------------------------------------------------------------


class Scan:
    """One pass over all processes: for each namespace how many processes it has, and one of them to ask by."""

    def __init__(self, proc: str = "/proc") -> None:
        self.processes: dict[tuple[str, int], int] = {}
        self.member: dict[tuple[str, int], int] = {}
        self.of: dict[int, dict[str, int]] = {}  # pid → its namespaces, by type
        readlink = os.readlink
        known: dict[str, tuple[str, int]] = {}  # the link's text → key: the same few texts come thousands of times
        for pid in procfs.all_pids(proc):
            mine: dict[str, int] = {}
            folder = f"{proc}/{pid}/ns/"
            for kind in NAMESPACE_TYPES:
                try:
                    link = readlink(folder + kind)
                except OSError:  # ended, or a zombie
                    continue
                key = known.get(link)
                if key is None:
                    key = known[link] = (kind, _inode(link))
                    self.member[key] = pid
                mine[kind] = key[1]
                self.processes[key] = self.processes.get(key, 0) + 1
            self.of[pid] = mine


Entry = tuple[str, str, str, Iterable[int]]  # name, engine, state, host pids (its first process first)


def graph(containers: Mapping[str, Entry], hostname: str = "") -> dict[str, Any]:
    """Nodes and edges of ``GET /namespaces``: the host, the containers, their namespaces with owners and parents.

    Namespaces that no container is in are shown only when they are the host's own or own a shown one.
    """
    scan = Scan()
    host = initial()
    nodes: list[dict[str, Any]] = [{"id": "host", "kind": "host", "name": hostname or os.uname().nodename}]
    edges: list[dict[str, str]] = []
    shown: dict[tuple[str, int], None] = dict.fromkeys(host.items())
    edges += [{"source": "host", "target": f"ns:{kind}:{inode}", "type": kind} for kind, inode in host.items()]
    for container, (name, engine, state, pids) in containers.items():
        members = [pid for pid in pids if pid in scan.of]
        nodes.append(
            {
                "id": f"container:{container}",
                "kind": "container",
                "container": container,
                "name": name,
                "engine": engine,
                "state": state,
                "pid": members[0] if members else 0,
            }
        )
        used = dict.fromkeys(item for pid in members for item in scan.of[pid].items())
        shown.update(used)
        edges += [{"source": f"container:{container}", "target": f"ns:{kind}:{inode}", "type": kind} for kind, inode in used]
    namespaces = _with_relatives(shown, scan, host)
    nodes += [
        {
            "id": f"ns:{ns.type}:{ns.inode}", "kind": "namespace", "type": ns.type, "inode": ns.inode, "initial": ns.initial,
            "owner": f"ns:user:{ns.owner}" if ns.owner else None,
            "parent": f"ns:{ns.type}:{ns.parent}" if ns.parent else None,
            "processes": scan.processes.get((ns.type, ns.inode), 0),
        }
        for ns in namespaces.values()
    ]  # fmt: skip
    return {"nodes": nodes, "edges": edges}


def _with_relatives(shown: Iterable[tuple[str, int]], scan: Scan, host: Mapping[str, int]) -> dict[tuple[str, int], Namespace]:
    """The namespaces shown, and every owner and parent up to the host's, also those that have no process (any more)."""
    found: dict[tuple[str, int], Namespace] = {}
    for kind, inode in shown:
        pid = scan.member.get((kind, inode))
        if pid is None:
            continue
        try:
            with _opened(f"/proc/{pid}/ns/{kind}") as fd:
                if os.fstat(fd).st_ino == inode:
                    _add(kind, fd, host, found)
        except OSError:  # the process ended since the scan
            continue
    return found


def _add(kind: str, fd: int, host: Mapping[str, int], found: dict[tuple[str, int], Namespace]) -> int:
    """Put the namespace behind ``fd`` and all its relatives into ``found``; returns its inode."""
    inode = os.fstat(fd).st_ino
    if (kind, inode) in found:
        return inode
    relatives: list[int | None] = []
    for request, relative in ((NS_GET_USERNS, "user"), (NS_GET_PARENT, kind)):
        other = _related_fd(fd, request) if request == NS_GET_USERNS or kind in _NESTED else None
        if other is None:
            relatives.append(None)
            continue
        try:
            relatives.append(_add(relative, other, host, found))
        finally:
            os.close(other)
    found[(kind, inode)] = Namespace(kind, inode, inode == host.get(kind), relatives[0], relatives[1])
    return inode
