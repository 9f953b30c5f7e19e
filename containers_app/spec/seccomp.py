"""A system call filter in the JSON that Docker and the OCI runtimes read, and the checks of it.

Sources: seccomp(2), the OCI runtime specification's config-linux.
"""

from __future__ import annotations

import re

import msgspec

from ..errors import InvalidInput
from ..units import shown

MAX_PROFILE = 65536  # bytes of JSON
ACTIONS = (
    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
    "SCMP_ACT_TRAP",
)  # fmt: skip
OPERATORS = (
    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE",
)  # fmt: skip
_CALL = re.compile(r"[a-z_][a-z0-9_]{0,63}", re.ASCII)


class SeccompArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A comparison of one argument; ``value_two`` is what a masked one is compared with."""

    index: int
    value: int
    op: str
    value_two: int = 0


class SeccompRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    names: tuple[str, ...]
    action: str
    args: tuple[SeccompArgument, ...] | None = None
    errno_ret: int = 1  # EPERM, of SCMP_ACT_ERRNO
    comment: str = ""


class SeccompProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Rules for this machine's own kind of system calls; a program of another kind meets the default filter alone."""

    default_action: str
    syscalls: tuple[SeccompRule, ...] = ()
    default_errno_ret: int = 1
    architectures: tuple[str, ...] = ()


def check_profile(profile: SeccompProfile) -> None:
    if len(msgspec.json.encode(profile)) > MAX_PROFILE:
        raise _refused("The seccomp profile is too long.", f"At most {MAX_PROFILE >> 10} KiB.")
    for action in (profile.default_action, *(rule.action for rule in profile.syscalls)):
        if action not in ACTIONS:
            raise _refused(f"{shown(action)} is not an action of a seccomp profile.", "Actions are " + ", ".join(ACTIONS) + ".")
    for number in (profile.default_errno_ret, *(rule.errno_ret for rule in profile.syscalls)):
        if not 0 < number < 4096:
            raise _refused(f"{number} is not an error number.", "For example 1, EPERM.")
    for rule in profile.syscalls:
        for name in rule.names:
            if not _CALL.fullmatch(name):
                raise _refused(f"{shown(name)} is not the name of a system call.", "See syscalls(2).")
        for argument in rule.args or ():
            if argument.op not in OPERATORS:
                raise _refused(f"{shown(argument.op)} is not a comparison.", "Comparisons are " + ", ".join(OPERATORS) + ".")
            if not 0 <= argument.index <= 5 or not all(0 <= value < 1 << 64 for value in (argument.value, argument.value_two)):
                raise _refused("A system call has arguments 0 to 5, of 64 bits.", "See index, value and valueTwo.")


def _refused(message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, code="invalid_seccomp_profile", hint=hint)
