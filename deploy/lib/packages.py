"""Debian packages: installed only when they are missing, and the package lists fetched only when they are too old for that."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .console import Refused, say


def install(names: Sequence[str]) -> None:
    """Raises Refused with what to install by hand where that is not possible."""
    if not names:
        return
    words = " ".join(names)
    if shutil.which("apt-get") is None:
        raise Refused(
            f"This machine lacks {words} and has no apt-get: install the like with its own package manager, then run this again."
        )
    say(f"Installing the system packages {words} …")
    if _apt("install", "--no-install-recommends", *names) is None:
        return
    _apt("update")
    if (reason := _apt("install", "--no-install-recommends", *names)) is not None:
        raise Refused(
            f"The system packages {words} could not be installed ({reason}): install them with apt-get, then run this again."
        )


def unpack(name: str, place: Path) -> None:
    """The files of a package below ``place``, without installing it: what it would replace stays as it is."""
    with tempfile.TemporaryDirectory() as scratch:
        for attempt in (1, 2):
            ran = subprocess.run(["apt-get", "-q", "download", name], cwd=scratch, capture_output=True, check=False)
            if found := list(Path(scratch).glob("*.deb")):
                subprocess.run(["dpkg-deb", "--extract", str(found[0]), str(place)], check=True)
                return
            if attempt == 1:
                _apt("update")
        reason = ran.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["apt-get download failed"]
        raise Refused(f"The package {name} could not be fetched ({reason[0]}): check the network, then run this again.")


def _apt(*words: str) -> str | None:
    """None when it went well, else the last error that it printed."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    ran = subprocess.run(
        ["apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=120", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ran.returncode == 0:
        return None
    errors = [line.strip() for line in ran.stdout.splitlines() if line.startswith(("E:", "dpkg:"))]
    return errors[-1] if errors else f"exit code {ran.returncode}"
