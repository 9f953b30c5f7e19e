"""The linter and the formatter are ordinary failing tests."""

from __future__ import annotations

import subprocess
import sys

from tests.panel import ROOT


def test_ruff_finds_nothing() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_file_is_formatted() -> None:
    command = [sys.executable, "-m", "ruff", "format", "--check", "--no-cache", "--exclude", "migrations", "."]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
