"""Imports go one way; the contracts are in .importlinter."""

from __future__ import annotations

import subprocess
import sys

from tests.panel import ROOT

_KEEPER_ALONE = """
import sys
sys.argv = ["keeper"]
sys.path.insert(0, {root!r})
import containers_app.kernel.keeper
strangers = sorted(name for name in sys.modules if name.split(".")[0] in
                   ("msgspec", "pyroute2", "docker", "asyncio", "django", "channels", "ssl", "logging"))
assert not strangers, strangers
"""


def test_every_contract_is_kept() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_keeper_starts_without_site_packages() -> None:
    """-I -S: nothing but the standard library can be found."""
    program = _KEEPER_ALONE.format(root=str(ROOT))
    ran = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
