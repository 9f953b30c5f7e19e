"""The web half's system user and its range of sub-ids, one for each panel.

A range is 1,024 blocks of 65,536 ids. They are taken from 0x70000000 up, which systemd's map of uids leaves free
(https://systemd.io/UIDS-GIDS), then downwards. Ids from 2**31 on are avoided: some programs read them as negative.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .console import Refused, say
from .instance import Instance

COUNT = 65536 * 1024
FIRST = 0x70000000
BASES: tuple[int, ...] = (*range(FIRST, (1 << 31) - 2 * COUNT + 1, COUNT), *range(FIRST - COUNT, COUNT - 1, -COUNT))
_FILES = ("subuid", "subgid")


def ensure(instance: Instance) -> Instance:
    """Make the user, its group and its ranges where they are missing. Returns the instance with the ids filled in."""
    with _locked():
        if not _exists(instance.user):
            say(f"Making the system user {instance.user} …")
            same = ["--uid", str(instance.uid)] if instance.uid > 0 and _free(instance.uid) else []
            _run(
                "useradd",
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                str(instance.data / "web"),
                "--shell",
                "/usr/sbin/nologin",
                "--comment",
                "Terrarium's web half",
                *same,
                instance.user,
            )
        user = pwd.getpwnam(instance.user)
        base = registered_base(instance.user)
        if base is None:
            base = _choose_base(instance.ids_base)
            last = base + COUNT - 1
            _run("usermod", "--add-subuids", f"{base}-{last}", "--add-subgids", f"{base}-{last}", instance.user)
        return dataclasses.replace(instance, uid=user.pw_uid, gid=user.pw_gid, ids_base=base)


def check(instance: Instance) -> None:
    """That the name is free, or the user is the one that an earlier deploy/up made. Changes nothing."""
    if _exists(instance.user) and pwd.getpwnam(instance.user).pw_dir != str(instance.data / "web"):
        raise Refused(
            f"There is a user {instance.user} that is not the panel's: choose another --data, whose user has another name."
        )


def remove(instance: Instance) -> None:
    """The user, its group and its ranges; nothing when there are none, or when the user is not the one that we made."""
    with _locked():
        with contextlib.suppress(KeyError):
            if pwd.getpwnam(instance.user).pw_dir == str(instance.data / "web"):
                _run("userdel", instance.user)
        with contextlib.suppress(KeyError):
            if not grp.getgrnam(instance.user).gr_mem and not _exists(instance.user):
                _run("groupdel", instance.user)
        for name in _FILES:
            if not _exists(instance.user) and any(entry[0] == instance.user for entry in _entries(name)):
                _drop_entries(name, instance.user)


def registered_base(user: str) -> int | None:
    """Where the user's full range begins, if it has one in both files."""
    uids, gids = ({first for name, first, count in _entries(file) if name == user and count >= COUNT} for file in _FILES)
    return min(uids & gids, default=None)


def _choose_base(preferred: int) -> int:
    """The first range that touches no sub-id and no user or group of this machine."""
    taken = [(first, first + count) for file in _FILES for _name, first, count in _entries(file)]
    taken += [(user.pw_uid, user.pw_uid + 1) for user in pwd.getpwall()]
    taken += [(group.gr_gid, group.gr_gid + 1) for group in grp.getgrall()]
    for base in (preferred, *BASES):
        if base > 0 and all(end <= base or base + COUNT <= first for first, end in taken):
            return base
    raise Refused(f"No {COUNT} ids in a row are free in /etc/subuid and /etc/subgid: remove entries that are no longer used.")


def _entries(file: str) -> list[tuple[str, int, int]]:
    """(name, first id, count) of each line of /etc/subuid or /etc/subgid. subuid(5)"""
    entries = []
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/etc", file).read_text().splitlines():
            with contextlib.suppress(ValueError):
                name, first, count = line.strip().split(":")
                entries.append((name, int(first), int(count)))
    return entries


def _drop_entries(file: str, user: str) -> None:
    """For an old userdel, which leaves them."""
    path = Path("/etc", file)
    kept = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith(f"{user}:")]
    temporary = path.with_name(f"{file}.terrarium")
    temporary.write_text("".join(kept))
    shutil.copystat(path, temporary)
    temporary.replace(path)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _free(uid: int) -> bool:
    return all(user.pw_uid != uid for user in pwd.getpwall()) and all(group.gr_gid != uid for group in grp.getgrall())


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Two panels that are set up at once must not choose the same range. The directory itself is locked: no file is left."""
    descriptor = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _run(*argv: str) -> None:
    path = os.pathsep.join(("/usr/sbin", "/sbin", os.environ.get("PATH", "/usr/bin:/bin")))
    program = shutil.which(argv[0], path=path)
    if program is None:
        raise Refused(f"The program {argv[0]} is missing: install the package passwd (or shadow), then run this again.")
    ran = subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise Refused(
            f"{argv[0]} failed ({(ran.stderr.strip().splitlines() or [str(ran.returncode)])[-1]}): see to it and run this again."
        )
