"""Frames: how messages go over the socket, and the handshake."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from ...errors import TerrariumError

VERSION = 1
MAX_REQUEST = 1 << 20  # bytes; a spec is at most about 200 KB
MAX_REPLY = 32 << 20  # bytes; 1,000 containers are about 2 MB


class Hello(msgspec.Struct, frozen=True, tag=True):
    version: int
    node: str = ""


class Request(msgspec.Struct, frozen=True, tag=True):
    id: int
    body: msgspec.Raw  # one of AnyCommand


class Reply(msgspec.Struct, frozen=True, tag=True):
    id: int
    result: msgspec.Raw
    has_fd: bool = False


class Failure(msgspec.Struct, frozen=True, tag=True):
    id: int
    code: str
    message: str
    hint: str
    status: int


class Push(msgspec.Struct, frozen=True, tag=True):
    topic: str
    payload: msgspec.Raw  # ContainersChanged | StatsFrame | Event, by topic


FromWorker = Hello | Reply | Failure | Push
FromWeb = Hello | Request

HEADER = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()


def frame(message: FromWorker | FromWeb) -> bytes:
    """One message as it goes over the wire."""
    body = _encoder.encode(message)
    return HEADER.pack(len(body)) + body


class FrameTooLong(TerrariumError):
    code = "too_large"
    status = 413


class Frames:
    """Cuts a byte stream into frame bodies. ``feed`` yields those that are whole; the rest waits for more."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises FrameTooLong as soon as a length over the maximum is read; the stream is then of no more use."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._buffer)
            if length > self._maximum:
                raise FrameTooLong(f"A message of {length} bytes is longer than the {self._maximum} allowed.")
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield body

    @property
    def unfinished(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._buffer)
