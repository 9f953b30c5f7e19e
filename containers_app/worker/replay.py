"""The last output of a terminal, kept so that a viewer who comes later sees what was on the screen.

Bytes are dropped from the front, at the end of a line where there is one near, else between characters and escape
sequences. Modes that the dropped bytes switched on (alternate screen, bracketed paste, hidden cursor …) are
remembered and put before what is left. Queries to which a terminal emulator answers are taken out of a replay, since
the answer would arrive as if typed. Sources: ECMA-48; xterm's "Control Sequences" (ctlseqs).
"""

from __future__ import annotations

import re

LIMIT = 256 * 1024  # bytes kept at most
_SPARE = 32 * 1024  # dropped beyond what is needed, so that dropping is rare
_NEAR = 4096  # how far to look for a line's end

_PRIVATE_MODES = re.compile(rb"\x1b\[\?([0-9;]{1,40})([hl])")
_MAIN_SCREEN = {1049, 1047, 47}
_QUERIES = re.compile(
    rb"\x1b\[[>=?]?[0-9;]*[cn]"  # device attributes, status and cursor position
    rb"|\x1b\[>[0-9]*q"  # name and version
    rb"|\x1b\[\??[0-9;]*\$p"  # state of a mode
    rb"|\x1b\](?:4;[0-9]+|1[0-9]);\?(?:\x07|\x1b\\)"  # colours
    rb"|\x1bP[+$]q[^\x1b]*\x1b\\"  # capabilities and settings
    rb"|\x1b\[1[3-9]t|\x1b\[2[01]t"  # sizes and titles
)


class Replay:
    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._spare = min(_SPARE, limit // 4)
        self._data = bytearray()
        self._modes: dict[int, bytes] = {}  # private mode → h or l, as the dropped bytes left it

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > self._limit:
            cut = safe_cut(self._data, len(self._data) - self._limit + self._spare)
            for numbers, action in _PRIVATE_MODES.findall(self._data[:cut]):
                self._modes.update((int(number), action) for number in numbers.split(b";") if number)
            del self._data[:cut]

    def content(self) -> bytes:
        """What to send to a new viewer."""
        modes = b"".join(
            b"\x1b[?%d%s" % (number, action)
            for number, action in self._modes.items()
            if not (number in _MAIN_SCREEN and action == b"l")
        )
        return modes + _QUERIES.sub(b"", bytes(self._data))


def safe_cut(data: bytes | bytearray, at: int) -> int:
    """The first place from ``at`` on where output can begin; at most _NEAR further."""
    end = min(at + _NEAR, len(data))
    for beginning, skip in ((b"\n", 1), (b"\x1b", 0)):
        if (found := data.find(beginning, at, end)) >= 0:
            return found + skip
    while at < end and data[at] & 0xC0 == 0x80:  # inside a UTF-8 character
        at += 1
    return at
