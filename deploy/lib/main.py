"""The one start of every entry point: finds the program by its name, and turns each failure into one sentence."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from types import FrameType

PROGRAMS = ("up", "down", "manage", "test", "bench", "screenshot", "supervise")


def main(argv: list[str]) -> int:
    """``argv`` is the program's name and its words. Returns the exit code: 0, 1 for a refusal, 2 for wrong usage."""
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    from deploy.lib.console import Refused, complain

    program, words = argv[0], argv[1:]
    if program not in PROGRAMS:
        complain(program, f"There is no such program; there are {', '.join(PROGRAMS)}.")
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(importlib.import_module(f"deploy.lib.{program}").main(words))
    except Refused as refusal:
        complain(program, str(refusal))
        return refusal.exit_code
    except KeyboardInterrupt:
        complain(program, "Interrupted. Nothing is left half done: run it again to go on.")
        return 130
    except OSError as error:
        complain(program, _sentence(error))
        return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _sentence(error: OSError) -> str:
    where = f" at {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full{where}: free some space, then run it again."
    if error.errno == errno.EROFS:
        return f"The file system is read-only{where}: remount it writable or choose another directory."
    return f"{error.strerror or error}{where}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
