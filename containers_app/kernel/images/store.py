"""Where images lie: read-only root file systems under ``images_dir``, each ``<name>/{rootfs/,image.json}``.

An image appears whole or not at all: it is built in a directory whose name begins with a dot, then renamed. Its files keep
plain ids, 0 to 65535; a sandbox sees them through an id-mapped mount. A set-user-id program in it is harmless on the host:
the directory is root's alone (0700), and inside of a sandbox root is nobody outside.
``image.json`` says where it came from, so that every importer writes the same shape. Where that is cut short the image is there
for the sandboxes that were made from it, and to be exported or removed; nothing new is made from it.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

import msgspec

from ...errors import Conflict, InvalidInput, NotFound
from .. import file_tree

SPOILT = "unknown: its image.json can't be read"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,126}", re.ASCII)


class Image(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``size`` in bytes, ``created_at`` in Unix seconds. ``rootfs`` is known by where the image lies, not stored."""

    name: str
    source: str  # importer and origin, for example "busybox:/bin/busybox" or "tar:upload"
    digest: str  # of what it was made from: another digest, another image
    created_at: float
    size: int
    command: tuple[str, ...]
    env: dict[str, str]
    cwd: str = "/"
    user: str = "0:0"  # uid:gid inside
    owner: str = ""  # who imported or committed it; "" for the panel's own
    rootfs: str = ""


def list_images(images_dir: str) -> list[Image]:
    """Sorted by name, those without a readable image.json too."""
    try:
        names = sorted(entry.name for entry in os.scandir(images_dir) if _NAME.fullmatch(entry.name))
    except FileNotFoundError:
        return []
    return [image for name in names if (image := _look(images_dir, name)) is not None]


def get_image(images_dir: str, name: str) -> Image:
    """To make a sandbox from."""
    image = used_image(images_dir, name)
    if image.source == SPOILT:
        raise Conflict(
            f"Nothing can be made from the image {name}: its image.json can't be read.",
            code="image_spoilt",
            hint="Sandboxes made from it run on. Import it under another name, or remove them and it and import it again.",
        )
    return image


def used_image(images_dir: str, name: str) -> Image:
    """Of a sandbox that there is, which needs its files. All else is in the sandbox's spec, but for the image's environment."""
    image = _look(images_dir, check_name(name))
    if image is None:
        names = ", ".join(image.name for image in list_images(images_dir))
        raise NotFound(f"There is no image “{name}”.", hint=f"Images are: {names}." if names else "Import an image first.")
    return image


def _look(images_dir: str, name: str) -> Image | None:
    rootfs = f"{images_dir}/{name}/rootfs"
    image = read_image(images_dir, name)
    if image is None and os.path.isdir(rootfs):
        made = os.stat(rootfs).st_mtime
        return Image(name=name, source=SPOILT, digest="", created_at=made, size=0, command=(), env={}, rootfs=rootfs)
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


def install_image(scratch: Path, place: Path) -> None:
    """The last step of an import. Conflict when the name was taken meanwhile."""
    try:
        scratch.rename(place)
    except OSError:
        if not place.exists():
            raise
        raise Conflict(f"There is an image “{place.name}” already.", hint="Choose another name.", code="name_taken") from None


def hide_image(images_dir: str, name: str) -> str:
    """The first half of a removal, one rename; the second is to remove what this returns. Raises NotFound."""
    used_image(images_dir, name)
    gone = f"{images_dir}/.removed-{os.urandom(8).hex()}"
    os.rename(f"{images_dir}/{name}", gone)
    return gone


def remove_scratch(images_dir: str) -> None:
    """What a build or a removal left behind when it was killed. To be called while no other one runs."""
    for entry in os.scandir(images_dir) if os.path.isdir(images_dir) else []:
        if entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            file_tree.clear_away(entry.path)


def replace_image(scratch: Path, place: Path) -> None:
    """Put a finished image in the place of another of its name. A kill between the two renames leaves none: it is built again."""
    if not place.exists():
        scratch.rename(place)
        return
    old = place.with_name(f".{place.name}-old-{os.getpid()}")
    place.rename(old)
    scratch.rename(place)
    file_tree.clear_away(str(old))


def read_image(images_dir: str, name: str) -> Image | None:
    """None too when image.json is cut short or of another shape: then it can be built again."""
    place = f"{images_dir}/{name}"
    try:
        facts = os.stat(f"{place}/image.json")
        return _decode(place, name, facts.st_ino, facts.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


@functools.lru_cache(maxsize=256)
def _decode(place: str, name: str, inode: int, changed: int) -> Image:
    """Every launch asks for its image; ``inode`` and ``changed`` (ns) tell when the file is another one."""
    with open(f"{place}/image.json", "rb") as file:
        image = msgspec.json.decode(file.read(), type=Image)
    return msgspec.structs.replace(image, name=name, rootfs=f"{place}/rootfs")


def write_facts(place: Path, image: Image) -> None:
    """image.json, in the place of one that may be there."""
    new = place / ".image.json.new"
    new.unlink(missing_ok=True)
    write_file(new, msgspec.json.format(msgspec.json.encode(image)), 0o600)
    new.rename(place / "image.json")


def write_file(path: Path, content: bytes, mode: int) -> None:
    """On the disk before the rename that makes it seen, so that a power cut leaves no empty program behind."""
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
