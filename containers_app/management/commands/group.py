"""``manage.py group list|create|remove|limits|add-process``: containers that share one budget, from the command line."""

from __future__ import annotations

from typing import Any

from containers_app import group_services
from containers_app.management.service_command import Handler, Options, ServiceCommand, limit_changes
from containers_app.visitors import Visitor
from containers_app.worker.protocol import Group

_COLUMNS = ("NAME", "OWNER", "MEMORY", "PROCESSES", "MEMBERS")


class Command(ServiceCommand):
    help = "Lists, makes, limits and removes groups of containers, as the panel does."

    def add_actions(self, actions: Any) -> None:
        actions.add_parser("list", help="list groups")
        create = actions.add_parser("create", help="make a group")
        create.add_argument("name")
        create.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="its limits, for example memory=1G")
        actions.add_parser("remove", aliases=["rm"], help="remove a group without members").add_argument("name")
        add = actions.add_parser("add-process", help="put a running process of the host into a group")
        add.add_argument("name")
        add.add_argument("pid", type=int)
        limits = actions.add_parser("limits", help="show a group's limits, or change them")
        limits.add_argument("name")
        limits.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="for example memory=1G; nothing after = clears")

    def handlers(self) -> dict[str, Handler]:
        return {
            "list": self._list, "create": self._create, "remove": self._remove, "rm": self._remove, "limits": self._limits,
            "add-process": self._add_process,
        }  # fmt: skip

    async def _list(self, visitor: Visitor, options: Options) -> int:
        groups = await group_services.list_groups(visitor)
        return self._show(options, {"items": groups, "next": None}, groups)

    async def _create(self, visitor: Visitor, options: Options) -> int:
        group = await group_services.create_group(visitor, options["name"], limit_changes(options["changes"]))
        return self._show(options, group, [group])

    async def _remove(self, visitor: Visitor, options: Options) -> int:
        await group_services.remove_group(visitor, options["name"])
        return 0

    async def _add_process(self, visitor: Visitor, options: Options) -> int:
        group = await group_services.add_to_group(visitor, options["name"], options["pid"], ("cgroup",))
        return self._show(options, group, [group])

    async def _limits(self, visitor: Visitor, options: Options) -> int:
        changes = limit_changes(options["changes"])
        if changes:
            readings = await group_services.update_group_limits(visitor, options["name"], changes)
        else:
            readings = await group_services.read_group_limits(visitor, options["name"])
        self.print_limits(options, readings)
        return 0

    def _show(self, options: Options, whole: object, groups: list[Group]) -> int:
        if options["json"]:
            self.print_json(whole)
        else:
            self.print_table(_COLUMNS, [_row(group) for group in groups])
        return 0


def _row(group: Group) -> list[str]:
    used = ["-" if value is None else str(value) for value in (group.usage.memory, group.usage.pids)]
    return [group.name, group.owner or "-", *used, ", ".join(member.name for member in group.members) or "-"]
