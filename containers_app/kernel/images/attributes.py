"""Extended attributes of a tar's files: "user.*" and file capabilities are kept, all others are dropped and counted.

A file's capabilities are stored without an owner (version 2): through a sandbox's id-mapped image they then belong to the
root of its own user namespace, and to nobody outside. So version 3 loses its owner here. They give nothing while the sandbox
has no_new_privs, as it has unless asked otherwise. "user.overlay.*" is overlayfs's own, and "trusted.*", other "security.*"
and access control lists (whose ids are not shifted) speak about the host. Sources: xattr(7), capabilities(7), star(5).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

_HEADER = "SCHILY.xattr."
_CAPABILITY = "security.capability"
_REVISION, _EFFECTIVE = 0xFF000000, 0x000001
_VERSION_2, _VERSION_3 = 0x02000000, 0x03000000


def restore(place: int | str, headers: Mapping[str, str]) -> int:
    """Those of ``headers`` (of a tar's member) that are kept, onto a file or directory. Returns how many are not."""
    lost = 0
    for key, text in headers.items():
        name = key.removeprefix(_HEADER)
        if name == key:
            continue
        value = _kept(name, text.encode("utf-8", "surrogateescape"))
        try:
            if value is None:
                lost += 1
            else:
                os.setxattr(place, name, value)
        except (OSError, ValueError):  # no room, too long, or a file system without them
            lost += 1
    return lost


def _kept(name: str, value: bytes) -> bytes | None:
    if name == _CAPABILITY:
        return _without_owner(value)
    return value if name.startswith("user.") and not name.startswith("user.overlay.") else None


def _without_owner(value: bytes) -> bytes | None:
    """Version 2 of it; None for what is none."""
    (magic,) = struct.unpack_from("<I", value) if len(value) >= 4 else (0,)
    if (magic & _REVISION, len(value)) not in ((_VERSION_2, 20), (_VERSION_3, 24)):
        return None
    return struct.pack("<I", _VERSION_2 | magic & _EFFECTIVE) + value[4:20]
