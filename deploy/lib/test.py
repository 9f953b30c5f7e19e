"""deploy/test [PATH…]: set up what the tests need on this machine, then run them with pytest; the words are pytest's."""

from __future__ import annotations

import os

from . import packages, preflight, testbed
from .install import SOURCE


def main(words: list[str]) -> int:
    preflight.check_root()
    packages.install(testbed.missing_packages())
    python = testbed.ensure_venv()
    os.chdir(SOURCE)
    os.execve(python, [str(python), "-m", "pytest", *words], testbed.environment(python))
