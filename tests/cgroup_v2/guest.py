"""The virtual machine as seen by the tests that wait for it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import machine

TAIL = 3000  # characters of each log


class Guest:
    """Boots at once, in the background. ``close`` ends it wherever it is."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.out = Path(tempfile.mkdtemp(prefix="terrarium-guest-")).resolve()  # not below pytest's: it is not the tests' own
        with open(self.out / "machine.log", "wb") as log:
            self._machine = subprocess.Popen(
                [sys.executable, "-m", machine.__name__, str(self.out), *tests],
                cwd=machine.ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._ended = os.pidfd_open(self._machine.pid)

    def failure_of(self, test: str) -> str:
        """Waits for the test's end. "" when it passed, else why not, or why it never ran."""
        while (failure := self._results().get(test)) is None:
            if select.select([self._ended], [], [], 0.2)[0]:  # the machine's own time-out bounds this
                return self._results().get(test) or f"The guest did not run {test}.{self._logs()}"
        return failure

    def _results(self) -> dict[str, str]:
        try:
            lines = (self.out / "results").read_text().splitlines(keepends=True)
        except FileNotFoundError:
            return {}
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return {result["test"]: result["failure"] for result in found}

    def _logs(self) -> str:
        logs = [self.out / name for name in ("machine.log", "boot.log", "output")]
        return "".join(f"\n--- {log.name}\n{log.read_text(errors='replace')[-TAIL:]}" for log in logs if log.exists())

    def close(self) -> None:
        assert self._machine.stdin is not None
        self._machine.stdin.close()
        self._machine.wait()
        os.close(self._ended)
        shutil.rmtree(self.out)
