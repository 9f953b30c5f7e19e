"""deploy/test [PATH…]: set up what the tests need on this machine, then run them with pytest; the words are pytest's."""

from __future__ import annotations

import os
import signal

from . import packages, preflight, testbed
from .install import SOURCE


def main(words: list[str]) -> int:
    preflight.check_root()
    packages.install(testbed.missing_packages())
    python = testbed.ensure_venv()
    os.chdir(SOURCE)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # nohup and background jobs ignore them, and a shell under test would inherit that
    environment = testbed.environment(python) | {"TERRARIUM_NPM_DIR": str(testbed.ensure_npm())}
    os.execve(python, [str(python), "-m", "pytest", *words], environment)
