"""``manage.py network list|create|remove|connect|disconnect``: networks of either engine from the command line."""

from __future__ import annotations

from typing import Any

from containers_app import docker_services, network_services
from containers_app.api.networks import parse_network
from containers_app.management.service_command import Handler, Options, ServiceCommand
from containers_app.visitors import Visitor

_COLUMNS = ("NAME", "ENGINE", "SUBNET", "SUBNET6", "GATEWAY", "BRIDGE", "CONTAINERS")


class Command(ServiceCommand):
    help = "Lists, makes and removes networks, as the panel does."

    def add_actions(self, actions: Any) -> None:
        actions.add_parser("list", help="list networks")
        create = actions.add_parser("create", help="make a bridge network")
        create.add_argument("name")
        create.add_argument("--engine", default="raw")
        create.add_argument("--subnet", default="", help="for example 10.20.0.0/24; chosen if left out")
        create.add_argument(
            "--subnet6", default="", help="for example fd12:3456:789a:1::/64; left out, it is chosen, and Docker's have none"
        )
        create.add_argument("--internal", action="store_true", help="no way out of this host")
        create.add_argument("--together", action="store_true", help="its sandboxes reach each other")
        remove = actions.add_parser("remove", aliases=["rm"], help="remove a network that nobody uses")
        remove.add_argument("name")
        remove.add_argument("--engine", default="raw")
        for name, text in (("connect", "connect a Docker container to it"), ("disconnect", "disconnect one")):
            parser = actions.add_parser(name, help=text)
            parser.add_argument("name")
            parser.add_argument("container")

    def handlers(self) -> dict[str, Handler]:
        return {
            "list": self._list, "create": self._create, "remove": self._remove, "rm": self._remove,
            "connect": self._connect, "disconnect": self._connect,
        }  # fmt: skip

    async def _list(self, visitor: Visitor, options: Options) -> int:
        return self._show(options, {"items": (found := await network_services.list_networks(visitor)), "next": None}, found)

    async def _create(self, visitor: Visitor, options: Options) -> int:
        body: dict[str, Any] = {name: options[name] for name in ("name", "engine", "subnet", "subnet6")}
        body |= {"nat": not options["internal"]} | ({"isolated": False} if options["together"] else {})
        made = await network_services.create_network(visitor, parse_network(body))
        return self._show(options, made, [made])

    async def _remove(self, visitor: Visitor, options: Options) -> int:
        await network_services.remove_network(visitor, options["name"], options["engine"])
        return 0

    async def _connect(self, visitor: Visitor, options: Options) -> int:
        act = docker_services.connect_container if options["action"] == "connect" else docker_services.disconnect_container
        await act(visitor, options["container"], options["name"])
        return 0

    def _show(self, options: Options, whole: object, networks: list[dict[str, Any]]) -> int:
        if options["json"]:
            self.print_json(whole)
        else:
            self.print_table(_COLUMNS, [_row(network) for network in networks])
        return 0


def _row(network: dict[str, Any]) -> list[str]:
    words = [
        network["name"],
        network["engine"],
        *(network.get(name) or "-" for name in ("subnet", "subnet6", "gateway", "bridge")),
    ]
    return [*words, ", ".join(one["name"] for one in network.get("containers", ())) or "-"]
