"""Images: read-only root file systems under ``images_dir``, each ``<name>/{rootfs/,image.json}``.

An image appears whole or not at all: it is built in a directory whose name begins with a dot, then renamed. The root
file system keeps the host's ids; a sandbox sees it through an id-mapped mount. ``image.json`` says where it came from,
so that every importer writes the same shape. Source: busybox(1), elf(5).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec

from ..errors import InvalidInput, KernelRefused, NotFound, Unsupported
from . import resolver

BUSYBOX = "/bin/busybox"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,126}", re.ASCII)
_LAYOUT = b"1"  # to be raised when _write_root changes: the image is then built anew
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DIRECTORIES = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "mnt": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755,
    "sbin": 0o755, "sys": 0o755, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "var": 0o755,
    "var/log": 0o755, "var/tmp": 0o1777,
}  # fmt: skip
_FILES = {
    "etc/passwd": "root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/hostname": "sandbox\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


class Image(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``size`` in bytes, ``created_at`` in Unix seconds. ``rootfs`` is known by where the image lies, not stored."""

    name: str
    source: str  # importer and origin, for example "busybox:/bin/busybox"
    digest: str  # of what it was made from: another digest, another image
    created_at: float
    size: int
    command: tuple[str, ...]
    env: dict[str, str]
    rootfs: str = ""


def list_images(images_dir: str) -> list[Image]:
    """Sorted by name. A directory without a readable image.json is no image."""
    try:
        names = sorted(entry.name for entry in os.scandir(images_dir) if _NAME.fullmatch(entry.name))
    except FileNotFoundError:
        return []
    return [image for name in names if (image := _read(images_dir, name)) is not None]


def get_image(images_dir: str, name: str) -> Image:
    image = _read(images_dir, check_name(name))
    if image is None:
        names = ", ".join(image.name for image in list_images(images_dir))
        raise NotFound(f"There is no image “{name}”.", hint=f"Images are: {names}." if names else "Import an image first.")
    return image


def check_name(name: str) -> str:
    """The name of a directory and nothing more: no slash, no leading dot."""
    if not _NAME.fullmatch(name):
        shown = name if name.isprintable() and len(name) <= 60 else ascii(name)[:60]
        raise InvalidInput(
            f"“{shown}” is not the name of a sandbox image.",
            code="invalid_image",
            hint="Use letters, digits, '-', '_', '.' or ':', beginning with a letter or digit.",
        )
    return name


def ensure_busybox(images_dir: str, *, in_use: bool = False, busybox: str = BUSYBOX) -> Image:
    """The image "busybox" from the machine's own program; built anew when that has changed, unless a sandbox uses it."""
    existing = _read(images_dir, "busybox")
    if existing is not None and in_use:
        return existing
    program = _read_static(busybox)
    digest = "sha256:" + hashlib.sha256(_LAYOUT + program).hexdigest()
    if existing is not None and existing.digest == digest:
        return existing
    applets = _applets(busybox)
    try:
        os.makedirs(images_dir, mode=0o700, exist_ok=True)
        remove_scratch(images_dir)
        _build(Path(images_dir), busybox, program, digest, applets)
    except OSError as error:
        raise KernelRefused(
            f"The image busybox can't be written: {error.strerror}.", hint=f"Look at df and ls -ld {images_dir}."
        ) from None
    return get_image(images_dir, "busybox")


def remove_scratch(images_dir: str) -> None:
    """What a build or a removal left behind when it was killed. To be called while no other one runs."""
    for entry in os.scandir(images_dir):
        if entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)


def _build(images: Path, busybox: str, program: bytes, digest: str, applets: list[str]) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".busybox-", dir=images))
    try:
        size = _write_root(scratch / "rootfs", program, applets)
        image = Image(
            name="busybox", source=f"busybox:{busybox}", digest=digest, created_at=time.time(), size=size,
            command=("sleep", "infinity"), env={"PATH": _PATH},
        )  # fmt: skip
        _write(scratch / "image.json", msgspec.json.format(msgspec.json.encode(image)), 0o600)
        _install(scratch, images / "busybox")
    finally:
        if scratch.exists():
            shutil.rmtree(scratch)


def _install(scratch: Path, place: Path) -> None:
    """A kill between the two renames leaves no image, and the next start builds it."""
    if not place.exists():
        scratch.rename(place)
        return
    old = place.with_name(f".{place.name}-old-{os.getpid()}")
    place.rename(old)
    scratch.rename(place)
    shutil.rmtree(old)


def _read(images_dir: str, name: str) -> Image | None:
    """None too when image.json is cut short or of another shape: then it can be built again."""
    place = f"{images_dir}/{name}"
    try:
        facts = os.stat(f"{place}/image.json")
        return _decode(place, name, facts.st_ino, facts.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


@functools.lru_cache(maxsize=256)
def _decode(place: str, name: str, inode: int, changed: int) -> Image:
    """Every launch asks for its image; ``inode`` and ``changed`` (ns) tell when the file is another one."""
    with open(f"{place}/image.json", "rb") as file:
        image = msgspec.json.decode(file.read(), type=Image)
    return msgspec.structs.replace(image, name=name, rootfs=f"{place}/rootfs")


def _read_static(busybox: str) -> bytes:
    """The program's bytes, checked to need no other file: an ELF program without PT_INTERP (3)."""
    hint = "Install a static one: apt-get install busybox-static."
    try:
        program = Path(busybox).read_bytes()
    except FileNotFoundError:
        raise Unsupported(f"There is no busybox at {busybox}.", hint=hint) from None
    if len(program) < 64 or program[:5] != b"\x7fELF\x02" or program[5] != 1:
        raise Unsupported(f"{busybox} is not a 64-bit program of this machine.", hint=hint)
    start, size, count = struct.unpack_from("<Q14xHH", program, 32)  # e_phoff, e_phentsize, e_phnum
    if start + size * count > len(program) or size < 4:
        raise Unsupported(f"{busybox} is cut short.", hint=hint)
    if any(struct.unpack_from("<I", program, start + size * row)[0] == 3 for row in range(count)):
        raise Unsupported(f"{busybox} needs shared libraries.", hint=hint)
    return program


def _applets(busybox: str) -> list[str]:
    """Paths such as "bin/ls", relative to the root."""
    done = subprocess.run([busybox, "--list-full"], capture_output=True, text=True, timeout=10, check=False)
    applets = [line for line in done.stdout.split() if re.fullmatch(r"(usr/)?s?bin/[^/]+", line)]
    if done.returncode or not applets:
        raise Unsupported(f"{busybox} does not list its programs.", hint="Install another one: apt-get install busybox-static.")
    return applets


def _write_root(root: Path, program: bytes, applets: list[str]) -> int:
    """Modes are set one by one, whatever the umask is. Returns the bytes of its files."""
    root.mkdir()
    root.chmod(0o755)
    for name, mode in _DIRECTORIES.items():
        (root / name).mkdir()
        (root / name).chmod(mode)
    for name, text in {**_FILES, "etc/resolv.conf": resolver.resolv_conf()}.items():
        _write(root / name, text.encode(), 0o644)
    _write(root / "bin" / "busybox", program, 0o755)
    for applet in applets:
        if applet != "bin/busybox":
            (root / applet).symlink_to("/bin/busybox")
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _write(path: Path, content: bytes, mode: int) -> None:
    """On the disk before the rename that makes it seen, so that a power cut leaves no empty program behind."""
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
