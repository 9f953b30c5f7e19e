"""Who a Docker container's programs run as: its user's name looked up in its own /etc/passwd and /etc/group, as Docker does.

Both files are the container's and may be anything: they are opened without leaving its root, and only plain files are read.
Blocking; call it in a thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import Unsupported
from ..kernel import syscalls as sc

MAX_FILE = 1 << 20  # bytes of passwd or group that are looked at
MAX_ID = (1 << 32) - 2


@dataclass(frozen=True, slots=True)
class User:
    """``groups`` are the supplementary ones, the own among them."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def look_up(pid: int, wanted: str) -> User:
    """``wanted`` is Docker's word: "", "name", "1000", "name:group", "1000:1000". Unsupported when there is no such user."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        accounts, groups = (_rows(root, f"etc/{name}", least) for name, least in (("passwd", 6), ("group", 4)))
    finally:
        os.close(root)
    name, _, group = wanted.partition(":")
    name = name or "0"
    row = next((row for row in accounts if row[0] == name or (row[2] == name and name.isdigit())), None)
    uid, gid, home, login = (_number(name), 0, "/", "") if row is None else (_number(row[2]), _number(row[3]), row[5], row[0])
    if uid is None or gid is None:
        raise Unsupported(f"The container has no user {name[:64]}.", hint="Its /etc/passwd does not name one.")
    more: Iterable[int | None] = ()
    if group:
        gid = next((_number(row[2]) for row in groups if row[0] == group), _number(group))
        if gid is None:
            raise Unsupported(f"The container has no group {group[:64]}.", hint="Its /etc/group does not name one.")
    elif login:
        more = (_number(row[2]) for row in groups if login in row[3].split(","))
    return User(uid, gid, tuple(sorted({gid, *(found for found in more if found is not None)})), home or "/")


def _rows(root: int, path: str, least: int) -> list[list[str]]:
    try:
        resolve = sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_MAGICLINKS
        fd = sc.openat2(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, resolve=resolve)
    except OSError:  # a container without accounts, such as a distroless one
        return []
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        text = file.read(MAX_FILE).decode(errors="replace")
    return [row for line in text.splitlines() if len(row := line.split(":")) >= least]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= MAX_ID else None
