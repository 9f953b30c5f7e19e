"""The system call filter, compiled to BPF bytes that the keeper loads. The worker's; not the keeper's.

The default profile allows what ordinary programs need, answers EPERM to what is known and dangerous, and ENOSYS to
everything else, so that C libraries fall back as on an older kernel (clone3 too: its flags can't be filtered).
Sources: seccomp(2), syscalls(2), the man page of each call; Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import errno
import functools
import tempfile

import pyseccomp

from ..errors import InvalidInput, Unsupported
from ..spec.seccomp import SeccompArgument, SeccompProfile
from . import syscalls as sc
from .filter_program import ANY_BIT, EQUAL, Check, assemble

# Namespace-making flags of clone(2) and unshare(2), refused without CAP_SYS_ADMIN. CLONE_NEWTIME shares its bit with
# the exit signal of clone, so it stands for unshare alone.
_NEW_NAMESPACES = (
    sc.CLONE_NEWNS | sc.CLONE_NEWUTS | sc.CLONE_NEWIPC | sc.CLONE_NEWUSER | sc.CLONE_NEWPID | sc.CLONE_NEWNET | sc.CLONE_NEWCGROUP
)

ALLOWED = """
accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown clock_adjtime
clock_getres clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat
faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr
flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv
futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups
getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid
getsockname getsockopt gettid gettimeofday getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1
inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit ioprio_get ioprio_set kill
landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listmount listxattr
listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier memfd_create memfd_secret
mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at
nanosleep newfstatat open openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev
pselect6 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg
remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl
semget semop semtimedop sendfile sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid
setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt
setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair splice stat statfs
statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete
timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask
uname unlink unlinkat uretprobe utime utimensat utimes vfork vmsplice wait4 waitid write writev
""".split()

# Known, and refused as "not permitted" rather than "not there"; a capability in the second column opens it again.
REFUSED = {
    "CAP_SYS_ADMIN": """bpf fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree
        perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount2 unshare""".split(),
    "CAP_SYS_CHROOT": ["chroot"],
    "CAP_SYS_BOOT": ["reboot", "kexec_load", "kexec_file_load"],
    "CAP_SYS_MODULE": ["delete_module", "init_module", "finit_module"],
    "CAP_SYS_PACCT": ["acct"],
    "CAP_SYS_RAWIO": ["iopl", "ioperm"],
    "CAP_SYS_TIME": ["settimeofday", "clock_settime"],
    "CAP_SYS_NICE": ["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node", "move_pages", "migrate_pages"],
    "CAP_SYS_TTY_CONFIG": ["vhangup"],
    "CAP_DAC_READ_SEARCH": ["open_by_handle_at"],
    "CAP_SYS_PTRACE": ["kcmp", "process_madvise"],
    "": """add_key io_uring_enter io_uring_register io_uring_setup keyctl nfsservctl pivot_root request_key swapoff swapon
        sysfs _sysctl userfaultfd ustat uselib""".split(),
}  # fmt: skip

_ALLOW, _ERROR = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_REFUSE, _UNKNOWN = _ERROR | errno.EPERM, _ERROR | errno.ENOSYS
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
_AF_ALG, _AF_VSOCK = 38, 40


@functools.lru_cache(maxsize=32)
def compile_profile(profile: str, capabilities: tuple[str, ...]) -> bytes:
    """``profile`` default or off → an array of struct sock_filter ("off" is empty)."""
    if profile == "off":
        return b""
    answers: dict[str, int | Check] = dict.fromkeys(ALLOWED, _ALLOW)
    for capability, names in REFUSED.items():
        answers |= dict.fromkeys(names, _ALLOW if capability in capabilities else _REFUSE)
    if "CAP_SYS_ADMIN" in capabilities:
        answers["clone"] = _ALLOW
    else:
        answers["clone"] = Check(0, ANY_BIT, (_NEW_NAMESPACES,), hit=_REFUSE, miss=_ALLOW)
    answers["personality"] = Check(0, EQUAL, _PERSONALITIES, hit=_ALLOW, miss=_REFUSE)
    answers["ioctl"] = Check(1, EQUAL, (_TIOCSTI, _TIOCLINUX), hit=_REFUSE, miss=_ALLOW)
    answers["socket"] = Check(0, EQUAL, (_AF_ALG, _AF_VSOCK), hit=_REFUSE, miss=_ALLOW)
    try:
        numbers = {name: _number(name) for name in answers}
        architecture = pyseccomp.system_arch()
    except (OSError, RuntimeError) as error:
        raise Unsupported(f"The seccomp filter can't be made: {error}.", hint="Install libseccomp2.") from None
    known = {number: answers[name] for name, number in numbers.items() if number is not None}
    return assemble(architecture, known, _UNKNOWN)


@functools.lru_cache(maxsize=32)
def compile_custom(profile: SeccompProfile) -> bytes:
    """A profile of the user's own → an array of struct sock_filter. InvalidInput for calls to forbid that nobody knows."""
    default = _action(profile.default_action, profile.default_errno_ret)
    rules = pyseccomp.SyscallFilter(default)
    rules.set_attr(pyseccomp.Attr.CTL_NNP, 0)
    rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
    for rule in profile.syscalls:
        action = _action(rule.action, rule.errno_ret)
        arguments = [_comparison(argument) for argument in rule.args or ()]
        for name in rule.names:
            number = _number(name)
            if number is None and rule.action != "SCMP_ACT_ALLOW":
                raise InvalidInput(
                    f"There is no system call {name} to forbid.", code="invalid_seccomp_profile", hint="See syscalls(2)."
                )
            if number is not None and action != default:  # libseccomp refuses a rule that says what is so anyway
                try:
                    rules.add_rule(action, number, *arguments)
                except (OSError, RuntimeError, ValueError) as error:
                    message = f"The rule for {name} can't be made: {error}."
                    raise InvalidInput(message, code="invalid_seccomp_profile", hint="See seccomp_rule_add(3).") from None
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _action(name: str, number: int) -> int:
    word = name.removeprefix("SCMP_ACT_")
    if word == "ERRNO":
        return int(pyseccomp.ERRNO(number))
    return int({"ALLOW": pyseccomp.ALLOW, "KILL": pyseccomp.KILL, "KILL_THREAD": pyseccomp.KILL, "LOG": pyseccomp.LOG,
                "KILL_PROCESS": pyseccomp.KILL_PROCESS, "TRAP": pyseccomp.TRAP}[word])  # fmt: skip


def _comparison(argument: SeccompArgument) -> pyseccomp.Arg:
    operator = getattr(pyseccomp, argument.op.removeprefix("SCMP_CMP_"))
    return pyseccomp.Arg(argument.index, operator, argument.value, argument.value_two)


def _number(name: str) -> int | None:
    """None: newer than this libseccomp, or not on this kind of machine. ENOSYS it stays."""
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    return None if number is None or number < 0 else int(number)
