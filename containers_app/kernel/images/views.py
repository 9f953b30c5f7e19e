"""A sandbox's files as its root sees them: its layer over its image, its ids shifted back by an id-mapped mount.

In the private mount namespace of the import program, which takes the mounts with it when it ends. Sources:
mount_setattr(2), Documentation/filesystems/{overlayfs,idmappings}.rst.
"""

from __future__ import annotations

import os
import signal
import subprocess

from ...errors import KernelRefused
from .. import rootfs
from .. import syscalls as sc
from .task import View

_COUNT = 65536  # ids of a sandbox


def attach_shifted(path: str, base: int, seat: str, *, read_only: bool = True) -> None:
    """``path`` at ``seat``, where the ids that are ``base`` and up on the disk are 0 and up.

    No symbolic link in it leads anywhere: who still has the sandbox's mounts (a toolbox, a sandbox that has joined them) may put
    one in a directory's place while we walk over its files as the host's root.
    """
    os.makedirs(seat, exist_ok=True)
    tree = sc.open_tree(sc.AT_FDCWD, path, sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC)
    try:
        sc.mount_setattr(tree, set_=sc.MOUNT_ATTR_NOSYMFOLLOW | (sc.MOUNT_ATTR_RDONLY if read_only else 0))
        if base:
            namespace = _namespace(base)
            try:
                sc.mount_setattr(tree, set_=sc.MOUNT_ATTR_IDMAP, userns_fd=namespace)
            finally:
                os.close(namespace)
        sc.move_mount(tree, sc.AT_FDCWD, seat)
    finally:
        os.close(tree)


def attach_view(view: View, scratch: str) -> str:
    """Returns the directory that shows it, read-only."""
    if not view.upper:
        return view.image
    attach_shifted(view.upper, view.uid_base, f"{scratch}/layer")
    attach_shifted(view.image, 0, f"{scratch}/image")
    merged = f"{scratch}/merged"
    os.mkdir(merged)
    attributes = sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NODEV | sc.MOUNT_ATTR_NOSYMFOLLOW
    mount = rootfs.new_mount("overlay", attributes, source="terrarium", lowerdir=f"{scratch}/layer:{scratch}/image")
    try:
        sc.move_mount(mount, sc.AT_FDCWD, merged)
    finally:
        os.close(mount)
    return merged


def detach(*seats: str) -> None:
    for seat in seats:
        if os.path.ismount(seat):
            sc.umount2(seat, sc.MNT_DETACH)


def copy_layer(source: str, source_base: int, target: str, target_base: int, scratch: str) -> None:
    """With everything that overlayfs keeps in it: whiteouts and attributes."""
    attach_shifted(source, source_base, f"{scratch}/from")
    attach_shifted(target, target_base, f"{scratch}/to", read_only=False)
    run(["cp", "-a", "--reflink=auto", f"{scratch}/from/.", f"{scratch}/to/"], "The copy failed")
    run(["sync", "-f", target], "The copy failed")


def pack(directory: str, output: int) -> subprocess.Popen[bytes]:
    """A tar of everything below ``directory``, with plain ids, as a process that writes to ``output``."""
    argv = [
        "tar",
        "--numeric-owner",
        "--format=posix",
        "--xattrs",
        "--xattrs-include=user.*",
        "--xattrs-include=security.capability",
        "--pax-option=delete=atime,delete=ctime",
        "-C",
        directory,
        "-cf",
        "-",
        ".",
    ]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})


def finish(process: subprocess.Popen[bytes]) -> None:
    """1 says that a file changed while it was read: of a paused sandbox nothing does, of the host's own files it may."""
    if process.wait() not in (0, 1):
        raise KernelRefused("The files could not be packed.", code="pack", hint="The worker's log says more.")


def run(argv: list[str], failure: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", env={"PATH": "/usr/bin:/bin"}, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise KernelRefused(f"{failure}: {words[0][:300]}.", code="copy", hint="Is there room on the disk?")


def _namespace(base: int) -> int:
    """A user namespace that maps ``base`` and up to 0 and up; held by its descriptor alone."""
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            sc.unshare(sc.CLONE_NEWUSER)
            os.write(ready[1], b"1")
            os.read(go[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        if os.read(ready[0], 1) != b"1":
            raise KernelRefused("No user namespace can be made.", hint="See /proc/sys/user/max_user_namespaces.")
        for kind in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{kind}", "w") as file:
                file.write(f"{base} 0 {_COUNT}\n")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for end in (ready[0], *go):
            os.close(end)
