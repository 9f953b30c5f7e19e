"""deploy/bench NAME: set up what the tests need, then run tests/bench/NAME.py; further words are the benchmark's."""

from __future__ import annotations

import os

from . import packages, preflight, testbed
from .console import Refused
from .install import SOURCE

PEERS = {"bwrap": "bubblewrap", "crun": "crun", "runc": "runc"}  # what sandboxes are measured against


def main(words: list[str]) -> int:
    folder = SOURCE / "tests" / "bench"
    names = sorted(path.stem for path in folder.glob("[a-z]*.py") if path.stem != "table")
    if not words or words[0] not in names:
        raise Refused(f"Say which benchmark: deploy/bench NAME, where NAME is {' or '.join(names)}.", exit_code=2)
    preflight.check_root()
    packages.install(testbed.missing_packages(PEERS))
    python = testbed.ensure_venv()
    os.chdir(SOURCE)
    os.execve(python, [str(python), str(folder / f"{words[0]}.py"), *words[1:]], testbed.environment(python))
