"""Several values written into control groups' files: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...errors import TerrariumError
from . import files
from .files import Write


def write_all(plan: Iterable[Write], explain: Callable[[Write, OSError], TerrariumError]) -> None:
    """In order. What the kernel refuses is raised as ``explain`` words it, once all before it are as they were."""
    done: list[Write] = []
    for write in plan:
        try:
            files.write(write.path, write.value)
        except OSError as error:
            _put_back(done)
            raise explain(write, error) from None
        done.append(write)


def _put_back(done: list[Write]) -> None:
    """In the opposite order. A group that is gone meanwhile needs nothing back."""
    for write in reversed(done):
        if write.before or write.limit == "cpuset":
            try:
                files.write(write.path, write.before)
            except OSError:
                continue
