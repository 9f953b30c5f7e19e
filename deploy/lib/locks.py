"""One running panel per data directory and per run directory, by flock(2): the kernel gives a lock up when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .console import Refused
from .instance import Instance, owner_of_run


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. ``pid`` 0 and ``url`` "" while it is still starting."""

    pid: int
    url: str
    data: str


def holder(directory: Path) -> Holder | None:
    """Who runs a panel on this directory now. Changes nothing."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            said = json.loads(os.read(descriptor, 4096))
            return Holder(int(said["pid"]), str(said["url"]), str(said["data"]))
        except (ValueError, KeyError, TypeError):
            return Holder(0, "", "")
    finally:
        os.close(descriptor)
    return None


def check_free(instance: Instance) -> None:
    """Refuses a data or run directory that another panel uses, running or not."""
    for word, directory in (("data", instance.data), ("run", instance.run)):
        if (found := holder(directory)) is not None:
            where = f" at {found.url}" if found.url else ""
            raise Refused(
                f"A panel already runs{where} on the {word} directory {directory}: "
                f"stop it with deploy/down --data {found.data or instance.data}, or choose another --{word}."
            )
    owner = owner_of_run(instance.run)
    if owner is not None and owner != instance.data and (owner / "instance.json").exists():
        raise Refused(
            f"The run directory {instance.run} belongs to the panel with the data directory {owner}: "
            f"choose another --run, or remove that panel with deploy/down --all --data {owner}."
        )


def take(instance: Instance) -> list[int]:
    """Lock both directories for as long as the returned descriptors are open somewhere. Refused when another was quicker."""
    text = json.dumps({"pid": os.getpid(), "url": instance.url, "data": str(instance.data)})
    descriptors = []
    for directory in (instance.data, instance.run):
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"Another deploy/up or deploy/down is at work on {directory}: wait for it, then run this again."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
        descriptors.append(descriptor)
    return descriptors
