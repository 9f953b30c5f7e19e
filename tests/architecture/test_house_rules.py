"""Rules of this house that no linter knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.panel import ROOT

LINES_MAX = 420  # about 400: what a formatter adds is no reason to cut
TEXT = (".py", ".js", ".mjs", ".css", ".html", ".md", ".toml", ".txt", ".json", ".sh", ".ini", ".yml", "")
_FORBIDDEN = (
    # Spelled in parts, so that this file does not hold the words itself.
    (re.compile(r"/tmp/(?:team|v)\b"), "a path of somebody's machine"),
    (re.compile(r"/wo" r"rk/|\.py" r"env|/ho" r"me/[a-z]+/"), "a path of somebody's machine"),
    (re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b"), "unfinished work: do it or write an issue"),
    (re.compile(r"^(?:<{7}|>{7}) ", re.M), "a merge conflict"),
)


def tracked() -> list[Path]:
    """Files of the project: those of the version control where there is one, else all."""
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    names = ran.stdout.split("\0") if ran.returncode == 0 else [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    return [ROOT / name for name in names if name and (ROOT / name).is_file() and "__pycache__" not in name]


def test_no_module_is_longer_than_its_reader_can_hold() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in tracked() if path.suffix in (".py", ".js", ".mjs", ".css")}
    assert {str(path): length for path, length in lengths.items() if length > LINES_MAX} == {}


@pytest.mark.parametrize(("pattern", "meaning"), _FORBIDDEN, ids=lambda value: "")
def test_no_file_holds(pattern: re.Pattern[str], meaning: str) -> None:
    found = {}
    for path in tracked():
        if (
            path.suffix in TEXT
            and path.name != "package-lock.json"
            and (match := pattern.search(path.read_text(errors="replace")))
        ):
            found[str(path.relative_to(ROOT))] = match[0]
    assert not found, f"{meaning}: {found}"


def test_only_one_module_speaks_ctypes_to_the_kernel() -> None:
    modules = [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / "containers_app")]
    pattern = re.compile(r"^\s*(?:import|from) ctypes", re.M)
    users = {str(path.relative_to(ROOT)) for path in modules if pattern.search(path.read_text())}
    allowed = {"containers_app/kernel/syscalls.py", "containers_app/kernel/seccomp.py", "containers_app/kernel/nftables.py"}
    assert users - allowed == set()


def test_no_module_is_called_utils() -> None:
    assert [path for path in tracked() if path.stem in ("utils", "helpers", "misc", "common")] == []


def test_scripts_can_be_run() -> None:
    scripts = [ROOT / "deploy" / name for name in ("up", "down", "manage", "test", "bench")] + [ROOT / ".ci" / "run"]
    assert [str(path) for path in scripts if not path.stat().st_mode & 0o111] == []
