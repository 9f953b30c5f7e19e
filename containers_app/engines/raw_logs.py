"""A sandbox's log: the end of the file that its program writes to."""

from __future__ import annotations

import os

MAX_LOG_READ = 4 << 20  # bytes


def read_tail(path: str, lines: int) -> str:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - MAX_LOG_READ))
            text = file.read(MAX_LOG_READ).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""
