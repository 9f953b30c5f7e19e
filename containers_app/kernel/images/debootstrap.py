"""Debian and its relatives, by debootstrap(8) in the mount namespace of the import program.

Only from a mirror that this host's own apt uses, and only what Debian's keyring has signed: what the packages' scripts
do, they do as root, as when they are installed here.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import stat
import subprocess

from ...errors import InvalidInput, KernelRefused, PolicyRefused, Unsupported
from ...spec import DebootstrapSource
from .task import Reporter

_KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/ubuntu-archive-keyring.gpg")
_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(https?://\S+)", re.M)
_URIS = re.compile(r"^URIs:\s*(.+)$", re.M | re.I)
_LAST_WORDS = 3  # lines of the log that tell why it failed


def mirrors() -> list[str]:
    """Of this host's apt, sources.list(5); those of security updates are no whole archive."""
    found: list[str] = []
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        try:
            with open(path) as file:
                text = file.read()
        except OSError:
            continue
        found += _LINE.findall(text) + [word for line in _URIS.findall(text) for word in line.split()]
    plain = (url.rstrip("/") for url in found if url.startswith(("http://", "https://")))
    return [url for url in dict.fromkeys(plain) if "security" not in url]


def choose_mirror(source: DebootstrapSource) -> str:
    known = mirrors()
    if source.mirror and source.mirror.rstrip("/") not in known:
        raise PolicyRefused(f"{source.mirror} is no mirror of this host.", hint="Leave it out, or add it to apt's sources.")
    if not known:
        raise Unsupported("This host's apt has no mirror.", hint="Write one to /etc/apt/sources.list.")
    return source.mirror.rstrip("/") or known[0]


def bootstrap(source: DebootstrapSource, root: str, reporter: Reporter) -> str:
    """Into the empty directory ``root``; returns the mirror. Raises Unsupported where debootstrap is not installed."""
    program = shutil.which("debootstrap", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise Unsupported("debootstrap is not installed.", hint="apt-get install debootstrap")
    mirror = choose_mirror(source)
    keyring = next((path for path in _keyrings(mirror) if os.path.exists(path)), "")
    if not keyring:
        raise Unsupported("The keyring that signs Debian's archive is not here.", hint="apt-get install debian-archive-keyring")
    scripts = "/usr/share/debootstrap/scripts"
    if not os.path.exists(f"{scripts}/{source.suite}"):
        known = ", ".join(name for name in ("bookworm", "trixie", "sid", "noble") if os.path.exists(f"{scripts}/{name}"))
        raise InvalidInput(f"debootstrap knows no suite {source.suite}.", code="invalid_source", hint=f"For example {known}.")
    argv = [program, "--variant=minbase", f"--keyring={keyring}", "--force-check-gpg"]
    argv += [f"--include={','.join(source.packages)}"] if source.packages else []
    _run([*argv, source.suite, root, mirror], reporter)
    _tidy(root)
    return mirror


def _keyrings(mirror: str) -> tuple[str, ...]:
    return tuple(reversed(_KEYRINGS)) if "ubuntu" in mirror else _KEYRINGS


def _run(argv: list[str], reporter: Reporter) -> None:
    words: list[str] = []
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    environment |= {name: value for name, value in os.environ.items() if name.lower() in ("http_proxy", "https_proxy")}
    reporter.progress("Starting debootstrap")
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,
        env=environment,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            words = [*words, line.strip()][-_LAST_WORDS:]
            if line.startswith("I: "):
                reporter.progress(line[3:].strip().rstrip(".")[:100])
    if process.returncode:
        raise KernelRefused(
            f"debootstrap failed: {' '.join(words)[:400]}.", code="debootstrap", hint="Is the mirror there, and the suite in it?"
        )


def _tidy(root: str) -> None:
    """Without the packages that were fetched, and without device files: a sandbox gets its own /dev."""
    for path in glob.glob(f"{glob.escape(root)}/var/cache/apt/archives/*.deb"):
        os.unlink(path)
    for directory, _, names in os.walk(f"{root}/dev"):
        for name in names:
            path = os.path.join(directory, name)
            if stat.S_ISCHR(os.lstat(path).st_mode) or stat.S_ISBLK(os.lstat(path).st_mode):
                os.unlink(path)
