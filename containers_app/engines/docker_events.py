"""What happens at the daemon, as it happens: the API's event stream (GET /events), one JSON object a line."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from .docker_client import DockerClient
from .docker_lines import broken, lines

_FILTERS = quote(json.dumps({"type": ["container", "network"]}))
_NOISE = ("exec_", "attach", "resize", "top", "export", "copy", "archive")  # these change nothing that we show


async def open_events(client: DockerClient) -> socket.socket:
    """The stream from now on. Open it before the list is read, so that nothing falls between the two."""
    return await client.stream("GET", f"/events?filters={_FILTERS}")


async def changed_containers(stream: socket.socket, product: str) -> AsyncIterator[tuple[str, bool]]:
    """(container id, whether it is gone) per event that matters. Raises EngineUnavailable when the stream ends."""
    async with aclosing(lines(stream, product)) as found:
        async for line in found:
            if event := parse(line):
                yield event
    raise broken(product)


def parse(line: bytes) -> tuple[str, bool] | None:
    try:
        event: dict[str, Any] = json.loads(line)
        action, actor = str(event["Action"]), event["Actor"]
        if event["Type"] == "network":
            container = actor["Attributes"].get("container", "")
            return (container, False) if container else None
        return None if action.startswith(_NOISE) else (str(actor["ID"]), action == "destroy")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
