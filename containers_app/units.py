"""Amounts as people write them: ``"64M"``, ``1.5``, ``"50%"`` → numbers. ``InvalidInput`` with a hint for the rest."""

from __future__ import annotations

import math
import re

from .errors import InvalidInput

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?", re.ASCII)


def parse_size(value: object) -> int:
    """``67108864``, ``"64M"``, ``"1.5G"`` → bytes. Binary units, as the kernel and Docker read them."""
    if isinstance(value, bool):
        raise InvalidInput("A size is a number, not true or false.", hint='Write for example 67108864 or "64M".')
    if isinstance(value, int) and 0 <= value < 1 << 62:
        return value
    if isinstance(value, float) and math.isfinite(value) and 0 <= value < 1 << 62:
        return int(value)
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * _UNITS[match[2].upper()] if "." in match[1] else int(match[1]) * _UNITS[match[2].upper()]
        if size < 1 << 62:
            return int(size)
    raise InvalidInput(f"{shown(value)} is not a size.", hint='Write bytes or a unit, for example 67108864, "64M" or "1.5G".')


def parse_share(value: object, whole: float) -> float:
    """``0.5``, ``"0.5"`` or ``"50%"`` (of ``whole``) → a positive finite float."""
    number: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str):
        text = value.strip()
        if text.endswith("%") and _NUMBER.fullmatch(text[:-1].strip()):
            number = float(text[:-1]) / 100 * whole
        elif _NUMBER.fullmatch(text):
            number = float(text)
    if number is None or not math.isfinite(number) or number < 0:
        raise InvalidInput(f"{shown(value)} is not an amount.", hint='Write a number or a share, for example 0.5 or "50%".')
    return number


def shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else f"“{value}”"
    text = text.encode("ascii", "backslashreplace").decode() if not text.isprintable() else text
    return text if len(text) <= 60 else text[:57] + "…"


def plain(number: float) -> str:
    return f"{number:g}" if number < 100000 else str(int(number))
