"""``manage.py sandbox run|list|exec|stop|…``: the services from the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import REMAINDER
from collections.abc import Sequence
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from containers_app import accounts, mirror, services
from containers_app.errors import TerrariumError
from containers_app.spec import LimitReading, parse_container, parse_limits
from containers_app.visitors import Visitor
from containers_app.worker.protocol import Container, LogQuery

_COLUMNS = ("ID", "NAME", "ENGINE", "STATE", "PID", "IMAGE", "OWNER")


class Command(BaseCommand):
    help = "Makes, lists and steers sandboxes and containers, as the panel does."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--as", dest="username", default="", metavar="USER", help="act as this user; the first administrator if left out"
        )
        parser.add_argument("--json", action="store_true", help="print what the API would answer")
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        run = actions.add_parser("run", help="make a container and start it")
        run.add_argument("name")
        run.add_argument("--engine", default="raw")
        run.add_argument("--image", default="busybox")
        run.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE", help="for example memory=64M")
        run.add_argument("--namespace", action="append", default=[], metavar="TYPE=MODE", help="for example net=none")
        run.add_argument("command", nargs=REMAINDER, help="program and arguments; the image's own if left out")
        listing = actions.add_parser("list", help="list containers")
        listing.add_argument("--engine", default="")
        listing.add_argument("--state", default="")
        for name, text in _ONE.items():
            actions.add_parser(name, help=text).add_argument("container", help="id, name or beginning of the id")
        remove = actions.add_parser("remove", help="remove it")
        remove.add_argument("container")
        remove.add_argument("--force", action="store_true", help="also when it is running")
        execute = actions.add_parser("exec", help="run a command inside; its exit code becomes ours")
        execute.add_argument("container")
        execute.add_argument("command", nargs=REMAINDER)
        limits = actions.add_parser("limits", help="show limits, or change them")
        limits.add_argument("container")
        limits.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="for example memory=64M; nothing after = clears")

    def handle(self, *args: Any, action: str, username: str, **options: Any) -> None:
        try:
            code = asyncio.run(self._run(action, username, options))
        except (TerrariumError, LookupError) as error:
            hint = getattr(error, "hint", "")
            raise CommandError(f"{error.args[0]} {hint}".strip()) from None
        if code:
            sys.exit(code)

    async def _run(self, action: str, username: str, options: dict[str, Any]) -> int:
        visitor = await accounts.operator(username)
        try:
            handlers = {"run": self._run_container, "list": self._list, "exec": self._exec, "limits": self._limits,
                        "inspect": self._inspect, "remove": self._remove, "logs": self._logs}  # fmt: skip
            return await handlers.get(action, self._one)(visitor, options | {"action": action})
        finally:
            known = mirror.current()
            known.close()
            known.client.close()

    async def _run_container(self, visitor: Visitor, options: dict[str, Any]) -> int:
        spec = {name: options[name] for name in ("name", "engine", "image", "command")}
        spec |= {"limits": _pairs(options["limit"]), "namespaces": _pairs(options["namespace"])}
        return self._show(options, await services.create_container(visitor, parse_container(spec)))

    async def _list(self, visitor: Visitor, options: dict[str, Any]) -> int:
        page = await services.list_containers(visitor, engine=options["engine"], state=options["state"])
        if options["json"]:
            self._print_json({"items": page.containers, "next": None})
        else:
            self._print_table(_COLUMNS, [_row(container) for container in page.containers])
        return 0

    async def _exec(self, visitor: Visitor, options: dict[str, Any]) -> int:
        result = await services.execute_command(visitor, options["container"], tuple(options["command"]))
        if options["json"]:
            self._print_json(result)
            return 0
        self.stdout.write(result.stdout, ending="")
        self.stderr.write(result.stderr, ending="")
        return result.exit_code

    async def _limits(self, visitor: Visitor, options: dict[str, Any]) -> int:
        changes = parse_limits({name: value or None for name, value in _pairs(options["changes"]).items()})
        if changes:
            readings = await services.update_limits(visitor, options["container"], changes)
        else:
            readings = await services.read_limits(visitor, options["container"])
        if options["json"]:
            self._print_json(readings)
        else:
            self._print_table(
                ("LIMIT", "REQUESTED", "KERNEL", "EFFECTIVE", "UNIT"), [_limit_row(*item) for item in readings.items()]
            )
        return 0

    async def _inspect(self, visitor: Visitor, options: dict[str, Any]) -> int:
        self._print_json(await services.get_container(visitor, options["container"]))
        return 0

    async def _remove(self, visitor: Visitor, options: dict[str, Any]) -> int:
        await services.remove_container(visitor, options["container"], options["force"])
        return 0

    async def _logs(self, visitor: Visitor, options: dict[str, Any]) -> int:
        self.stdout.write((await services.read_logs(visitor, options["container"], LogQuery())).text, ending="")
        return 0

    async def _one(self, visitor: Visitor, options: dict[str, Any]) -> int:
        """start, stop, kill, restart, pause, resume."""
        act = getattr(services, f"{options['action']}_container")
        return self._show(options, await act(visitor, options["container"]))

    def _show(self, options: dict[str, Any], container: Container) -> int:
        if options["json"]:
            self._print_json(container)
        else:
            self._print_table(_COLUMNS, [_row(container)])
        return 0

    def _print_json(self, value: object) -> None:
        self.stdout.write(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))

    def _print_table(self, head: Sequence[str], rows: list[list[str]]) -> None:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for row in (head, *rows):
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


_ONE = {
    "start": "start it",
    "stop": "stop it: SIGTERM, then SIGKILL",
    "kill": "send SIGKILL",
    "restart": "stop and start it",
    "pause": "freeze its processes",
    "resume": "thaw its processes",
    "inspect": "print all that is known",
    "logs": "print the end of its log",
}


def _pairs(words: list[str]) -> dict[str, str]:
    """``["memory=64M"]`` → ``{"memory": "64M"}``."""
    pairs = dict(word.partition("=")[::2] for word in words)
    if any("=" not in word for word in words):
        raise CommandError("Write NAME=VALUE, for example memory=64M.")
    return pairs


def _row(container: Container) -> list[str]:
    state = f"{container.state} ({container.reason})" if container.reason else container.state
    identity = [container.id[:12], container.name, container.engine, state]
    return [*identity, str(container.pid or "-"), container.image, container.owner or "-"]


def _limit_row(name: str, reading: LimitReading) -> list[str]:
    values = ["none" if value is None else str(value) for value in (reading.requested, reading.kernel, reading.effective)]
    return [name, *values, f"locked: {reading.locked}" if reading.locked else reading.unit]
