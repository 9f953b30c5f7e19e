"""What the import program tells, and to whom."""

from __future__ import annotations

import os
import subprocess
import sys

SAY = "from containers_app.kernel.images.task import Done, Reporter; Reporter().say(Done('made'))"


def test_a_report_that_nobody_hears_ends_the_program_without_a_word() -> None:
    heard, told = os.pipe()
    os.close(heard)
    try:
        ended = subprocess.run([sys.executable, "-c", SAY], stdout=told, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(told)
    assert (ended.returncode, ended.stderr) == (1, b"")
