"""The web half's view of the machine, and how a process gets into it for good.

A root of its own in a private mount namespace: the system's programs read-only, the panel's files under /mnt, and nothing
else: no /proc, no /sys, no other user's files. So it works wherever the clone, the data and the run directory lie, also
below directories that only root may enter.

    /usr /etc … (ro)   /mnt/app (ro)   /mnt/venv (ro)   /mnt/static (ro)   /mnt/web (rw)   /mnt/run: the worker's socket
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from containers_app.kernel import syscalls as sc

from .instance import Instance

_READ_ONLY = sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV
_WRITABLE = sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV | sc.MOUNT_ATTR_NOEXEC
_DEVICE = sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NOEXEC
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_AT_FDCWD = -100


@dataclass(frozen=True)
class Bind:
    source: Path
    target: str  # below the new root, without the leading slash
    attributes: int


def binds(instance: Instance, extra: tuple[Bind, ...] = ()) -> list[Bind]:
    """What the web half sees of the panel. ``extra`` replaces binds with the same target."""
    own = [
        Bind(instance.app, "mnt/app", _READ_ONLY),
        Bind(instance.venv, "mnt/venv", _READ_ONLY),
        Bind(instance.data / "static", "mnt/static", _READ_ONLY),
        Bind(instance.data / "npm", "mnt/npm", _READ_ONLY),
        Bind(instance.data / "web", "mnt/web", _WRITABLE),
        Bind(instance.run / "web", "mnt/run", _WRITABLE),
    ]
    return list({bind.target: bind for bind in (*own, *extra)}.values())


def writable(source: Path, target: str) -> Bind:
    return Bind(source, target, _WRITABLE)


def environment(instance: Instance) -> dict[str, str]:
    """The whole environment of the web half; nothing of the caller's gets in."""
    return {
        "PATH": "/mnt/venv/bin:/usr/bin:/bin",
        "HOME": "/mnt/web",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "panel.settings",
        "TERRARIUM_WEB_DIR": "/mnt/web",
        "TERRARIUM_STATIC_DIR": "/mnt/static",
        "TERRARIUM_NPM_DIR": "/mnt/npm/node_modules",
        "TERRARIUM_WORKER_SOCKET": "/mnt/run/worker.sock",
        "TERRARIUM_HOST": instance.host,
        "TERRARIUM_PORT": str(instance.port),
        "TERRARIUM_NODE": instance.node,
        "TERRARIUM_ALLOWED_HOSTS": instance.browser_hosts(),
        "TERRARIUM_PUBLIC_URL": instance.public_url,
    }


def enter(instance: Instance, extra: tuple[Bind, ...] = ()) -> None:
    """For a single-threaded process between fork and exec: there is no way back."""
    os.umask(0o022)  # the new root's directories are for the web user to pass
    wanted = _system_binds() + binds(instance, extra)
    trees = [
        (bind, sc.open_tree(_AT_FDCWD, str(bind.source), sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_RECURSIVE))
        for bind in wanted
    ]
    sc.unshare(sc.CLONE_NEWNS)
    sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
    root = str(instance.run / "root")
    sc.mount("terrarium", root, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=755,size=1m")
    os.chdir(root)
    for name in _SYSTEM:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), name)
    for bind, tree in trees:
        _attach(bind, tree)
    os.makedirs("tmp")
    sc.mount("terrarium", "tmp", "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=1777,size=64m")
    sc.mount(None, ".", None, sc.MS_REMOUNT | sc.MS_BIND | sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV)
    sc.pivot_root(".", ".")  # stacks the old root on the new one, pivot_root(2)
    sc.umount2(".", sc.MNT_DETACH)
    os.chdir("/mnt/app")


def drop(uid: int, gid: int) -> None:
    """Become the web user for good: no groups, no capabilities (also none to be had by exec), no way to gain any."""
    for capability in range(64):
        try:
            sc.prctl(sc.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:  # past the last capability that this kernel knows
                raise
            break
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    sc.capset(0, 0, 0)
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    os.umask(0o077)
    sc.close_range(3, flags=sc.CLOSE_RANGE_CLOEXEC)


def _system_binds() -> list[Bind]:
    found = [
        Bind(Path("/", name), name, _READ_ONLY)
        for name in _SYSTEM
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}")
    ]
    base = Path(os.path.realpath(sys.base_prefix))
    if Path("/usr") not in (base, *base.parents):
        found.append(Bind(base, str(base).lstrip("/"), _READ_ONLY))
    return found + [Bind(Path("/dev", name), f"dev/{name}", _DEVICE) for name in _DEVICES if os.path.exists(f"/dev/{name}")]


def _attach(bind: Bind, tree: int) -> None:
    if bind.source.is_dir():
        os.makedirs(bind.target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(bind.target), exist_ok=True)
        os.close(os.open(bind.target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    sc.mount_setattr(tree, set_=bind.attributes, recursive=True)
    sc.move_mount(tree, _AT_FDCWD, bind.target)
    os.close(tree)
