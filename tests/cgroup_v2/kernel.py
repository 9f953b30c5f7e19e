"""Debian's own kernel, unpacked under the tests' cache: nothing of the machine's boot changes."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.lib.testbed import CACHE


class NoKernel(Exception):
    """In words, with what the program that failed said."""


def ensure() -> Path:
    """The newest kernel of this machine's Debian, downloaded when it is not there yet. Returns boot/vmlinuz-RELEASE."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with open(CACHE / "kernel.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of another test run
        try:
            place = _ensure()
        except NoKernel:
            _run("apt-get", "-q", "update")  # never fetched, or too old: the version is gone from the mirror
            place = _ensure()
    return next((place / "boot").glob("vmlinuz-*"))


def _ensure() -> Path:
    package, version = _newest()
    place = CACHE / re.sub(r"[^A-Za-z0-9_+.-]", "_", f"kernel-{package}-{version}")
    if not (place / ".complete").exists():
        for old in CACHE.glob("kernel-*"):
            shutil.rmtree(old)
        _unpack(f"{package}={version}", place)
        (place / ".complete").touch()
    return place


def _newest() -> tuple[str, str]:
    """What ``linux-image-amd64`` depends on: the package's name and its version."""
    text = _run("apt-cache", "show", "--no-all-versions", "linux-image-amd64")
    match = re.search(r"^Depends: (linux-image-[^ ,]+) \(= ([^)]+)\)", text, re.M)
    if match is None:
        raise NoKernel(f"apt-cache names no kernel for linux-image-amd64: {text}")
    return match[1], match[2]


def _unpack(package: str, place: Path) -> None:
    with tempfile.TemporaryDirectory() as download:
        _run("apt-get", "-q", "download", package, cwd=download)
        _run("dpkg", "-x", *(str(path) for path in Path(download).glob("*.deb")), str(place))
    [release] = os.listdir(place / "lib/modules")
    _run("depmod", "-b", str(place), release)


def _run(*argv: str, cwd: str = "/") -> str:
    try:
        ran = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise NoKernel(f"{argv[0]} is not installed; the guest needs a Debian with apt-get and kmod.") from None
    if ran.returncode != 0:
        raise NoKernel(f"{' '.join(argv)}: {ran.stderr or ran.stdout}")
    return ran.stdout
