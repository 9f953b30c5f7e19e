"""``manage.py sandbox run|list|exec|stop|…``: the services from the command line."""

from __future__ import annotations

from argparse import REMAINDER
from typing import Any

from django.core.management.base import CommandError
from msgspec.structs import asdict

from containers_app import image_services, services, terminal_services
from containers_app.api.containers import patience, signal_number
from containers_app.management import sandbox_tables, tars, terminal
from containers_app.management.following import since, write_log
from containers_app.management.job_waiting import called_off_with_us, finish
from containers_app.management.run_options import add_run_options, body, restart
from containers_app.management.service_command import Handler, Options, ServiceCommand, limit_changes, printable
from containers_app.spec import parse_changes, parse_container
from containers_app.visitors import Visitor
from containers_app.worker.protocol import Container, LogQuery, Stats

_COLUMNS = ("ID", "NAME", "ENGINE", "STATE", "PID", "IMAGE", "OWNER")
_PLAIN = {
    "start": "start it",
    "pause": "freeze its processes",
    "resume": "thaw its processes",
    "inspect": "print all that is known",
    "commands": "print the shell commands that make the same",
}
_TABLES = {
    "stats": "its numbers of this second",
    "processes": "its processes, oldest first",
    "mounts": "what is mounted inside, as its kernel has it",
    "security": "how it is confined: what was asked for, and the kernel's word",
}


class Command(ServiceCommand):
    help = "Makes, lists and steers sandboxes and containers, as the panel does."

    def add_actions(self, actions: Any) -> None:
        add_run_options(actions.add_parser("run", help="make a container and start it"))
        add_run_options(actions.add_parser("preview", help="print the shell commands that run would come to, and make nothing"))
        listing = actions.add_parser("list", help="list containers")
        listing.add_argument("--engine", default="")
        listing.add_argument("--state", default="")

        def on_one(name: str, text: str, **more: Any) -> Any:
            parser = actions.add_parser(name, help=text, **more)
            parser.add_argument("container", help="id, name or beginning of the id")
            return parser

        for name, text in (_PLAIN | _TABLES).items():
            on_one(name, text)
        for name, text in (("stop", "stop it: its stop signal, then SIGKILL"), ("restart", "stop and start it")):
            on_one(name, text).add_argument("--timeout", type=float, metavar="SECONDS", help="until SIGKILL")
        on_one("kill", "send a signal").add_argument("--signal", default="KILL", help="a name or a number; KILL if left out")
        on_one("remove", "remove it", aliases=["rm"]).add_argument("--force", action="store_true", help="also when it runs")
        on_one("rename", "give it another name").add_argument("name")
        on_one("set-restart", "change what becomes of it when it ends").add_argument(
            "policy", metavar="POLICY[:RETRIES]", help="no, on-failure, unless-stopped or always"
        )
        execute = on_one("exec", "run a command inside; its exit code becomes ours")
        execute.add_argument("--namespace", action="append", default=[], metavar="TYPE", help="join only these, as nsenter does")
        execute.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
        execute.add_argument("command", nargs=REMAINDER)
        inside = on_one("terminal", "sit at a program inside; its exit code becomes ours, where a /bin/sh inside can tell it")
        inside.add_argument("command", nargs=REMAINDER, help="after --; the best shell there is if left out")
        on_one("toolbox", "sit at a shell with its own files beside it, in its namespaces").add_argument(
            "--image", default="busybox", help="where the tools come from"
        )
        on_one("add-process", "put a process of the host into its control groups").add_argument("pid", type=int)
        on_one("limits", "show limits, or change them").add_argument(
            "changes", nargs="*", metavar="NAME=VALUE", help="for example memory=64M; nothing after = clears"
        )
        logs = on_one("logs", "print the end of its log")
        logs.add_argument("--follow", action="store_true", help="go on until it ends")
        logs.add_argument("--timestamps", action="store_true", help="the time before each line")
        logs.add_argument("--since", default="", metavar="TIME", help="15m, 2h or a date")
        logs.add_argument("--tail", type=int, default=1000, metavar="LINES")
        on_one("clone", "make another one like it, with a copy of its files").add_argument("name")
        on_one("commit", "make an image of its files").add_argument("image")
        on_one("export", "write its files to standard output, as a tar")

    def handlers(self) -> dict[str, Handler]:
        return {
            "run": self._make, "preview": self._preview, "list": self._list, "exec": self._execute,
            "limits": self._limits, "inspect": self._inspect,
            "start": self._plain, "pause": self._plain, "resume": self._plain, "stop": self._stop, "restart": self._stop,
            "kill": self._kill, "remove": self._remove, "rm": self._remove, "rename": self._change, "set-restart": self._change,
            "commands": self._commands, "stats": self._table, "processes": self._table, "mounts": self._table,
            "security": self._table, "terminal": self._terminal, "toolbox": self._terminal,
            "add-process": self._add_process, "logs": self._logs, "clone": self._copy, "commit": self._copy,
            "export": self._export,
        }  # fmt: skip

    async def _make(self, visitor: Visitor, options: Options) -> int:
        return self._show(options, await services.create_container(visitor, parse_container(body(options))))

    async def _preview(self, visitor: Visitor, options: Options) -> int:
        return self._lines(options, await services.preview_commands(visitor, parse_container(body(options))))

    async def _commands(self, visitor: Visitor, options: Options) -> int:
        return self._lines(options, await services.read_commands(visitor, options["container"]))

    def _lines(self, options: Options, commands: list[str]) -> int:
        if options["json"]:
            self.print_json({"commands": commands})
        else:
            text = "\n".join(commands)
            self.stdout.write(printable(text, "\n\t") if self.stdout.isatty() else text)  # a file may be meant to be executed
        return 0

    async def _list(self, visitor: Visitor, options: Options) -> int:
        page = await services.list_containers(visitor, engine=options["engine"], state=options["state"])
        if options["json"]:
            self.print_json({"items": page.containers, "next": None})
        else:
            self.print_table(_COLUMNS, [_row(container) for container in page.containers])
        return 0

    async def _execute(self, visitor: Visitor, options: Options) -> int:
        argv, kinds = tuple(options["command"]), tuple(options["namespace"])
        result = await services.execute_command(visitor, options["container"], argv, options["timeout"], kinds)
        if options["json"]:
            self.print_json(result)
            return 0
        self.stdout.write(result.stdout, ending="")
        self.stderr.write(result.stderr, ending="")
        return result.exit_code

    async def _terminal(self, visitor: Visitor, options: Options) -> int:
        container, place = options["container"], terminal.size()
        if options["action"] == "toolbox":
            await terminal.sit_at(visitor, await terminal_services.open_toolbox(visitor, container, options["image"], *place))
            return 0
        key, tell = await terminal_services.open_telling_terminal(visitor, container, tuple(options["command"]), *place)
        code = await terminal.sit_at(visitor, key, tell)
        if not tell:
            self.stderr.write("How it ended is not known: inside is no /bin/sh that could tell.")
            return 0
        if code is None:
            raise CommandError("It was cut off: the program did not end by itself.")
        return code

    async def _table(self, visitor: Visitor, options: Options) -> int:
        name = options["action"]
        found = await getattr(services, f"read_{name}")(visitor, options["container"])
        if options["json"]:
            if isinstance(found, Stats):  # on the wire an array
                found = asdict(found)
            self.print_json({"items": found, "next": None} if isinstance(found, list) else found)
        else:
            self.print_table(*getattr(sandbox_tables, name)(found))
        return 0

    async def _limits(self, visitor: Visitor, options: Options) -> int:
        changes = limit_changes(options["changes"])
        if changes:
            readings = await services.update_limits(visitor, options["container"], changes)
        else:
            readings = await services.read_limits(visitor, options["container"])
        self.print_limits(options, readings)
        return 0

    async def _inspect(self, visitor: Visitor, options: Options) -> int:
        self.print_json(await services.get_container(visitor, options["container"]))
        return 0

    async def _plain(self, visitor: Visitor, options: Options) -> int:
        act = getattr(services, f"{options['action']}_container")
        return self._show(options, await act(visitor, options["container"]))

    async def _stop(self, visitor: Visitor, options: Options) -> int:
        act = services.stop_container if options["action"] == "stop" else services.restart_container
        return self._show(options, await act(visitor, options["container"], patience(options["timeout"])))

    async def _kill(self, visitor: Visitor, options: Options) -> int:
        number = signal_number(options["signal"])
        return self._show(options, await services.kill_container(visitor, options["container"], number))

    async def _remove(self, visitor: Visitor, options: Options) -> int:
        await services.remove_container(visitor, options["container"], options["force"])
        return 0

    async def _change(self, visitor: Visitor, options: Options) -> int:
        renamed = options["action"] == "rename"
        changes = {"name": options["name"]} if renamed else {"restart": restart(options["policy"])}
        return self._show(options, await services.update_container(visitor, options["container"], parse_changes(changes)))

    async def _add_process(self, visitor: Visitor, options: Options) -> int:
        found = await services.add_process(visitor, options["container"], options["pid"], ("cgroup",))
        return self._show(options, found)

    async def _logs(self, visitor: Visitor, options: Options) -> int:
        query = LogQuery(max(0, options["tail"]), "", options["timestamps"], since(options["since"]))

        def write(text: str) -> None:
            self.stdout.write(text, ending="")
            self.stdout.flush()

        await write_log(visitor, options["container"], query, options["follow"], write)
        return 0

    async def _copy(self, visitor: Visitor, options: Options) -> int:
        if options["action"] == "clone":
            job = await image_services.clone_container(visitor, options["container"], options["name"])
        else:
            job = await image_services.commit_container(visitor, options["container"], options["image"])
        async with called_off_with_us(visitor, job):
            job = await finish(visitor, job, self.stderr.write)
        self.stdout.write(printable(f"{job.target} {job.message}".strip()))
        return 0

    async def _export(self, visitor: Visitor, options: Options) -> int:
        tars.refuse_terminal()
        _, tar = await image_services.export_container(visitor, options["container"])
        await tars.write(tar)
        return 0

    def _show(self, options: Options, container: Container) -> int:
        if options["json"]:
            self.print_json(container)
        else:
            self.print_table(_COLUMNS, [_row(container)])
        return 0


def _row(container: Container) -> list[str]:
    state = f"{container.state} ({container.reason})" if container.reason else container.state
    identity = [container.id[:12], container.name, container.engine, state]
    return [*identity, str(container.pid or "-"), container.image, container.owner or "-"]
