"""The last look at an unpacked root, from inside: what every sandbox needs there, who its user is, how large it is."""

from __future__ import annotations

import os
import stat

from ...errors import InvalidInput

_NEEDED = {"proc": 0o555, "sys": 0o555, "dev": 0o755, "run": 0o755, "tmp": 0o1777, "etc": 0o755}
_LONGEST = 1 << 20  # bytes of passwd or group that are read


def complete(user: str) -> dict[str, str]:
    """Makes the directories that are mounted on. Returns size in bytes and user as uid:gid."""
    for name, mode in _NEEDED.items():
        if not os.path.lexists(f"/{name}"):
            os.mkdir(f"/{name}")
            os.chmod(f"/{name}", mode)
    return {"size": str(size_of("/")), "user": resolve_user(user)}


def size_of(top: str) -> int:
    """Bytes of its regular files; those with several names count once."""
    total, seen = 0, set()
    for directory, _, names in os.walk(top):
        for name in names:
            facts = os.lstat(os.path.join(directory, name))
            if stat.S_ISREG(facts.st_mode) and facts.st_ino not in seen:
                total += facts.st_size
                if facts.st_nlink > 1:
                    seen.add(facts.st_ino)
    return total


def resolve_user(words: str) -> str:
    """ "www-data", "1000", "1000:staff" → "uid:gid" by the image's own passwd and group. Raises InvalidInput."""
    user, _, group = words.partition(":")
    row = next((row for row in _rows("/etc/passwd", 4) if user and user in (row[0], row[2])), None)
    uid = int(user) if user.isascii() and user.isdigit() else int(row[2]) if row is not None else None
    if user in ("", "root"):
        uid = 0
    gid: int | None = int(row[3]) if row is not None else 0
    if group:
        found = next((row for row in _rows("/etc/group", 3) if row[0] == group), None)
        gid = int(group) if group.isascii() and group.isdigit() else int(found[2]) if found is not None else None
    if uid is None or gid is None or not 0 <= uid <= 65535 or not 0 <= gid <= 65535:
        raise InvalidInput(f"The image's user “{words[:100]}” is not in it.", code="invalid_layout", hint="Correct its passwd.")
    return f"{uid}:{gid}"


def _rows(path: str, least: int) -> list[list[str]]:
    """Fields of lines; those that are too short, or whose numbers are none, are not there."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            text = file.read(_LONGEST).decode(errors="replace")
    except OSError:
        return []
    rows = (line.split(":") for line in text.splitlines())
    return [row for row in rows if len(row) >= least and all(part.isascii() and part.isdigit() for part in row[2:least])]
