"""Mounts as the kernel has them in a process's mount namespace, below its root: /proc/PID/mountinfo, proc(5)."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """``root`` is the part of the file system that is mounted; ``propagation`` as findmnt(8) says it."""

    id: int
    parent: int
    device: str  # major:minor
    root: str
    target: str
    options: tuple[str, ...]  # of this mount
    propagation: str  # private | shared | slave | "shared,slave" | unbindable
    type: str
    source: str
    super_options: tuple[str, ...]  # of the file system


def mounts(pid: int | str, proc: str = "/proc") -> list[MountEntry]:
    """In the kernel's order: what is mounted over comes before what covers it. [] when the process is gone."""
    try:
        with open(f"{proc}/{pid}/mountinfo", "rb") as file:
            return [parse(line.decode(errors="backslashreplace")) for line in file]
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError as error:
        if error.errno == errno.EINVAL:  # it has let go of its mount namespace and ends
            return []
        raise


def parse(line: str) -> MountEntry:
    fields, _, rest = line.rstrip("\n").partition(" - ")
    number, parent, device, root, target, options, *tags = fields.split(" ")
    kind, source, super_options = rest.split(" ", 2)
    names = {tag.split(":")[0] for tag in tags}
    spread = [word for tag, word in (("shared", "shared"), ("master", "slave"), ("unbindable", "unbindable")) if tag in names]
    return MountEntry(
        int(number), int(parent), device, _plain(root), _plain(target), tuple(options.split(",")), ",".join(spread) or "private",
        kind, _plain(source), tuple(super_options.split(",")) if super_options else (),
    )  # fmt: skip


def _plain(word: str) -> str:
    """Space, tab, newline and backslash are written as octal."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), word)
