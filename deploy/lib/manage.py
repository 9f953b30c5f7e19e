"""deploy/manage: manage.py as the web half runs it: same user, same settings, same view of the files."""

from __future__ import annotations

import os

from . import preflight, webspace
from .console import Refused
from .instance import load
from .options import parse_manage


def main(words: list[str]) -> int:
    place, command = parse_manage(words, os.environ)
    preflight.check_root()
    instance = load(place)
    needed = (
        instance.app / "manage.py",
        instance.venv / "bin/python",
        instance.data / "static",
        instance.data / "web",
        instance.run / "web",
    )
    if instance.uid < 0 or not all(path.exists() for path in needed):
        raise Refused(f"No panel is set up at {instance.data}: run deploy/up first, or name its directory with --data.")
    webspace.enter(instance)
    webspace.drop(instance.uid, instance.gid)
    environment = webspace.environment(instance) | {
        name: os.environ[name] for name in ("TERM", "COLUMNS", "LINES") if name in os.environ
    }
    os.execve("/mnt/venv/bin/python", ["/mnt/venv/bin/python", "/mnt/app/manage.py", *command], environment)
