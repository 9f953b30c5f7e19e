"""Work on an image's files by a process whose root directory they are, and which can do little else.

It keeps the five capabilities that making other users' files takes. So whatever a hostile tar makes it do, it does inside.
Sources: chroot(2), capabilities(7).
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

import msgspec

from ...errors import KernelRefused, TerrariumError
from .. import syscalls as sc
from .task import Failed, failed

_KEPT = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 31  # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP


class _Answer(msgspec.Struct):
    result: dict[str, str] = {}
    failed: Failed | None = None


class Refused(TerrariumError):
    """An error that the confined process told."""


def run_inside(root: str, work: Callable[[], dict[str, str]]) -> dict[str, str]:
    """``work`` in a forked process below ``root``; what it returns, or its error. No other thread may be running."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(root, work, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    try:
        told = msgspec.json.decode(answer, type=_Answer)
    except msgspec.DecodeError:
        raise KernelRefused("The import was killed.", hint="The worker's log and the kernel's (dmesg) may say why.") from None
    if told.failed is not None:
        raise Refused(told.failed.message, hint=told.failed.hint, code=told.failed.code)
    return told.result


def _child(root: str, work: Callable[[], dict[str, str]], writing: int) -> None:
    """Never returns."""
    try:
        sc.prctl(sc.PR_SET_PDEATHSIG, 9)
        os.umask(0)
        os.chdir(root)
        os.chroot(".")
        sc.capset(_KEPT, _KEPT, 0)
        sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
        sys.meta_path.clear()  # what is not imported by now would come from the image
        answer = msgspec.json.encode(_Answer(work()))
    except TerrariumError as error:
        answer = msgspec.json.encode(_Answer(failed=failed(error)))
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        told = Failed("internal", "The import made a mistake.", "The worker's log says more.")
        answer = msgspec.json.encode(_Answer(failed=told))
    try:
        while answer:
            answer = answer[os.write(writing, answer) :]
    finally:
        os._exit(0)
