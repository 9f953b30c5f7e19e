"""Panels for the tests of deploy itself: each a second one beside the session's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leaks
from tests.panel import Panel, free_port


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory, panel: Panel, watch: leaks.Watch) -> Iterator[Panel]:
    """One for all tests of a module, which call ``ensure_up`` when they need it running."""
    second = Panel(tmp_path_factory.mktemp("second").resolve(), free_port())
    watch.kept.add(second.tag)
    second.seed(panel)
    second.up()
    yield second
    second.down("--all", "--purge")
    watch.kept.discard(second.tag)


@pytest.fixture
def other(tmp_path: Path, panel: Panel) -> Iterator[Panel]:
    """Directories with the packages already there; nothing is started. Removed at the end, whatever became of it."""
    other = Panel(tmp_path.resolve(), free_port())
    other.seed(panel)
    yield other
    other.down("--all", "--purge")
