"""The only ctypes of the project: constants, structs, and one short function per system call.

Imports the standard library only, because the keeper runs it between clone and exec. ``PyDLL`` keeps the GIL: the
process that calls ``clone3`` here is single-threaded, and the child goes on as that same interpreter. Functions and
types are made at import, once, and not again in every child; structs that the kernel only reads are packed bytes.
Every function raises ``OSError`` with errno and the call's name. Sources: the man page of each call, section 2.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

_libc = ctypes.PyDLL(None, use_errno=True)
_syscall, _unshare, _setns, _mount, _umount2 = _libc.syscall, _libc.unshare, _libc.setns, _libc.mount, _libc.umount2
_prctl, _sethostname, _sched_getcpu = _libc.prctl, _libc.sethostname, _libc.sched_getcpu
_syscall.restype = ctypes.c_long
_unshare.argtypes = (ctypes.c_int,)
_setns.argtypes = (ctypes.c_int, ctypes.c_int)
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


class _FilterProgram(ctypes.Structure):
    """struct sock_fprog: the number of instructions, and where they are."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


# x86_64 and aarch64 share every number above 424 (the unified table).
_MACHINE = os.uname().machine
_NR = {
    "pivot_root": 155 if _MACHINE == "x86_64" else 41,
    "capset": 126 if _MACHINE == "x86_64" else 91,
    "keyctl": 250 if _MACHINE == "x86_64" else 219,
    "seccomp": 317 if _MACHINE == "x86_64" else 277,
    "bpf": 321 if _MACHINE == "x86_64" else 280,
    "renameat2": 316 if _MACHINE == "x86_64" else 276,
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
    "pidfd_open": 434, "clone3": 435, "close_range": 436, "openat2": 437, "mount_setattr": 442,
}  # fmt: skip

CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
CLONE_PIDFD, CLONE_INTO_CGROUP = 0x1000, 0x200000000
CLONE_FLAGS = {
    "mnt": CLONE_NEWNS, "uts": CLONE_NEWUTS, "ipc": CLONE_NEWIPC, "pid": CLONE_NEWPID, "net": CLONE_NEWNET,
    "user": CLONE_NEWUSER, "cgroup": CLONE_NEWCGROUP, "time": CLONE_NEWTIME,
}  # fmt: skip

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_MOVE, MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 8192, 16384, 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME = 1 << 21, 1 << 24
MNT_DETACH = 2

AT_FDCWD = -100
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC, AT_RECURSIVE, AT_EMPTY_PATH = 1, os.O_CLOEXEC, 0x8000, 0x1000
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD, FSCONFIG_CMD_CREATE = 0, 1, 5, 6
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_IDMAP = 1, 2, 4, 8, 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000  # Linux 5.14
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16

RENAME_EXCHANGE = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 4, 8, 24, 36
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_SET_NAME = 38, 47, 4, 15
SECCOMP_SET_MODE_FILTER = 1
KEYCTL_JOIN_SESSION_KEYRING = 1
CLOSE_RANGE_CLOEXEC = 4


def _check(result: int, name: str, path: str | bytes | None = None) -> int:
    """The one funnel through which a failed call becomes an exception."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", path)
    return result


def _path(path: str | bytes | None) -> bytes | None:
    return os.fsencode(path) if path is not None else None


def clone3(flags: int, *, exit_signal: int = 17, cgroup_fd: int = -1) -> tuple[int, int]:
    """Fork with namespaces. Returns (pid, pidfd) in the parent and (0, -1) in the child."""
    pidfd = ctypes.c_int(-1)
    flags |= CLONE_PIDFD | (CLONE_INTO_CGROUP if cgroup_fd >= 0 else 0)
    # struct clone_args: flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup
    args = struct.pack("=11Q", flags, ctypes.addressof(pidfd), 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup_fd, 0))
    pid = _check(_syscall(_NR["clone3"], args, ctypes.c_size_t(len(args))), "clone3")
    return (pid, pidfd.value) if pid else (0, -1)


def unshare(flags: int) -> None:
    _check(_unshare(flags), "unshare")


def setns(fd: int, kind: int = 0) -> None:
    """``fd`` is a namespace, or a pidfd with ``kind`` a set of CLONE_NEW flags to join at once."""
    _check(_setns(fd, kind), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    _check(_mount(_path(source), _path(target), _path(kind), flags, _path(data)), "mount", target)


def umount2(target: str, flags: int = 0) -> None:
    _check(_umount2(_path(target), flags), "umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    _check(_syscall(_NR["pivot_root"], _path(new_root), _path(put_old)), "pivot_root", new_root)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    return _check(_syscall(_NR["open_tree"], dirfd, _path(path), ctypes.c_uint(flags)), "open_tree", path)


def move_mount(from_fd: int, to_dirfd: int, to_path: str, flags: int = MOVE_MOUNT_F_EMPTY_PATH) -> None:
    _check(_syscall(_NR["move_mount"], from_fd, b"", to_dirfd, _path(to_path), ctypes.c_uint(flags)), "move_mount", to_path)


def mount_setattr(
    fd: int, *, set_: int = 0, clear: int = 0, propagation: int = 0, userns_fd: int = 0, recursive: bool = False
) -> None:
    attributes = struct.pack("=4Q", set_, clear, propagation, userns_fd)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _check(_syscall(_NR["mount_setattr"], fd, b"", flags, attributes, ctypes.c_size_t(32)), "mount_setattr")


def fsopen(kind: str) -> int:
    return _check(_syscall(_NR["fsopen"], _path(kind), FSOPEN_CLOEXEC), "fsopen")


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None, aux: int = 0) -> None:
    _check(_syscall(_NR["fsconfig"], fd, command, _path(key), _path(value), aux), f"fsconfig {key or 'create'}")


def fsmount(fd: int, attributes: int = 0) -> int:
    return _check(_syscall(_NR["fsmount"], fd, FSMOUNT_CLOEXEC, attributes), "fsmount")


def openat2(dirfd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    how = struct.pack("=3Q", flags | os.O_CLOEXEC, mode, resolve)
    return _check(_syscall(_NR["openat2"], dirfd, _path(path), how, ctypes.c_size_t(24)), "openat2", path)


def exchange(path: str, other: str) -> None:
    """Each takes the other's place, in one step: renameat2(2) with RENAME_EXCHANGE."""
    _check(_syscall(_NR["renameat2"], AT_FDCWD, _path(path), AT_FDCWD, _path(other), RENAME_EXCHANGE), "renameat2", path)


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    _check(_syscall(_NR["close_range"], ctypes.c_uint(first), ctypes.c_uint(last), flags), "close_range")


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    return _check(_prctl(option, value, third, 0, 0), "prctl")


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this process's capability sets; each is a bit mask of capability numbers (version 3 of the ABI)."""
    header = struct.pack("=Ii", 0x20080522, 0)
    low, high = 0xFFFFFFFF, 32
    data = struct.pack("=6I", effective & low, permitted & low, inheritable & low,
                       effective >> high, permitted >> high, inheritable >> high)  # fmt: skip
    _check(_syscall(_NR["capset"], header, data), "capset")


def seccomp(program: bytes) -> None:
    """Load a compiled BPF program (an array of struct sock_filter, 8 bytes each)."""
    code = _FilterProgram(len(program) // 8, program)
    _check(_syscall(_NR["seccomp"], SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(code)), "seccomp")


def join_new_session_keyring() -> None:
    _check(_syscall(_NR["keyctl"], KEYCTL_JOIN_SESSION_KEYRING, None), "keyctl")


def pidfd_open(pid: int) -> int:
    return os.pidfd_open(pid)


def current_cpu() -> int:
    """The processor that the caller runs on at this moment: sched_getcpu(3)."""
    return _check(_sched_getcpu(), "sched_getcpu")


def sethostname(name: str) -> None:
    raw = os.fsencode(name)
    _check(_sethostname(raw, len(raw)), "sethostname")


def exit_status(pidfd: int) -> int | None:
    """The wait status of an ended process, for whoever is not its parent; None where the kernel (before 6.15) can't say.

    Source: PIDFD_GET_INFO with PIDFD_INFO_EXIT, include/uapi/linux/pidfd.h.
    """
    get_info, want_exit, size = 0xC040FF0B, 1 << 3, 64
    request = bytearray(struct.pack("=Q", want_exit).ljust(size, b"\0"))
    try:
        fcntl.ioctl(pidfd, get_info, request)
    except OSError:
        return None
    mask: int = struct.unpack_from("=Q", request)[0]
    status: int = struct.unpack_from("=i", request, 60)[0]
    return status if mask & want_exit else None


def bpf_load(kind: int, instructions: bytes) -> int:
    """A descriptor of a loaded program, bpf(2) BPF_PROG_LOAD; the licence is GPL, and there is no log."""
    code, licence = ctypes.create_string_buffer(instructions), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack("=IIQQ", kind, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    attributes = attributes.ljust(72, b"\0")
    return _check(_syscall(_NR["bpf"], 5, attributes, ctypes.c_uint(len(attributes))), "bpf load")


def bpf_attach(program: int, target: int, kind: int, flags: int) -> None:
    """bpf(2) BPF_PROG_ATTACH to a control group's directory; it stays until the group goes."""
    attributes = struct.pack("=IIII", target, program, kind, flags)
    _check(_syscall(_NR["bpf"], 8, attributes, ctypes.c_uint(len(attributes))), "bpf attach")
