"""A sandbox's root: its own layer over a read-only image. Standard library only; the keeper runs this.

Sources: Documentation/filesystems/{overlayfs,idmappings}.rst, fsconfig(2), mount_setattr(2).
"""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import dataclass

from . import syscalls as sc
from .operation import Operation, Stage
from .rootfs import new_mount

OVERLAY_TAKES_DESCRIPTORS = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 13)


@dataclass(frozen=True, slots=True)
class PrepareOverlay(Operation):
    """An overlay of a read-only image and the sandbox's own layer, its files owned by the sandbox's root.

    The image keeps its host ids on disk: it is seen through an id-mapped mount of the child's user namespace. The upper
    layer already belongs to the mapped root. Kernels before 6.13 take no descriptors: there the image is attached for a
    moment at ``seat``, a directory made for it, so that overlayfs finds it by path.
    """

    image: str
    upper: str
    work: str
    seat: str
    mapped: bool

    def execute(self, stage: Stage) -> None:
        tree = sc.open_tree(sc.AT_FDCWD, self.image, sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC)
        stage.spent.append(tree)
        if self.mapped:
            namespace = os.open(f"/proc/{stage.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            try:
                sc.mount_setattr(tree, set_=sc.MOUNT_ATTR_IDMAP | sc.MOUNT_ATTR_RDONLY, userns_fd=namespace)
            finally:
                os.close(namespace)
        stage.mounts.append(self._over_descriptor(tree) if OVERLAY_TAKES_DESCRIPTORS else self._over_seat(tree))

    def _over_descriptor(self, tree: int) -> int:
        context = sc.fsopen("overlay")
        try:
            sc.fsconfig(context, sc.FSCONFIG_SET_FD, "lowerdir+", None, tree)
            for key, value in (("source", "terrarium"), ("upperdir", self.upper), ("workdir", self.work)):
                sc.fsconfig(context, sc.FSCONFIG_SET_STRING, key, value)
            sc.fsconfig(context, sc.FSCONFIG_CMD_CREATE)
            return sc.fsmount(context, sc.MOUNT_ATTR_NODEV)
        finally:
            os.close(context)

    def _over_seat(self, tree: int) -> int:
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.seat)
        sc.move_mount(tree, sc.AT_FDCWD, self.seat)
        try:
            options = {"source": "terrarium", "lowerdir": self.seat, "upperdir": self.upper, "workdir": self.work}
            return new_mount("overlay", sc.MOUNT_ATTR_NODEV, **options)
        finally:
            sc.umount2(self.seat, sc.MNT_DETACH)

    def describe(self) -> list[str]:
        seat, image = shlex.quote(self.seat), shlex.quote(self.image)
        how = f"-o X-mount.idmap=/proc/$PID/ns/user {image}" if self.mapped else image
        return [
            f"mount --bind {how} {seat}",
            f"mount -t overlay terrarium -o nodev,lowerdir={seat},upperdir={self.upper},workdir={self.work} $ROOT",
            f"umount -l {seat}",
        ]
