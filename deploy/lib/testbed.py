"""What tests and benchmarks need beside the panel itself: programs of the machine, and a Python environment under /var/cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import install, preflight
from .console import say

CACHE = Path("/var/cache/terrarium-test")
_PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "chromium": "chromium",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "iptables": "iptables",
    "nft": "nftables",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "useradd": "passwd",
    "node": "nodejs",
    "qemu-system-x86_64": "qemu-system-x86",
    "depmod": "kmod",
    "mkfs.ext4": "e2fsprogs",
    "podman": "podman",
    "docker-registry": "docker-registry",
    "debootstrap": "debootstrap",
    "gcc": "gcc",  # hostile programs for tests/engines/breakout
}
_FILES = {
    "/usr/include/stdlib.h": "libc6-dev",
    "/lib/systemd/systemd": "systemd",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core",
}


def missing_packages(more: Mapping[str, str] = {}) -> list[str]:
    """``more``: further programs → their packages."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [package for program, package in {**_PROGRAMS, **more}.items() if shutil.which(program, path=path) is None]
    missing += [package for file, package in _FILES.items() if not os.path.exists(file)]
    busybox = Path("/bin/busybox")
    if not busybox.exists() or not install.is_static(busybox):
        missing.append("busybox-static")  # in place of a dynamic one: the tests put it into images
    if not preflight.library_exists("libatomic.so.1"):
        missing.append("libatomic1")  # Playwright's own Node needs it
    return sorted({*missing, *preflight.missing_packages()})


def ensure_venv() -> Path:
    """A Python with the panel's packages and the tests' own, kept under the hash of what both ask for. Returns its program."""
    key = install.hash_of("requirements.txt", "requirements-dev.txt")
    place = CACHE / f"venv-{key[:16]}"
    if not (place / ".complete").exists():
        say("Installing the tests' Python packages (a minute the first time) …")
        for old in CACHE.glob("venv-*"):
            install.remove_tree(old)
        install.make_venv(place, "requirements.txt", "requirements-dev.txt")
        (place / ".complete").touch()
    return place / "bin/python"


def ensure_npm() -> Path:
    """The npm packages of panel and tests, kept under the lock file's hash. Returns their directory."""
    place = CACHE / f"npm-{install.npm_key()[:16]}"
    if not (place / ".complete").exists():
        say("Installing the tests' npm packages …")
        for old in CACHE.glob("npm-*"):
            install.remove_tree(old)
        install.make_npm(place)
        (place / ".complete").touch()
    return place / "node_modules"


def environment(python: Path) -> dict[str, str]:
    """The caller's, without what would change what the tests see; the environment's own programs come first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "TERRARIUM_", "VIRTUAL_ENV", "DJANGO_"))
    }
    return kept | {
        "PATH": f"{python.parent}:{kept.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin",
        "PYTHONPATH": str(install.SOURCE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }
