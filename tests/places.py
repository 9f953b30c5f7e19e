"""Where the directories of one test after another lie: each in a part of the disk of its own (kernel/top_directory.py).

On ext4 a file takes half a millisecond where hundreds have just been deleted, which is what a test's end does.
"""

from __future__ import annotations

import atexit
import functools
import os
import tempfile
from pathlib import Path

from containers_app.kernel import top_directory


def new_place(prefix: str) -> Path:
    """A new directory that only root may enter. Whoever asked for it removes it."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_top()))


@functools.cache
def _top() -> str:
    top = tempfile.mkdtemp(prefix="terrarium-tests-")
    top_directory.mark(top)
    atexit.register(os.rmdir, top)
    return top
