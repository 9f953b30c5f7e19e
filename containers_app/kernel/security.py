"""Confinement: capabilities, masked and read-only paths, and the last steps before a program runs.

Standard library only; the keeper runs this. Sources: capabilities(7), prctl(2), seccomp(2); the default sets are those
of the OCI runtimes, and on top of them every sandbox has its own user namespace.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from dataclasses import dataclass

from . import syscalls
from .operation import Operation, Stage

CAPABILITY_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
CAPABILITIES = {f"CAP_{name}": number for number, name in enumerate(CAPABILITY_NAMES)}

DEFAULT_CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW "
        "SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP"
    ).split()
)

MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap",
)  # fmt: skip
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def capability_mask(names: tuple[str, ...]) -> int:
    mask = 0
    for name in names:
        mask |= 1 << CAPABILITIES[name]
    return mask


def capability_set(mask: int) -> tuple[str, ...]:
    """The names in a ``Cap...`` line of ``/proc/PID/status``; numbers newer than our table are spelled out."""
    return tuple(
        f"CAP_{CAPABILITY_NAMES[number]}" if number < len(CAPABILITY_NAMES) else f"CAP_{number}"
        for number in range(mask.bit_length())
        if mask >> number & 1
    )


@dataclass(frozen=True, slots=True)
class Confine(Operation):
    """The last steps, in the order that the kernel asks for: keyring, bounding set, ids, capabilities, seccomp.

    With no_new_privs the filter needs no privilege and loads last, so that it need not allow the steps before it.
    """

    uid: int
    gid: int
    capabilities: tuple[str, ...]
    no_new_privs: bool
    seccomp: bytes
    groups: tuple[int, ...] | None = ()  # beside ``gid``; None: those that it has, where setgroups(2) is denied

    def execute(self, stage: Stage) -> None:
        mask = capability_mask(tuple(self.capabilities))
        with contextlib.suppress(OSError):  # kernels without keyrings have none to leak
            syscalls.join_new_session_keyring()
        for number in range(64):
            if not mask >> number & 1:
                try:
                    syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
                except OSError:
                    break  # EINVAL: past the last capability of this kernel
        if self.no_new_privs:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        elif self.seccomp:
            syscalls.seccomp(self.seccomp)
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
        if self.groups is not None:
            os.setgroups(list(self.groups))
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        # A program that isn't root gets capabilities only by file capabilities, as under Docker.
        kept = mask if self.uid == 0 else 0
        syscalls.capset(kept, kept, 0)
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
        if self.no_new_privs and self.seccomp:
            syscalls.seccomp(self.seccomp)

    def describe(self) -> list[str]:
        kept = ",".join(name.removeprefix("CAP_").lower() for name in self.capabilities)
        sets = ",".join(f"+{name}" for name in kept.split(",")) if kept else ""
        groups = f"--groups={','.join(map(str, self.groups))}" if self.groups else "--clear-groups"
        words = [
            "setpriv",
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            groups if self.groups is not None else "--keep-groups",
            "--inh-caps=-all",
        ]
        words += [f"--bounding-set=-all{',' + sets if sets else ''}"] + (["--no-new-privs"] if self.no_new_privs else [])
        filter_note = f"  # and a seccomp filter of {len(self.seccomp) // 8} instructions" if self.seccomp else ""
        return [" ".join(words) + " \\" + filter_note]


@dataclass(frozen=True, slots=True)
class RunProgram(Operation):
    """Replace this process by the program. ``argv[0]`` without a slash is looked for in the PATH of ``env``."""

    argv: tuple[str, ...]
    env: tuple[str, ...]  # NAME=value
    cwd: str
    seccomp: bytes = b""  # the user's own filter, beside the default one: last of all, so that it need allow little but exec

    def execute(self, stage: Stage) -> None:
        self._enter_directory()
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # Python ignores the first two, and exec would hand that on
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        environment = dict(pair.split("=", 1) for pair in self.env)
        paths = [self.argv[0]]
        if "/" not in self.argv[0]:
            paths = [f"{directory}/{self.argv[0]}" for directory in environment.get("PATH", "/usr/bin:/bin").split(":")]
        refused: OSError = FileNotFoundError(2, f"{self.argv[0]} is not in this image's PATH", self.argv[0])
        stage.about_to_run()
        if self.seccomp:
            syscalls.seccomp(self.seccomp)
        for path in paths:
            try:
                os.stat(path)  # a tenth of what a refused execve costs
                os.execve(path, list(self.argv), environment)
            except (FileNotFoundError, NotADirectoryError) as error:
                if path == self.argv[0]:
                    refused = error
            except PermissionError as error:
                refused = error
        raise refused

    def _enter_directory(self) -> None:
        """Never by /proc/self/fd/N or the like: what this process still has open is the host's (CVE-2024-21626)."""
        place = syscalls.openat2(syscalls.AT_FDCWD, self.cwd, os.O_PATH | os.O_DIRECTORY, resolve=syscalls.RESOLVE_NO_MAGICLINKS)
        os.fchdir(place)
        os.close(place)

    def describe(self) -> list[str]:
        changed = f"cd {shlex.quote(self.cwd)} && " if self.cwd != "/" else ""
        note = [f"  # and a seccomp filter of {len(self.seccomp) // 8} instructions by the profile"] if self.seccomp else []
        return [*note, f"  {changed}exec env -i {' '.join(map(shlex.quote, self.env))} {shlex.join(self.argv)}"]
