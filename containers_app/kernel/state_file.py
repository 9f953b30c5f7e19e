"""A small file of state in its last two versions, numbered: what cuts one short, a kill or a power cut, leaves the other.

    PATH        the version that was written last; without it there is no such state
    PATH.new    the one before it. Where only one can be read that one counts, else the one with the higher number

One can't be read when it was cut short, or when the disk, or a lack of memory or descriptors, keeps it from us at this moment.

A version is written over the one before the last and then takes the last one's place, in one step (renameat2): a new file each
time, or one emptied first, would be written to the disk at once by ext4, which takes milliseconds. A full disk mostly takes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from . import syscalls as sc


class Versioned(Protocol):
    @property
    def version(self) -> int:
        """How often it was written."""


State = TypeVar("State", bound=Versioned)


def write(path: str, data: bytes) -> None:
    """Whole or not at all, whoever is killed when; ``sync`` makes it outlive a power cut too. OSError when the disk refuses."""
    try:
        _write_over(path + ".new", data)
    except OSError:
        if not os.path.exists(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + ".new")
        raise
    try:
        sc.exchange(path + ".new", path)
    except FileNotFoundError:  # the first
        os.rename(path + ".new", path)


def read(path: str, decode: Callable[[bytes], State]) -> State:
    """``decode`` raises ValueError for what was cut short.

    FileNotFoundError: there is none. Where none can be read: the OSError that kept the last version from us, or ValueError.
    """
    last, before = _decoded(path, decode), None
    with contextlib.suppress(FileNotFoundError):
        before = _decoded(path + ".new", decode)
    if (
        before is not None
        and not isinstance(before, Exception)
        and (isinstance(last, Exception) or before.version > last.version)
    ):
        with contextlib.suppress(OSError):  # so that what is written next goes over the other one
            sc.exchange(path + ".new", path)
        return before
    if isinstance(last, Exception):
        raise last
    return last


def _decoded(path: str, decode: Callable[[bytes], State]) -> State | OSError | ValueError:
    """The error where it can't be read. Raises FileNotFoundError."""
    try:
        with open(path, "rb") as file:
            return decode(file.read())
    except FileNotFoundError:
        raise
    except OSError as error:
        return error
    except ValueError as error:
        return ValueError(f"{path} can't be read: {error}")


def sync(paths: Iterable[str]) -> None:
    """Wait until the disk has these files, or directories. Milliseconds."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # it has been removed meanwhile
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def remove(path: str) -> None:
    """No error when there is none. Killed in between, there is none either."""
    for one in (path, path + ".new"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(one)


def _write_over(path: str, data: bytes) -> None:
    """A small file, whole; of one that was there nothing is left."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
