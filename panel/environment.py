"""What the environment says, made into the values that the settings need. No Django here."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path


def read_secret_key(directory: Path) -> str:
    """The key in DIRECTORY/secret_key, made 0600 on the first call; of several first callers one wins, and all read its key."""
    path = directory / "secret_key"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    new = path.with_name(f".secret_key.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)  # atomic, and refuses where another process was first
    except FileExistsError:
        pass
    finally:
        new.unlink()
    return path.read_text().strip()


def own_names(host: str) -> list[str]:
    """The names under which a browser may reach a panel that listens on ``host``; ``*`` when it listens on every address.

    The websocket's and CSRF's Origin checks hold either way; the list keeps foreign names that resolve to us (DNS
    rebinding) away from a panel that only listens on the loop-back.
    """
    if host in ("0.0.0.0", "::", ""):
        return ["*"]
    name = socket.gethostname()
    return list(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host, name.lower()]))


def read_port(text: str) -> int:
    """The port, or 0 for what is no port; the system check terrarium.E002 says so in words."""
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 65536 else 0
