"""What every refusal of deploy/up must be: one sentence, and nothing changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.panel import deploy, free_port


def refused(base: Path, *words: str, env: dict[str, str] | None = None, code: int = 1, wrapper: tuple[str, ...] = ()) -> str:
    """Run deploy/up below ``base`` and return the sentence. Words given here win over the usual ones."""
    usual = ("--data", str(base / "data"), "--run", str(base / "run"), "--port", str(free_port()), "--detach")
    before = inventory(base)
    ran = deploy("up", *usual, *words, env=env, wrapper=wrapper, timeout=60)
    check_refusal(ran, code)
    assert inventory(base) == before
    return ran.stderr.strip().removeprefix("deploy/up: ")


def check_refusal(ran: subprocess.CompletedProcess[str], code: int = 1) -> None:
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert ran.stderr.startswith("deploy/") and ran.stderr.endswith(".\n"), ran.stderr


def inventory(base: Path) -> list[tuple[str, int, int, int]]:
    """Each file's path, mode, size and time of change, without following links."""
    found = []
    for directory, names, files in os.walk(base):
        for name in (*names, *files):
            status = os.lstat(os.path.join(directory, name))
            found.append((os.path.join(directory, name), status.st_mode, status.st_size, status.st_mtime_ns))
    return sorted(found)
