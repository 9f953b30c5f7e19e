"""Which device files the processes of a control group may open: a BPF program of ours on its v2 directory.

For a root that is the host's own: neither a device node that it finds nor one that it makes leads to a disk then. The kernel asks
it beside whatever the v1 "devices" hierarchy says. Sources: bpf(2), the kernel's cgroup-v2.rst ("Device controller"); the
context is struct bpf_cgroup_dev_ctx of linux/bpf.h.
"""

from __future__ import annotations

import os
import struct

from ..errors import Unsupported
from . import syscalls as sc

_PROG_TYPE_CGROUP_DEVICE, _CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2
_CHARACTER = 2  # BPF_DEVCG_DEV_CHAR
_MEMORY, _TERMINALS, _PTYS = 1, 5, 136  # major numbers, Documentation/admin-guide/devices.txt
_HARMLESS = (3, 5, 7, 8, 9)  # minors of the first: null, zero, full, random, urandom
_LOAD, _AND, _SAME, _OTHER, _SET, _END = 0x61, 0x54, 0x15, 0x55, 0xB7, 0x95  # opcodes
_TYPE, _MAJOR, _MINOR = 2, 3, 4  # registers


def _instruction(opcode: int, register: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, source << 4 | register, offset, value)


def program() -> bytes:
    """1 (go on) for the harmless ones, 0 (EPERM) for every other."""
    head = [
        _instruction(_LOAD, _TYPE, 1, 0), _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_LOAD, _MAJOR, 1, 4), _instruction(_LOAD, _MINOR, 1, 8),
    ]  # fmt: skip
    tests = [
        (_OTHER, _TYPE, _CHARACTER, False), (_SAME, _MAJOR, _TERMINALS, True), (_SAME, _MAJOR, _PTYS, True),
        (_OTHER, _MAJOR, _MEMORY, False), *((_SAME, _MINOR, minor, True) for minor in _HARMLESS),
    ]  # fmt: skip
    body = [
        _instruction(opcode, register, offset=len(tests) + (2 if allow else 0) - number - 1, value=value)
        for number, (opcode, register, value, allow) in enumerate(tests)
    ]
    end = [_instruction(_SET, value=0), _instruction(_END), _instruction(_SET, value=1), _instruction(_END)]
    return b"".join(head + body + end)


def keep_harmless(directory: str) -> None:
    """Unsupported where this kernel has no such programs; then nothing has changed."""
    try:
        loaded = sc.bpf_load(_PROG_TYPE_CGROUP_DEVICE, program())
        try:
            group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sc.bpf_attach(loaded, group, _CGROUP_DEVICE, _ALLOW_MULTI)
            finally:
                os.close(group)
        finally:
            os.close(loaded)
    except OSError as error:
        raise Unsupported(
            f"This kernel can't keep devices shut: {error.strerror}.", hint="CONFIG_CGROUP_BPF is needed."
        ) from None
