"""Which Docker daemons there are: what --docker-host says → an engine's name and URL each."""

from __future__ import annotations

from ..errors import InvalidInput
from ..spec import ENGINE_NAME
from ..units import shown

DEFAULT_NAME = "docker"


def parse_hosts(text: str) -> dict[str, str]:
    """``URL,name=URL,…`` → name → URL. Those without a name are docker, docker-2, …; "" is the usual place, named docker."""
    found: dict[str, str] = {}
    for number, word in enumerate(text.split(","), 1):
        name, equals, url = word.strip().partition("=")
        if not equals or "/" in name:
            name, url = DEFAULT_NAME if number == 1 else f"{DEFAULT_NAME}-{number}", word.strip()
        if not ENGINE_NAME.fullmatch(name) or name == "raw":
            raise InvalidInput(f"{shown(name)} is not a name for an engine.", hint="For example build=tcp://127.0.0.1:2375.")
        if name in found or (url in found.values()):
            raise InvalidInput(f"{shown(word)} is there twice.", hint="Each Docker daemon is one engine with its own name.")
        if not url and text:
            raise InvalidInput(f"{shown(text)} has an empty URL.", hint="For example unix:///var/run/docker.sock.")
        found[name] = url
    return found
