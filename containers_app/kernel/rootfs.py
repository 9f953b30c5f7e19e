"""Mount operations: the root file system of a sandbox, from the parent's overlay to the child's pivot.

Standard library only; the keeper runs this. No step walks a path inside the sandbox by name alone: targets are opened
under the new root by openat2 with RESOLVE_IN_ROOT and mounts are attached to that descriptor (CVE-2024-45310,
CVE-2025-31133, CVE-2025-52565). Sources: mount_namespaces(7), open_tree(2), move_mount(2), fsopen(2), pivot_root(2),
Documentation/filesystems/{overlayfs,idmappings}.rst.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import syscalls as sc
from .operation import Operation, Stage

STAGING = "/tmp"  # noqa: S108  covered in the sandbox's own mount namespace only, where the new root is attached first
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
DEVICE_LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx", "core": "/proc/kcore",
}  # fmt: skip
_SAFE = sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV | sc.MOUNT_ATTR_NOEXEC


def open_inside(root: int, target: str, *, make: str = "", links: bool = True) -> int:
    """An O_PATH descriptor of ``target`` below ``root``; no symbolic link leads out. ``make`` is "dir", "file" or "".

    Without ``links`` a symbolic link on the way is refused (ELOOP).
    """
    relative = target.strip("/") or "."
    resolve = sc.RESOLVE_IN_ROOT | (sc.RESOLVE_NO_MAGICLINKS if links else sc.RESOLVE_NO_SYMLINKS)
    try:
        return sc.openat2(root, relative, os.O_PATH, resolve=resolve)
    except FileNotFoundError:
        if not make:
            raise
    parent, _, name = relative.rpartition("/")
    holder = open_inside(root, parent, make="dir", links=links)
    try:
        if make == "dir":
            os.mkdir(name, 0o755, dir_fd=holder)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=holder))
    except FileExistsError:
        pass
    finally:
        os.close(holder)
    return sc.openat2(root, relative, os.O_PATH, resolve=resolve)


def new_mount(kind: str, attributes: int, **options: str) -> int:
    """A detached mount of a new file system."""
    context = sc.fsopen(kind)
    try:
        for key, value in options.items():
            if value:
                sc.fsconfig(context, sc.FSCONFIG_SET_STRING, key, value)
            else:
                sc.fsconfig(context, sc.FSCONFIG_SET_FLAG, key)
        sc.fsconfig(context, sc.FSCONFIG_CMD_CREATE)
        return sc.fsmount(context, attributes)
    finally:
        os.close(context)


def part_of(mount: int, name: str, attributes: int) -> int:
    """A detached mount of a directory below an attached one (or AT_FDCWD), with these attributes."""
    part = sc.open_tree(mount, name, sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC)
    sc.mount_setattr(part, set_=attributes)
    return part


def attach(mount: int, stage: Stage, target: str, *, make: str = "dir", links: bool = False) -> None:
    """Attach a detached mount to a path inside the new root, and close it.

    Only what the user places may go through the image's symbolic links: were /proc one, then the names of the paths that
    are masked afterwards need not lead to the proc that was mounted.
    """
    try:
        place = open_inside(stage.root, target, make=make, links=links)
    except OSError:
        os.close(mount)
        raise
    try:
        if links and os.path.samestat(os.fstat(place), os.fstat(stage.root)):
            raise OSError(22, f"{target} leads to the root itself")
        sc.move_mount(mount, place, "", sc.MOVE_MOUNT_F_EMPTY_PATH | sc.MOVE_MOUNT_T_EMPTY_PATH)
    finally:
        os.close(place)
        os.close(mount)


def cover_each(stage: Stage, paths: Sequence[str], mount_for: Callable[[int], int]) -> None:
    """Lay a mount over each path that there is; ``mount_for`` makes it from the path's O_PATH descriptor."""
    for path in paths:
        try:
            place = open_inside(stage.root, path)
        except FileNotFoundError:
            continue
        try:
            cover = mount_for(place)
            try:
                sc.move_mount(cover, place, "", sc.MOVE_MOUNT_F_EMPTY_PATH | sc.MOVE_MOUNT_T_EMPTY_PATH)
            finally:
                os.close(cover)
        finally:
            os.close(place)


# ── the child's side: the new namespaces ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EnterRoot(Operation):
    """Cut propagation to the host and attach the prepared root at the staging directory."""

    def make_ready(self, stage: Stage) -> None:
        sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)

    def execute(self, stage: Stage) -> None:
        stage.await_root()
        mount = stage.mounts.pop(0)
        sc.move_mount(mount, sc.AT_FDCWD, STAGING)
        os.close(mount)
        stage.root = os.open(STAGING, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def describe(self) -> list[str]:
        return ["mount --make-rprivate /"]


@dataclass(frozen=True, slots=True)
class MountProc(Operation):
    """A new proc instance, as only the owner of a pid namespace may have; else the host's, read-only."""

    own_pid: bool

    def make_ready(self, stage: Stage) -> None:
        if self.own_pid:
            mount = new_mount("proc", _SAFE, source="proc")
        else:
            mount = sc.open_tree(sc.AT_FDCWD, "/proc", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_RECURSIVE)
            sc.mount_setattr(mount, set_=_SAFE | sc.MOUNT_ATTR_RDONLY, recursive=True)
        stage.made["proc"] = [mount]

    def execute(self, stage: Stage) -> None:
        attach(stage.made["proc"].pop(), stage, "/proc")

    def describe(self) -> list[str]:
        if self.own_pid:
            return ["mount -t proc -o nosuid,nodev,noexec proc $ROOT/proc"]
        return ["mount --rbind -o ro=recursive /proc $ROOT/proc"]


@dataclass(frozen=True, slots=True)
class MountSys(Operation):
    """sysfs shows the network devices of a network namespace, so a new one needs a namespace of our own; else the
    host's is shown, read-only either way."""

    own_network: bool

    def make_ready(self, stage: Stage) -> None:
        if self.own_network:
            mount = new_mount("sysfs", _SAFE | sc.MOUNT_ATTR_RDONLY, source="sysfs")
        else:
            mount = sc.open_tree(sc.AT_FDCWD, "/sys", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_RECURSIVE)
            sc.mount_setattr(mount, set_=sc.MOUNT_ATTR_RDONLY, recursive=True)
        stage.made["sys"] = [mount]

    def execute(self, stage: Stage) -> None:
        attach(stage.made["sys"].pop(), stage, "/sys")

    def describe(self) -> list[str]:
        if self.own_network:
            return ["mount -t sysfs -o ro,nosuid,nodev,noexec sysfs $ROOT/sys"]
        return ["mount --rbind -o ro=recursive /sys $ROOT/sys"]


@dataclass(frozen=True, slots=True)
class MountCgroup(Operation):
    """The sandbox's own cgroup (v2), read-only, as the root of what it sees (CVE-2022-0492).

    A part of the host's mount: a new one is another file system, and the same to see in a cgroup namespace of one's own.
    """

    group: str

    def make_ready(self, stage: Stage) -> None:
        stage.made["cgroup"] = [part_of(sc.AT_FDCWD, self.group, _SAFE | sc.MOUNT_ATTR_RDONLY)]

    def execute(self, stage: Stage) -> None:
        attach(stage.made["cgroup"].pop(), stage, "/sys/fs/cgroup", make="")

    def describe(self) -> list[str]:
        return [f"mount --bind -o ro,nosuid,nodev,noexec {self.group} $ROOT/sys/fs/cgroup"]


@dataclass(frozen=True, slots=True)
class MountDev(Operation):
    """A fresh /dev: a tmpfs with six device files of the host, each proven to be what its name says.

    /dev/shm is a directory of it, with stricter flags: every file system more takes the kernel 20 KiB, and time.
    """

    own_ipc: bool

    def _parts(self) -> tuple[str, ...]:
        return ("pts", "mqueue") if self.own_ipc else ("pts",)

    def make_ready(self, stage: Stage) -> None:
        place = new_mount("tmpfs", sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NOEXEC, source="dev", mode="0755", size="64m")
        mounts = stage.made["dev"] = [place]
        for name, number in DEVICES.items():
            mounts.append(self._device(name, number))
            os.mknod(name, 0o666, dir_fd=place)
        for name, target in DEVICE_LINKS.items():
            os.symlink(target, name, dir_fd=place)
        for name in ("shm", *self._parts()):
            os.mkdir(name, dir_fd=place)
        os.chmod("shm", 0o1777, dir_fd=place)  # noqa: S103  everybody's, as /tmp is
        pts = {"newinstance": "", "ptmxmode": "0666", "mode": "0620"}
        mounts.append(new_mount("devpts", sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NOEXEC, source="devpts", **pts))
        if self.own_ipc:
            mounts.append(new_mount("mqueue", _SAFE, source="mqueue"))

    def execute(self, stage: Stage) -> None:
        tree, *mounts = stage.made["dev"]
        attach(tree, stage, "/dev")
        place = open_inside(stage.root, "/dev", links=False)
        for name, mount in zip((*DEVICES, *self._parts()), mounts, strict=True):
            sc.move_mount(mount, place, name)
            os.close(mount)
        shm = part_of(place, "shm", _SAFE)
        sc.move_mount(shm, place, "shm")
        os.close(shm)
        os.close(place)

    @staticmethod
    def _device(name: str, number: tuple[int, int]) -> int:
        mount = sc.open_tree(sc.AT_FDCWD, f"/dev/{name}", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC)
        found = os.fstat(mount)
        if not stat.S_ISCHR(found.st_mode) or (os.major(found.st_rdev), os.minor(found.st_rdev)) != number:
            raise OSError(5, f"the host's /dev/{name} is not the device {number[0]}:{number[1]}")
        return mount

    def describe(self) -> list[str]:
        lines = ["mount -t tmpfs -o nosuid,noexec,mode=755,size=64m dev $ROOT/dev"]
        lines.append(f"for d in {' '.join(DEVICES)}; do touch $ROOT/dev/$d; mount --bind /dev/$d $ROOT/dev/$d; done")
        lines.append(" && ".join(f"ln -s {target} $ROOT/dev/{name}" for name, target in DEVICE_LINKS.items()))
        lines.append("mkdir -m 1777 $ROOT/dev/shm && mount --bind -o nosuid,nodev,noexec $ROOT/dev/shm $ROOT/dev/shm")
        lines.append("mkdir " + " ".join(f"$ROOT/dev/{name}" for name in self._parts()))
        lines.append("mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts $ROOT/dev/pts")
        return lines + (["mount -t mqueue -o nosuid,nodev,noexec mqueue $ROOT/dev/mqueue"] if self.own_ipc else [])


@dataclass(frozen=True, slots=True)
class MountTmpfs(Operation):
    target: str
    size: int  # bytes; 0 is half of the memory, the kernel's default

    def execute(self, stage: Stage) -> None:
        options = {"mode": "1777"} | ({"size": str(self.size)} if self.size else {})
        attach(
            new_mount("tmpfs", sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV, source="tmpfs", **options),
            stage,
            self.target,
            links=True,
        )

    def describe(self) -> list[str]:
        size = f",size={self.size}" if self.size else ""
        return [f"mount -t tmpfs -o nosuid,nodev,mode=1777{size} tmpfs $ROOT{shlex.quote(self.target)}"]


@dataclass(frozen=True, slots=True)
class HidePaths(Operation):
    """Cover what tells or changes too much of the host: files by /dev/null, directories by one of our /dev that is removed then.

    So it stays empty for good, for nothing can be made in a directory that is no more.
    """

    paths: tuple[str, ...]

    def execute(self, stage: Stage) -> None:
        covers: dict[bool, int] = {}  # the first of each kind: another one is a copy, which is a third of the work
        try:
            dev = open_inside(stage.root, "/dev", links=False)
            os.mkdir("masked", 0o555, dir_fd=dev)
            cover_each(stage, self.paths, lambda place: self._cover(dev, stat.S_ISDIR(os.fstat(place).st_mode), covers))
            os.rmdir("masked", dir_fd=dev)
            os.close(dev)
        finally:
            for cover in covers.values():
                os.close(cover)

    @staticmethod
    def _cover(dev: int, directory: bool, covers: dict[bool, int]) -> int:
        if directory in covers:  # and it lies in its place: only there may a kernel before 6.15 copy it
            return sc.open_tree(covers[directory], "", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_EMPTY_PATH)
        if directory:
            cover = part_of(dev, "masked", _SAFE | sc.MOUNT_ATTR_RDONLY)
        else:
            cover = sc.open_tree(sc.AT_FDCWD, "/dev/null", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC)
            if os.fstat(cover).st_rdev != os.makedev(1, 3):
                os.close(cover)
                raise OSError(5, "the host's /dev/null is not the device 1:3")
        covers[directory] = os.dup(cover)
        return cover

    def describe(self) -> list[str]:
        return [
            "mkdir -m 555 $ROOT/dev/masked",
            f"for p in {' '.join(self.paths)}; do",
            "  if [ -d $ROOT$p ]; then mount --bind -o ro,nosuid,nodev,noexec $ROOT/dev/masked $ROOT$p",
            "  elif [ -e $ROOT$p ]; then mount --bind /dev/null $ROOT$p; fi",
            "done && rmdir $ROOT/dev/masked",
        ]


@dataclass(frozen=True, slots=True)
class ProtectPaths(Operation):
    """Make paths read-only by a bind over themselves; those of our own /proc have no devices, programs or set-user-ids either."""

    paths: tuple[str, ...]
    kernels: bool = True

    def execute(self, stage: Stage) -> None:
        cover_each(stage, self.paths, self._copy)

    def _copy(self, place: int) -> int:
        flags = sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_EMPTY_PATH | sc.AT_RECURSIVE
        copy = sc.open_tree(place, "", flags)
        sc.mount_setattr(copy, set_=sc.MOUNT_ATTR_RDONLY | (_SAFE if self.kernels else 0), recursive=True)
        return copy

    def describe(self) -> list[str]:
        return [f"for p in {' '.join(self.paths)}; do mount --bind -o ro $ROOT$p $ROOT$p; done"]


@dataclass(frozen=True, slots=True)
class ProtectRoot(Operation):
    """Make the root itself read-only, not what is mounted below it; late, for mounts may need directories made for them."""

    def execute(self, stage: Stage) -> None:
        sc.mount_setattr(stage.root, set_=sc.MOUNT_ATTR_RDONLY)

    def describe(self) -> list[str]:
        return ["mount -o remount,bind,ro $ROOT"]


@dataclass(frozen=True, slots=True)
class Pivot(Operation):
    """Make the new root the root, and let go of the old one for good."""

    def execute(self, stage: Stage) -> None:
        os.fchdir(stage.root)
        sc.pivot_root(".", ".")
        # The old root lies on top of the new one now; what "." meant stays the old one until it is gone.
        sc.umount2(".", sc.MNT_DETACH)
        os.chdir("/")
        os.close(stage.root)
        stage.root = -1

    def describe(self) -> list[str]:
        return ["cd $ROOT && pivot_root . . && umount -l . && cd /"]
