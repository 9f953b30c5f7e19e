"""Removing a directory with all that is in it, however deep that goes, also while somebody is making files there.

A sandbox nests its directories as it likes, and whoever has joined its mount namespace can make and move files there while they
are removed. So nothing here recurses, and no path is longer than a name: a walk has one directory open, besides the top. It goes
up by "..", and only to where it came from; what lies too deep it moves to the top, for the next walk. It follows no link, and
what something is mounted on stays: to rmdir(2) that is busy, empty or not, and it is asked before a directory is entered.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import time

DEEPEST = 4096  # levels of one walk: what it has to remember is bounded
LONGEST = 5.0  # seconds that further walks begin in, after the first: who makes files for ever does not keep us for ever
_MEANWHILE = {errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESTALE}  # something was made or moved
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_log = logging.getLogger(__name__)


def remove(path: str) -> None:
    """A file too; what is not there is no error. Raises OSError for the first thing that stays, when all else is gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        _remove_directory(path)


def clear_away(path: str) -> None:
    """The same for what the next start removes too: what stays is logged. Never raises."""
    try:
        remove(path)
    except OSError as error:
        _log.warning("%s can't be removed whole: %s", path, error)


def _remove_directory(path: str) -> None:
    until = math.inf
    while time.monotonic() < until:
        error = _take(path, True)
        if error is None or error.errno == errno.ENOENT:
            return
        if error.errno != errno.ENOTEMPTY:
            raise error
        for error in _empty(path):
            if error.errno not in _MEANWHILE:
                raise error
        until = min(until, time.monotonic() + LONGEST)
    os.rmdir(path)


def _empty(path: str) -> list[OSError]:
    """One walk, depth first. Returns why what is left could not be removed."""
    left: list[OSError] = []
    top = os.open(path, _ENTER)
    here = os.dup(top)
    way: list[tuple[int, int]] = []  # which directories are above this one
    full = [_sweep(here, left)]  # of each of them, and of this one: the directories in it that are yet to be emptied
    try:
        while way or full[-1]:
            if not full[-1]:
                up = os.open("..", _ENTER, dir_fd=here)
                os.close(here)
                here = up
                if _identity(here) != way.pop():
                    return [*left, OSError(errno.ESTALE, "moved while it was emptied", path)]
                full.pop()
                _note(_take(full[-1].pop(), True, here), left)
            elif len(way) == DEEPEST:
                _note(_raise(full[-1].pop(), here, top), left)
            else:
                try:
                    inside = os.open(full[-1][-1], _ENTER, dir_fd=here)
                except OSError as error:
                    _note(error, left)
                    full[-1].pop()
                    continue
                way.append(_identity(here))
                os.close(here)
                here = inside
                full.append(_sweep(here, left))
    finally:
        os.close(here)
        os.close(top)
    return left


def _sweep(directory: int, left: list[OSError]) -> list[str]:
    """Removes what is in it. Returns the names of the directories that have something in them."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        _note(error, left)
        return []
    full: list[str] = []
    for name, is_directory in found:
        refused = _take(name, is_directory, directory)
        if refused is not None and is_directory and refused.errno == errno.ENOTEMPTY:
            full.append(name)
        else:
            _note(refused, left)
    return full


def _take(name: str, is_directory: bool, directory: int | None = None) -> OSError | None:
    try:
        (os.rmdir if is_directory else os.unlink)(name, dir_fd=directory)
    except OSError as error:
        return error
    return None


def _raise(name: str, directory: int, top: int) -> OSError | None:
    try:
        os.rename(name, os.urandom(16).hex(), src_dir_fd=directory, dst_dir_fd=top)
    except OSError as error:
        return error
    return None


def _note(error: OSError | None, left: list[OSError]) -> None:
    if error is not None and error.errno != errno.ENOENT:  # gone already: that is what was wanted
        left.append(error)


def _identity(directory: int) -> tuple[int, int]:
    facts = os.fstat(directory)
    return facts.st_dev, facts.st_ino
