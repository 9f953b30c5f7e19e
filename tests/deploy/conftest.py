"""Panels for the tests of deploy itself: each a second one beside the session's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.panel import Panel, free_port


@pytest.fixture
def other(tmp_path: Path, panel: Panel) -> Iterator[Panel]:
    """Directories with the packages already there; nothing is started. Removed at the end, whatever became of it."""
    other = Panel(tmp_path.resolve(), free_port())
    other.seed(panel)
    yield other
    other.down("--all", "--purge")
