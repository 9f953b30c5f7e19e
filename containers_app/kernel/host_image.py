"""The image "host": the machine's own programs and settings, read-only, as nsexec and plain unshare use them.

Not the host's whole root: only the directories below, each as a read-only, nosuid, nodev bind. /home, /root, /var, /srv, /tmp
and /run are the sandbox's own and empty, so that nobody's data, sockets or secrets come along. The binds are not id-mapped:
to the sandbox's user namespace all files are nobody's, so what only root may read on the host (/etc/shadow, private keys)
its root may not read either, and set-user-id programs give nothing. What every user of the host may read can be read, hence
the policy's ``host_image``, which is off unless root sets it.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .images import Image, read_image, used_image, write_facts

HOST_IMAGE = "host"
_SHOWN = ("usr", "etc", "opt", "bin", "sbin", "lib", "lib32", "lib64", "libx32")  # the latter are links on merged-usr systems
_OWN = {"proc": 0o755, "sys": 0o755, "dev": 0o755, "run": 0o755, "home": 0o755, "root": 0o700, "mnt": 0o755, "srv": 0o755,
        "tmp": 0o1777, "var": 0o755, "var/tmp": 0o1777, "var/log": 0o755}  # fmt: skip


def directories() -> tuple[str, ...]:
    """What of the host is bound into each sandbox of this image."""
    return tuple(f"/{name}" for name in _SHOWN if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"))


def ensure_host_image(images_dir: str) -> Image:
    """Build what lies below the binds. Cheap, and the same each time, so it is not compared but completed."""
    place = Path(images_dir, HOST_IMAGE)
    root = place / "rootfs"
    root.mkdir(mode=0o755, parents=True, exist_ok=True)
    for name, mode in _OWN.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)
    for name in _SHOWN:
        source, target = Path("/", name), root / name
        if source.is_symlink() and not target.is_symlink():
            target.symlink_to(os.readlink(source))
        elif source.is_dir() and not source.is_symlink():
            target.mkdir(mode=0o755, exist_ok=True)
    image = Image(
        name=HOST_IMAGE, source="host:/", digest="", created_at=time.time(), size=0, command=("sleep", "infinity"), env={}
    )  # fmt: skip
    if read_image(images_dir, HOST_IMAGE) is None:
        with contextlib.suppress(OSError):  # a full disk: sandboxes need the files alone
            write_facts(place, image)
    return used_image(images_dir, HOST_IMAGE)
