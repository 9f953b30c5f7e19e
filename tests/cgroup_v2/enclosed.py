"""In the guest: run a program as deploy/up runs the supervisor, in a unit that systemd has delegated.

python -m tests.cgroup_v2.enclosed PROGRAM WORD…
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deploy.lib import unit
from deploy.lib.instance import Instance

INSTANCE = Instance(Path("/tests/data"), Path("/tests/run"))


def main(argv: list[str]) -> None:
    """Twice: systemd-run begins it anew in the unit."""
    if not unit.enter(INSTANCE, os.getpid()):
        argv = unit.enclose(INSTANCE, [sys.executable, "-m", "tests.cgroup_v2.enclosed", *argv])
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1:])
