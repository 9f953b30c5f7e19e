"""Talking to the person at the terminal: progress lines, and refusals of one sentence."""

from __future__ import annotations

import sys


class Refused(Exception):
    """This can't be done; the message is one sentence that says why and what to do."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def say(line: str = "") -> None:
    print(line, flush=True)


def complain(program: str, sentence: str) -> None:
    print(f"deploy/{program}: {sentence}", file=sys.stderr, flush=True)
