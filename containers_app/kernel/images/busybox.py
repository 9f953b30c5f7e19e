"""The image "busybox": the machine's own static program, a link for each of its commands, and the usual directories.

Source: busybox(1), elf(5).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec

from ...errors import KernelRefused, Unsupported
from .. import file_tree, resolver, top_directory
from .store import Image, get_image, read_image, remove_scratch, replace_image, write_facts, write_file

BUSYBOX = "/bin/busybox"
_LAYOUT = b"1"  # to be raised when _write_root changes: the image is then built anew
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DIRECTORIES = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "mnt": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755,
    "sbin": 0o755, "sys": 0o755, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "var": 0o755,
    "var/log": 0o755, "var/tmp": 0o1777,
}  # fmt: skip
FILES = {
    "etc/passwd": "root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/hostname": "sandbox\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def ensure_busybox(images_dir: str, *, in_use: bool = False, busybox: str = BUSYBOX) -> Image:
    """The image "busybox" from the machine's own program; built anew when that has changed, unless a sandbox uses it."""
    existing = read_image(images_dir, "busybox")
    if existing is None and in_use:
        existing = _describe_again(Path(images_dir, "busybox"), busybox)
    if existing is not None and in_use:
        return existing
    program = _read_static(busybox)
    if existing is not None and existing.digest == _digest(program):
        return existing
    applets = _applets(busybox)
    try:
        os.makedirs(images_dir, mode=0o700, exist_ok=True)
        top_directory.mark(images_dir)
        remove_scratch(images_dir)
        _build(Path(images_dir), busybox, program, applets)
    except OSError as error:
        raise KernelRefused(
            f"The image busybox can't be written: {error.strerror}.", hint=f"Look at df and ls -ld {images_dir}."
        ) from None
    return get_image(images_dir, "busybox")


def _describe_again(place: Path, busybox: str) -> Image | None:
    """For files that are in use and whose image.json was cut short; None without them."""
    program = place / "rootfs" / "bin" / "busybox"
    if not program.is_file():
        return None
    image = _image(busybox, program.read_bytes(), _size(place / "rootfs"))
    with contextlib.suppress(OSError):  # a full disk: sandboxes need the files alone
        write_facts(place, image)
    return msgspec.structs.replace(image, rootfs=str(place / "rootfs"))


def _digest(program: bytes) -> str:
    return "sha256:" + hashlib.sha256(_LAYOUT + program).hexdigest()


def _image(busybox: str, program: bytes, size: int) -> Image:
    return Image(
        name="busybox", source=f"busybox:{busybox}", digest=_digest(program), created_at=time.time(), size=size,
        command=("sleep", "infinity"), env={"PATH": _PATH},
    )  # fmt: skip


def _build(images: Path, busybox: str, program: bytes, applets: list[str]) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".busybox-", dir=images))
    try:
        size = _write_root(scratch / "rootfs", program, applets)
        write_facts(scratch, _image(busybox, program, size))
        replace_image(scratch, images / "busybox")
    finally:
        file_tree.clear_away(str(scratch))


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
    for name, text in {**FILES, "etc/resolv.conf": resolver.resolv_conf()}.items():
        write_file(root / name, text.encode(), 0o644)
    write_file(root / "bin" / "busybox", program, 0o755)
    for applet in applets:
        if applet != "bin/busybox":
            (root / applet).symlink_to("/bin/busybox")
    return _size(root)


def _size(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
