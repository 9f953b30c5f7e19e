"""A packed stream as plain bytes: forward only, unpacked piece by piece, bounded as it comes.

A decompression bomb is stopped when the budget is, long before it fills memory or disk. Sources: gzip (RFC 1952),
The .xz File Format, Zstandard (RFC 8878).
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import os
import zlib
from collections.abc import Callable
from typing import Protocol

from backports import zstd

from ...errors import InvalidInput
from .task import Budget

PIECE = 1 << 18  # bytes
MOST_AT_ONCE = 4 << 20  # bytes of one read: no header of a tar is longer
LZMA_MEMORY = 256 << 20  # bytes that an xz stream may ask for
ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}  # 128 MiB, as zstd itself asks for at most


class Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's object in the shape of the others."""

    def __init__(self) -> None:
        self._object, self._waiting = zlib.decompressobj(31), b""

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        plain = self._object.decompress(self._waiting + data, max_length)
        self._waiting = self._object.unconsumed_tail
        return plain


_MAGIC: tuple[tuple[bytes, Callable[[], Decompressor]], ...] = (
    (b"\x1f\x8b", _Gzip),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=LZMA_MEMORY)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\x28\xb5\x2f\xfd", lambda: zstd.ZstdDecompressor(options=ZSTD_OPTIONS)),
)


class Plain:
    """What ``tarfile`` reads from: ``read``, ``tell`` and ``seek`` forward. Every plain byte is spent from the budget.

    ``digest`` is of the packed bytes ("sha256:…"), or of the plain ones, once all is read. ``told`` hears how many packed
    bytes were read. ``length`` is where they end; -1 is the stream's end.
    """

    def __init__(
        self,
        descriptor: int,
        budget: Budget,
        told: Callable[[int], None] = lambda _: None,
        *,
        length: int = -1,
        hash_plain: bool = False,
    ) -> None:
        self._descriptor, self._budget, self._told, self._left = descriptor, budget, told, length
        self._hash_plain = hash_plain
        self._hash = hashlib.sha256()
        self._packed = 0
        self._plain = bytearray()
        self._position = 0
        self._rest = self._raw()  # packed bytes not yet unpacked
        while len(self._rest) < 6 and (more := self._raw()):
            self._rest += more
        self._make = next((make for magic, make in _MAGIC if self._rest.startswith(magic)), None)
        self._object = self._make() if self._make is not None else None

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        """Forward only."""
        while self._position < position:
            if not self.read(min(PIECE, position - self._position)):
                return

    def read(self, size: int) -> bytes:
        if size < 0 or size > MOST_AT_ONCE:
            raise InvalidInput("A header in the tar is too long.", code="invalid_tar", hint="Pack it with GNU tar.")
        while len(self._plain) < size:
            piece = self._next()
            if not piece:
                break
            self._budget.spend(size=len(piece))
            if self._hash_plain:
                self._hash.update(piece)
            self._plain += piece
        taken = bytes(self._plain[:size])
        del self._plain[:size]
        self._position += len(taken)
        return taken

    def drain(self) -> None:
        """To the end, so that the digest is of everything."""
        while self.read(PIECE):
            pass

    def _next(self) -> bytes:
        """The next plain bytes; b"" at the end. Never more than PIECE of them."""
        if self._object is None:
            piece, self._rest = self._rest or self._raw(), b""
            return piece
        try:
            while True:
                if self._object.eof:
                    self._rest = self._object.unused_data.lstrip(b"\0") or self._raw().lstrip(b"\0")
                    if not self._rest:
                        return b""
                    assert self._make is not None
                    self._object = self._make()  # another member follows: they are read as one
                data = b""
                if self._object.needs_input:
                    data, self._rest = self._rest or self._raw(), b""
                    if not data:
                        raise InvalidInput("The stream is cut short.", code="cut_short", hint="Send it again.")
                piece = self._object.decompress(data, PIECE)
                if piece:
                    return piece
        except (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, ValueError, EOFError) as error:
            raise InvalidInput(f"It can't be unpacked: {error}.", code="invalid_tar", hint="Pack it anew.") from None

    def _raw(self) -> bytes:
        wanted = PIECE if self._left < 0 else min(PIECE, self._left)
        data = os.read(self._descriptor, wanted) if wanted else b""
        if self._left >= 0:
            self._left -= len(data)
        if not self._hash_plain:
            self._hash.update(data)
        self._packed += len(data)
        self._told(self._packed)
        return data
