"""What the kernel tests share: the real control groups of this host, and processes that end with the test."""

import os

import pytest

from tests.groups import cgroups as cgroups
from tests.groups import spawn as spawn


@pytest.fixture
def group(cgroups):
    """The name of a group that nobody else has. Whatever a test makes in it is killed and removed afterwards."""
    top = f"terrarium-t{os.getpid():x}"
    yield f"{top}/one"
    for name in ("one", "two"):
        cgroups.thaw(cgroups.paths(f"{top}/{name}"))
        cgroups.kill(cgroups.paths(f"{top}/{name}"))
    cgroups.remove(cgroups.paths(top))
