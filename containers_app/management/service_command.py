"""What the commands that act through the services have in common: a visitor, the services' errors as one sentence, printing."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from containers_app import accounts, mirror
from containers_app.errors import TerrariumError
from containers_app.spec import LimitChanges, LimitReading, parse_limits
from containers_app.visitors import Visitor

Options = dict[str, Any]
Handler = Callable[[Visitor, Options], Awaitable[int]]  # → exit code
INTERRUPTED = 130  # as shells say it of Ctrl-C


class ServiceCommand(BaseCommand):
    """``add_actions`` declares the actions, ``handlers`` says who does each."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--as", dest="username", default="", metavar="USER", help="act as this user; the first administrator if left out"
        )
        parser.add_argument("--json", action="store_true", help="print what the API would answer")
        self.add_actions(parser.add_subparsers(dest="action", required=True, metavar="ACTION"))

    def add_actions(self, actions: Any) -> None:
        raise NotImplementedError

    def handlers(self) -> dict[str, Handler]:
        raise NotImplementedError

    def handle(self, *args: Any, action: str, username: str, **options: Any) -> None:
        try:
            code = asyncio.run(self._run(action, username, options))
        except (TerrariumError, LookupError) as error:
            raise CommandError(printable(f"{error.args[0]} {getattr(error, 'hint', '')}".strip())) from None
        except KeyboardInterrupt:
            code = INTERRUPTED
        if code:
            sys.exit(code)

    async def _run(self, action: str, username: str, options: Options) -> int:
        visitor = await accounts.operator(username)
        try:
            return await self.handlers()[action](visitor, options | {"action": action})
        finally:
            known = mirror.current()
            known.close()
            known.client.close()

    def print_json(self, value: object) -> None:
        text = json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False)
        self.stdout.write("".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text))

    def print_table(self, head: Sequence[str], rows: list[list[str]]) -> None:
        rows = [[printable(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def print_limits(self, options: Options, readings: dict[str, LimitReading]) -> None:
        if options["json"]:
            self.print_json(readings)
        else:
            self.print_table(
                ("LIMIT", "REQUESTED", "KERNEL", "EFFECTIVE", "UNIT"), [_limit_row(*item) for item in readings.items()]
            )


def printable(text: str, but: str = "") -> str:
    """What might steer a terminal as its backslash escape, save what is in ``but``: sandboxes choose names and arguments."""
    return "".join(one if one.isprintable() or one in but else one.encode("unicode_escape").decode() for one in text)


def pairs(words: Sequence[str]) -> dict[str, str]:
    """``["memory=64M"]`` → ``{"memory": "64M"}``."""
    if any("=" not in word for word in words):
        raise CommandError("Write NAME=VALUE, for example memory=64M.")
    return dict(word.partition("=")[::2] for word in words)


def limit_changes(words: Sequence[str]) -> LimitChanges:
    """``["memory=64M", "pids="]``: nothing behind = clears. A disk's is ``io_read_bytes.vda=4M``."""
    changes: dict[str, Any] = {}
    for name, value in pairs(words).items():
        limit, dot, part = name.partition(".")
        if dot:
            parts = changes.setdefault(limit, {})
            if not isinstance(parts, dict):
                raise CommandError(f"Write {limit} once, or once for each of its parts.")
            parts[part] = value or None
        else:
            changes[limit] = value or None
    return parse_limits(changes)


def _limit_row(name: str, reading: LimitReading) -> list[str]:
    values = ["none" if value is None else str(value) for value in (reading.requested, reading.kernel, reading.effective)]
    return [name, *values, f"locked: {reading.locked}" if reading.locked else reading.unit]
