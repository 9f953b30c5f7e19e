"""mypy --strict over the machine's half and deploy; what it covers is listed in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.panel import ROOT


def test_mypy_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
