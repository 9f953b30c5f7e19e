"""The engines, by name. To add one: a class that follows base.Engine, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from ..kernel.cgroups import Cgroups
from .base import Engine
from .policy import Policy


def build(
    *, node: str, tag: str, data: str, run: str, docker_host: str, policy: Policy, cgroups: Cgroups, resolve: Callable[[str], int]
) -> dict[str, Engine]:
    """All engines, not yet opened. ``resolve`` tells the host pid of a container, whichever engine it is of.

    ``docker_host`` names the Docker daemons, see docker_hosts.py; "" means that none was asked for: it is used when it appears
    at its usual place.
    """
    from .docker import DockerEngine  # here, so that whoever only needs the words of base does not pay for the SDK
    from .docker_hosts import parse_hosts
    from .raw import RawEngine

    raw = RawEngine(node=node, tag=tag, data=data, run=run, policy=policy, cgroups=cgroups, resolve=resolve)
    return {
        "raw": raw,
        **{
            name: DockerEngine(name, url, node, cgroups, f"{data}/state/{name}_limits.json", run, tag, raw.groups)
            for name, url in parse_hosts(docker_host).items()
        },
    }
