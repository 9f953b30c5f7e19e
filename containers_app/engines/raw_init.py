"""The init program: a small first process that hands signals on and reaps orphans. From this host, never from an image."""

from __future__ import annotations

import os

from ..errors import Unsupported

_SYSTEM = ("/usr/bin/tini-static", "/usr/bin/catatonit", "/usr/libexec/catatonit/catatonit")


def find(data: str) -> str:
    """Its path on this host, without symbolic links; "" where there is none. deploy/up fetches one into the data directory."""
    for path in (f"{data}/init/usr/bin/tini-static", *_SYSTEM):
        if os.access(path, os.X_OK):
            return os.path.realpath(path)
    return ""


def required(path: str) -> str:
    if not path:
        raise Unsupported(
            "This host has no init program for sandboxes.",
            hint="Install Debian's tini or catatonit and run deploy/up again, or leave init out.",
        )
    return path
