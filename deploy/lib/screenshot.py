"""deploy/screenshot: run tests/screenshot.py, which writes docs/panel.png."""

from __future__ import annotations

import os

from . import packages, preflight, testbed
from .install import SOURCE


def main(words: list[str]) -> int:
    preflight.check_root()
    packages.install(testbed.missing_packages())
    python = testbed.ensure_venv()
    os.chdir(SOURCE)
    os.execve(python, [str(python), str(SOURCE / "tests" / "screenshot.py"), *words], testbed.environment(python))
