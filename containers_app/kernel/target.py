"""Another container's files, shown under /target. Standard library only; the keeper runs this. Source: open_tree(2)."""

from __future__ import annotations

from dataclasses import dataclass

from . import syscalls as sc
from .joining import made_by_a_child
from .operation import Operation, Stage
from .rootfs import attach

PLACE = "/target"
_VIEW = "target"


@dataclass(frozen=True, slots=True)
class PrepareTarget(Operation):
    """A detached copy of all mounts below the root of another mount namespace, whose descriptor has this ``index``."""

    index: int

    def execute(self, stage: Stage) -> None:
        def copy() -> int:
            sc.setns(stage.fds[self.index], sc.CLONE_NEWNS)
            return sc.open_tree(sc.AT_FDCWD, "/", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_RECURSIVE)

        tree = made_by_a_child(copy, "the target's files")
        sc.mount_setattr(tree, set_=sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV, recursive=True)
        stage.views[_VIEW] = tree

    def describe(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class AttachTarget(Operation):
    def execute(self, stage: Stage) -> None:
        attach(stage.views.pop(_VIEW), stage, PLACE)

    def describe(self) -> list[str]:
        return [f"mount --rbind -o nosuid,nodev /proc/$FIRST/root $ROOT{PLACE}"]
