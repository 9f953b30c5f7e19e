"""Handing a tar on to standard output. The caller's own files are out of reach: a command has the root of the web process."""

from __future__ import annotations

import asyncio
import io
import os
import sys

from django.core.management.base import CommandError


def refuse_terminal() -> None:
    if sys.stdout.isatty():
        raise CommandError("A tar is nothing for a terminal. Send it to a file: … export NAME > FILE")


async def write(tar: io.FileIO) -> None:
    """Closes ``tar``."""
    try:
        while data := await asyncio.to_thread(os.read, tar.fileno(), 1 << 20):
            await asyncio.to_thread(sys.stdout.buffer.write, data)
    finally:
        tar.close()
        sys.stdout.flush()
