"""All that must be true before deploy/up changes anything. Each check reads, and refuses with one sentence."""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import shutil
import socket
import stat
import sys
from ipaddress import ip_address
from pathlib import Path

from containers_app.kernel import syscalls

from . import boot, processes, users
from .console import Refused
from .instance import MARKER, Instance
from .locks import check_free

KERNEL_MIN = (5, 12)  # clone3 with a cgroup, mount_setattr, openat2
DISK_FOR_INSTALL = 400 << 20  # bytes: the venv and the npm packages take about 250 MB with what pip needs on the way
DISK_FOR_START = 16 << 20  # bytes: the database, logs
CONTROLLERS = ("cpu", "memory", "pids")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check_root() -> None:
    if os.geteuid() != 0:
        raise Refused("This needs root: run it with sudo.")


def check_machine(root: Path = Path("/")) -> None:
    """The kernel's side. ``root`` is where /proc and /sys lie; tests pass a tree of their own."""
    check_kernel(os.uname().release)
    check_controllers(root)
    check_user_namespaces(root)


def check_kernel(release: str) -> None:
    numbers = tuple(int(word) for word in release.split("-")[0].split(".")[:2] if word.isdigit())
    if numbers < KERNEL_MIN:
        raise Refused(
            f"The kernel {release} is too old: Linux {KERNEL_MIN[0]}.{KERNEL_MIN[1]} or newer is needed (Debian 12 has 6.1)."
        )


def check_controllers(root: Path) -> None:
    """cpu, memory and pids, each in a v1 hierarchy or in the v2 one. cgroups(7)"""
    usable: set[str] = set()
    for line in _read(root / "proc/self/mounts").splitlines():
        _device, place, kind, options = line.split()[:4]
        if kind == "cgroup":
            usable |= set(options.split(","))
        elif kind == "cgroup2":
            usable |= set(_read(root / place.lstrip("/") / "cgroup.controllers").split())
    missing = [name for name in CONTROLLERS if name not in usable]
    if missing:
        raise Refused(
            f"This kernel offers no cgroup controller for {' and '.join(missing)}: mount cgroups on /sys/fs/cgroup "
            "(systemd does so at boot), or enable them on the kernel's command line (cgroup_enable=memory)."
        )


def check_user_namespaces(root: Path) -> None:
    limit = _read(root / "proc/sys/user/max_user_namespaces").strip()
    if limit == "" or limit == "0":
        raise Refused(
            "This kernel allows no user namespaces: set sysctl user.max_user_namespaces=15000, or boot one with CONFIG_USER_NS."
        )
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        raise Refused(
            f"A user namespace can't be made here ({os.strerror(code) if code > 0 else 'killed'}): run deploy/up on the "
            "host itself, outside chroots and containers."
        )


def check_id_maps(instance: Instance) -> None:
    """Sandboxes see images through id-mapped mounts: tried on a detached mount, which nobody else ever sees."""
    place = existing(instance.data)
    waiting, ending = os.pipe()
    pid, pidfd = syscalls.clone3(syscalls.CLONE_NEWUSER)
    if pid == 0:
        os.close(ending)
        os.read(waiting, 1)
        os._exit(0)
    try:
        Path(f"/proc/{pid}/uid_map").write_text("0 100000 65536\n")
        Path(f"/proc/{pid}/gid_map").write_text("0 100000 65536\n")
        with open(f"/proc/{pid}/ns/user") as namespace:
            flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
            tree = syscalls.open_tree(-1, str(place), flags)
            try:
                syscalls.mount_setattr(tree, set_=syscalls.MOUNT_ATTR_IDMAP, userns_fd=namespace.fileno())
            finally:
                os.close(tree)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        raise Refused(
            f"The file system at {place} can't map user ids on this kernel: choose a --data on ext4, xfs or btrfs "
            "(and Linux 5.12 or newer)."
        ) from None
    finally:
        os.close(ending)
        os.close(waiting)
        os.waitpid(pid, 0)
        os.close(pidfd)


def check_python() -> None:
    """The web process runs as a user of its own, so every directory above this Python must be open to all."""
    program = Path(os.path.realpath(sys.executable))
    for directory in program.parents:
        if not directory.stat().st_mode & stat.S_IXOTH:
            raise Refused(f"Other users can't reach this Python ({program}, because of {directory}): install python3 into /usr.")


def check_directories(instance: Instance) -> None:
    for option, directory in (("--data", instance.data), ("--run", instance.run)):
        if directory.exists() and not directory.is_dir():
            raise Refused(f"{option} {directory} is a file: choose a directory.")
        if directory.is_dir() and not (directory / MARKER).exists() and set(os.listdir(directory)) - {"lost+found"}:
            raise Refused(f"{option} {directory} holds files that are not the panel's: choose an empty or a new directory.")
        parent = existing(directory)
        if not parent.is_dir():
            raise Refused(f"{option} {directory} lies below the file {parent}: choose another directory.")
        if os.statvfs(parent).f_flag & os.ST_RDONLY:
            raise Refused(
                f"{option} {directory} is on a read-only file system: remount it writable, or choose another directory."
            )


def check_disk(instance: Instance, *, installed: bool) -> None:
    place = existing(instance.data)
    status = os.statvfs(place)
    free, needed = status.f_bavail * status.f_frsize, DISK_FOR_START if installed else DISK_FOR_INSTALL
    if free < needed:
        raise Refused(
            f"The disk is too full: {needed >> 20} MB are needed at {instance.data} and {free >> 20} MB are free; "
            "free some space, or choose another --data."
        )
    if status.f_files and status.f_favail < 20000 and not installed:
        raise Refused(f"{instance.data} has only {status.f_favail} free inodes and 20000 are needed: choose another --data.")


def check_address(instance: Instance) -> None:
    """That we could listen there, as the web process will."""
    try:
        found = socket.getaddrinfo(instance.host, instance.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise Refused(f"{instance.host!r} is not an address of this machine: give one such as --host 127.0.0.1.") from None
    family, kind, protocol, _name, address = found[0]
    heard = ip_address(str(address[0]))
    if instance.public_url and not (heard.is_loopback or heard.is_unspecified):
        raise Refused(
            f"--public-url is for a proxy on this machine, which finds the panel at the loop-back and not at {instance.host}: "
            "use --host 127.0.0.1."
        )
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and _is_our_orphan(instance):
                return
            if error.errno == errno.EADDRINUSE:
                raise Refused(
                    f"Port {instance.port} on {instance.host} is taken{_taker(instance.port)}: "
                    f"stop that program or choose another port with --port."
                ) from None
            raise Refused(
                f"Can't serve on {instance.host}:{instance.port} ({os.strerror(error.errno or 0)}): "
                "give an address of this machine with --host."
            ) from None


def check_admin_password_file(path: Path | None) -> None:
    """Read now, so that a wrong one changes nothing."""
    if path is None:
        return
    if path.exists() and not path.is_file():
        raise Refused(f"--admin-password-file {path} is not a file: give a file's name.")
    if path.is_file() and not path.read_text(errors="replace").strip():
        raise Refused(f"--admin-password-file {path} is empty: write a password into it, or remove it to get one made.")
    if not path.exists() and not path.parent.is_dir():
        raise Refused(f"--admin-password-file {path} can't be written because {path.parent} is no directory: make it first.")


def docker_note(hosts: str) -> str:
    """A line for the person about daemons that are certainly not there; "" when all may be. ``hosts``: [NAME=]URL, by commas."""
    urls = [word[word.index("unix://") :] for word in hosts.split(",") if "unix://" in word]
    if missing := [url for url in urls if not os.path.exists(url.removeprefix("unix://"))]:
        return f"No Docker at {' and '.join(missing)}: the panel serves without, and its containers appear when it comes."
    return ""


def missing_packages() -> list[str]:
    """Debian packages that the panel needs and this machine lacks."""
    wanted = []
    if not _module_exists("ensurepip") or not _module_exists("venv"):
        wanted.append("python3-venv")
    if not any(os.access(path, os.X_OK) for path in ("/bin/busybox", "/usr/bin/busybox")):
        wanted.append("busybox-static")
    if not library_exists("libseccomp.so.2"):
        wanted.append("libseccomp2")
    if shutil.which("nft", path=_SYSTEM_PATH) is None:
        wanted.append("nftables")
    return wanted


def existing(path: Path) -> Path:
    """The path itself or the nearest directory above it that exists."""
    return path if os.path.lexists(path) else existing(path.parent)


def check_all(instance: Instance, *, installed: bool, admin_password_file: Path | None) -> None:
    """In an order in which the first refusal is the most telling."""
    check_root()
    check_python()
    check_directories(instance)
    check_free(instance)
    users.check(instance)
    check_address(instance)
    check_machine()
    check_id_maps(instance)
    boot.check(instance)
    check_disk(instance, installed=installed)
    check_admin_password_file(admin_password_file)


def _is_our_orphan(instance: Instance) -> bool:
    """A web process whose supervisor was killed still serves; deploy/up stops it and takes over."""
    web = processes.read_pid_file(instance.run / "web.pid")
    return web is not None and f"pid {web.pid})" in _taker(instance.port)


def _taker(port: int) -> str:
    """ " by NAME (pid N)" of who listens on the port, or "" when it can't be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(Path(table)).splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # TCP_LISTEN
                inodes.add(f"socket:[{fields[9]}]")
    for entry in os.listdir("/proc") if inodes else []:
        try:
            if entry.isdigit() and any(os.readlink(f"/proc/{entry}/fd/{fd}") in inodes for fd in os.listdir(f"/proc/{entry}/fd")):
                return f" by {_read(Path(f'/proc/{entry}/comm')).strip()} (pid {entry})"
        except OSError:
            continue
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _module_exists(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def library_exists(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
