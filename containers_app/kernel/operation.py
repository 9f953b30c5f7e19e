"""One step of a launch: an object that can be carried out and told. Standard library only; the keeper runs these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


def _nothing() -> None:
    """The default of a word that nobody waits for."""


@dataclass(slots=True)
class Stage:
    """What the steps of one launch hand to each other. Parent and child have one each."""

    pid: int = 0  # parent's side: the child's host pid
    fds: tuple[int, ...] = ()  # what the worker sent along with the plan
    tasks: tuple[int, ...] = ()  # child's side: the tasks files of its v1 cgroups, opened by the keeper
    mounts: list[int] = field(default_factory=list)  # detached mounts; made by the parent, attached by the child
    spent: list[int] = field(default_factory=list)  # parent's side: mounts of use no more, which the child is to let go of
    views: dict[str, int] = field(default_factory=dict)  # detached mounts that the helper made, by namespace type
    root: int = -1  # child's side: the new root, as an O_PATH descriptor
    settings: int = -1  # child's side: /proc/sys/net/ipv6/conf, kept from before the root was changed
    terminal: int = -1  # child's side: the pty master, to be handed out
    made: dict[str, list[int]] = field(default_factory=dict)  # child's side: detached mounts of ``make_ready``, by step
    await_link: Callable[[], None] = _nothing
    await_root: Callable[[], None] = _nothing
    about_to_run: Callable[[], None] = _nothing


class Operation:
    """``execute`` raises OSError; ``describe`` gives the shell commands that would do the same."""

    __slots__ = ()

    def make_ready(self, stage: Stage) -> None:
        """The child's: what it can do already while it waits for its root. Each step's once, in their order."""

    def execute(self, stage: Stage) -> None:
        raise NotImplementedError

    def describe(self) -> list[str]:
        raise NotImplementedError
