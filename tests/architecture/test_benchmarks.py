"""Each benchmark can begin: what it imports from the panel and from the tests is there. Running one is deploy/bench's."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "bench"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("[a-z]*.py")))
def test_a_benchmark_finds_all_that_it_imports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])  # as for a script: its own folder comes first
    found = runpy.run_path(str(FOLDER / f"{name}.py"))
    assert name == "table" or callable(found["main"])
