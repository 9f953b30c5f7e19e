"""Networks of a Docker daemon: list, look into, create, remove, connect a container and disconnect it.

Source: Docker Engine API 1.41, "Network". Networks that the panel makes carry its user's name as a label.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from ..errors import NotFound, Unsupported
from ..spec import NetworkSpec
from .docker_client import DockerClient
from .docker_spec import OWNER_LABEL
from .docker_words import Attachment, NetworkFacts

SLOW_SECONDS = 60.0  # a driver sets up links and rules
PREDEFINED = ("bridge", "host", "none")  # a daemon has them from its start, and they can't be removed


class DockerNetworks:
    def __init__(self, client: DockerClient, must_be_up: Callable[[], None]) -> None:
        self._client, self._must_be_up = client, must_be_up

    async def all(self) -> list[NetworkFacts]:
        self._must_be_up()
        return [self._facts(found) for found in await self._client.call(lambda sdk: sdk.networks())]

    async def get(self, name: str) -> NetworkFacts:
        self._must_be_up()
        return self._facts(await self._client.call(lambda sdk: sdk.inspect_network(name)))

    def _facts(self, inspected: Mapping[str, Any]) -> NetworkFacts:
        found = facts(inspected)
        return found if self._client.product == "Docker" else msgspec.structs.replace(found, bridge="")  # Podman does not tell

    async def create(self, spec: NetworkSpec, owner: str) -> NetworkFacts:
        """A bridge. ``subnet`` "" lets Docker choose, ``subnet6`` "" is none: it chooses no IPv6 ones.

        Conflict when there is one of this name (Docker itself allows several).
        """
        self._must_be_up()
        if spec.isolated:
            raise Unsupported(f"{self._client.product}'s networks do not keep their members apart.", hint="Leave “isolated” out.")
        pools = [{"Subnet": str(ipaddress.ip_network(subnet))} for subnet in (spec.subnet, spec.subnet6) if subnet]
        body = {
            "Name": spec.name, "CheckDuplicate": True, "Driver": "bridge", "Internal": not spec.nat,
            "EnableIPv6": bool(spec.subnet6),
            "IPAM": {"Driver": "default", "Config": pools}, "Labels": {OWNER_LABEL: owner} if owner else {},
        }  # fmt: skip

        def post(sdk: Any) -> Any:
            return sdk._result(sdk._post_json(sdk._url("/networks/create"), data=body), json=True)

        made = await self._client.call(post, SLOW_SECONDS)
        return await self.get(str(made["Id"]))

    async def remove(self, name: str) -> None:
        """Refused while containers run on it."""
        self._must_be_up()
        await self._client.call(lambda sdk: sdk.remove_network(name), SLOW_SECONDS)

    async def connect(self, name: str, container_id: str) -> None:
        self._must_be_up()
        await self._client.call(lambda sdk: sdk.connect_container_to_network(container_id, name), SLOW_SECONDS)

    async def disconnect(self, name: str, container_id: str) -> None:
        """NotFound when it is not connected."""
        self._must_be_up()
        if all(one.id != container_id for one in (await self.get(name)).containers):
            networks = await self._client.call(lambda sdk: sdk.inspect_container(container_id)["NetworkSettings"]["Networks"])
            if name not in networks:
                raise NotFound(f"The container is not connected to {name}.", hint="Its page says where it is.")
        await self._client.call(lambda sdk: sdk.disconnect_container_from_network(container_id, name), SLOW_SECONDS)


def facts(inspected: Mapping[str, Any]) -> NetworkFacts:
    """The bridge's name is an option, else made of the id (libnetwork's default)."""
    pools = (inspected.get("IPAM") or {}).get("Config") or ()
    config, config6 = (_pool(pools, six) for six in (False, True))
    bridge = (inspected.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{str(inspected.get('Id'))[:12]}"
    return NetworkFacts(
        name=str(inspected.get("Name") or ""),
        id=str(inspected.get("Id") or ""),
        driver=str(inspected.get("Driver") or ""),
        subnet=str(config.get("Subnet") or ""),
        gateway=str(config.get("Gateway") or ""),
        subnet6=config6.get("Subnet"),
        gateway6=config6.get("Gateway"),
        bridge=str(bridge) if inspected.get("Driver") == "bridge" else "",
        nat=not inspected.get("Internal"),
        commands=() if inspected.get("Name") in PREDEFINED else (_command(inspected),),
        owner=str((inspected.get("Labels") or {}).get(OWNER_LABEL, "")),
        containers=tuple(
            Attachment(
                str(container_id),
                str(one.get("Name") or ""),
                *(str(one.get(key) or "").partition("/")[0] for key in ("IPv4Address", "IPv6Address")),
            )
            for container_id, one in sorted((inspected.get("Containers") or {}).items())
        ),
    )


def _pool(pools: Iterable[Mapping[str, Any]], six: bool) -> Mapping[str, Any]:
    """The first of its version; {} where there is none."""
    return next((one for one in pools if (":" in str(one.get("Subnet"))) is six), {})


def _command(inspected: Mapping[str, Any]) -> str:
    """Source: docker-network-create(1)."""
    words = ["docker", "network", "create", "--driver", str(inspected.get("Driver") or "")]
    for pool in (inspected.get("IPAM") or {}).get("Config") or ():
        words += [word for flag in ("Subnet", "Gateway") if pool.get(flag) for word in (f"--{flag.lower()}", str(pool[flag]))]
    words += [flag for field, flag in (("Internal", "--internal"), ("EnableIPv6", "--ipv6")) if inspected.get(field)]
    for flag, field in (("--opt", "Options"), ("--label", "Labels")):
        for key, value in (inspected.get(field) or {}).items():
            words += [flag, f"{key}={value}"]
    return shlex.join([*words, str(inspected.get("Name") or "")])
