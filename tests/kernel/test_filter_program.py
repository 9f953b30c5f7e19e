"""The filter programs, run by an interpreter of our own; the kernel runs them in tests/engines/breakout/test_system_calls.py."""

from __future__ import annotations

import struct

import pyseccomp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers_app.kernel.filter_program import ANY_BIT, EQUAL, Check, assemble
from containers_app.kernel.seccomp import ALLOWED, REFUSED, compile_profile

NATIVE, FOREIGN = 0xC000003E, 0x40000003
ALLOW, REFUSE, UNKNOWN = 0x7FFF0000, 0x00050001, 0x00050026
X32 = 0x40000000


def answer(program: bytes, number: int, *arguments: int, architecture: int = NATIVE) -> int:
    """What the kernel would: classic BPF over struct seccomp_data."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *values)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, yes, no, constant = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif code == 0x06:
            return int(constant)
        else:
            holds = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}[code]
            at += yes if holds else no


@given(st.dictionaries(st.integers(0, 80), st.sampled_from([ALLOW, REFUSE])))
def test_each_number_gets_its_own_answer_and_all_others_the_default(answers: dict[int, int]) -> None:
    program = assemble(NATIVE, answers, UNKNOWN)
    found = {number: answer(program, number) for number in (*range(90), X32 | 1, 0xFFFFFFFF)}
    assert found == {number: answers.get(number, UNKNOWN) for number in found}
    assert answer(program, min(answers, default=0), architecture=FOREIGN) == UNKNOWN


def test_a_program_without_answers_gives_the_default_to_all() -> None:
    assert [answer(assemble(NATIVE, {}, UNKNOWN), number) for number in (0, 1, 1000)] == [UNKNOWN] * 3


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_an_argument_is_looked_at_by_its_low_half(high: int) -> None:
    checks: dict[int, int | Check] = {
        5: Check(1, EQUAL, (38, 40), hit=REFUSE, miss=ALLOW),
        6: Check(0, ANY_BIT, (0x10, 0x80000000), hit=REFUSE, miss=ALLOW),
        7: ALLOW,
    }
    program = assemble(NATIVE, checks, UNKNOWN)
    assert [answer(program, 5, 38, high | value) for value in (37, 38, 39, 40, 41)] == [ALLOW, REFUSE, ALLOW, REFUSE, ALLOW]
    assert [answer(program, 6, high | value) for value in (0, 0x0F, 0x11, 0x80000000)] == [ALLOW, ALLOW, REFUSE, REFUSE]
    assert [answer(program, number, high) for number in (4, 7, 8)] == [UNKNOWN, ALLOW, UNKNOWN]


@pytest.mark.parametrize("capabilities", [(), ("CAP_SYS_ADMIN",), ("CAP_SYS_TIME", "CAP_SYS_CHROOT")])
def test_the_default_profile_answers_each_call_as_its_lists_say(capabilities: tuple[str, ...]) -> None:
    program = compile_profile("default", capabilities)
    expected = dict.fromkeys(ALLOWED, ALLOW)
    for capability, names in REFUSED.items():
        expected |= dict.fromkeys(names, ALLOW if capability in capabilities else REFUSE)
    numbers = {name: pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in expected}
    known = {name: number for name, number in numbers.items() if number is not None and number >= 0}
    assert len(known) > 300
    assert {name: answer(program, number) for name, number in known.items()} == {name: expected[name] for name in known}
    others = set(range(1000)) - set(known.values()) - {16, 41, 56, 135}  # ioctl, socket, clone, personality: by argument
    assert {answer(program, number) for number in (*others, X32 | 39)} == {UNKNOWN}


def test_it_is_small_enough_for_what_the_kernel_keeps_of_it() -> None:
    assert len(compile_profile("default", ())) // 8 <= 256, "twice that many take it two pages more for each sandbox"
