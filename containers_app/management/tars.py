"""Handing a tar on to standard output. The caller's own files are out of reach: a command has the root of the web process."""

from __future__ import annotations

import asyncio
import os
import sys

from django.core.management.base import CommandError


def refuse_terminal() -> None:
    if sys.stdout.isatty():
        raise CommandError("A tar is nothing for a terminal. Send it to a file: … export NAME > FILE")


async def write(descriptor: int) -> None:
    """Closes ``descriptor``."""
    try:
        while data := await asyncio.to_thread(os.read, descriptor, 1 << 20):
            await asyncio.to_thread(sys.stdout.buffer.write, data)
    finally:
        os.close(descriptor)
        sys.stdout.flush()
