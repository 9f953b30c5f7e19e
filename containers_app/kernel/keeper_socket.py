"""The keeper's socket: where it listens, and how long a message may be. Standard library only; the keeper runs this."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

MAX_MESSAGE = 1 << 20
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33


def listen(path: str) -> socket.socket:
    """The listening socket, put in its place in one step so that it is never there with other permissions."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + ".new")
    previous = os.umask(0o177)
    try:
        listener.bind(path + ".new")
    finally:
        os.umask(previous)
    listener.listen(64)
    os.rename(path + ".new", path)
    return listener


def widen(connection: socket.socket) -> None:
    """Room for one largest message each way; root may pass the system's usual bound."""
    for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
        connection.setsockopt(socket.SOL_SOCKET, option, 2 * MAX_MESSAGE)


def is_root(connection: socket.socket) -> bool:
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(uid == 0)
