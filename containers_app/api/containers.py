"""/api/v1/containers and below: each handler is one service."""

from __future__ import annotations

import signal
from typing import Any

import msgspec

from .. import mirror, services
from ..errors import InvalidInput
from ..responses import Encoded
from ..spec import Changes, ContainerSpec, LimitReading, parse_changes, parse_container, parse_limits
from ..worker.protocol import Container, ExecResult, LimitEvents, LogQuery
from . import shapes
from .border import read_cursor, write_cursor
from .route import Call, Route


async def list_containers(call: Call) -> object:
    query: shapes.ListQuery = call.query
    limit = min(within(query.limit, 1, "limit"), services.MOST_LISTED)
    page = await services.list_containers(
        call.visitor, engine=query.engine, state=query.state, q=query.q, limit=limit, after=read_cursor(query.cursor)
    )
    items = b",".join(map(mirror.current().encoded, page.containers))
    return Encoded(b'{"items":[' + items + b'],"next":' + msgspec.json.encode(write_cursor(page.next)) + b"}")


async def create_container(call: Call) -> object:
    return await services.create_container(call.visitor, call.body)


async def preview_commands(call: Call) -> object:
    return {"commands": await services.preview_commands(call.visitor, call.body)}


async def get_container(call: Call) -> object:
    return await services.get_container(call.visitor, call.path["id"])


async def remove_container(call: Call) -> object:
    await services.remove_container(call.visitor, call.path["id"], call.query.force)
    return None


async def start_container(call: Call) -> object:
    return await services.start_container(call.visitor, call.path["id"])


async def stop_container(call: Call) -> object:
    return await services.stop_container(call.visitor, call.path["id"], patience(call.body.timeout))


async def kill_container(call: Call) -> object:
    return await services.kill_container(call.visitor, call.path["id"], signal_number(call.body.signal))


async def restart_container(call: Call) -> object:
    return await services.restart_container(call.visitor, call.path["id"], patience(call.body.timeout))


async def update_container(call: Call) -> object:
    return await services.update_container(call.visitor, call.path["id"], call.body)


async def pause_container(call: Call) -> object:
    return await services.pause_container(call.visitor, call.path["id"])


async def resume_container(call: Call) -> object:
    return await services.resume_container(call.visitor, call.path["id"])


async def read_limits(call: Call) -> object:
    return await services.read_limits(call.visitor, call.path["id"])


async def update_limits(call: Call) -> object:
    return await services.update_limits(call.visitor, call.path["id"], call.body)


async def read_limit_events(call: Call) -> object:
    return await services.read_limit_events(call.visitor, call.path["id"])


async def put_back_limits(call: Call) -> object:
    return await services.put_back_limits(call.visitor, call.path["id"], call.body.names)


async def accept_limits(call: Call) -> object:
    return await services.accept_limits(call.visitor, call.path["id"], call.body.names)


async def execute_command(call: Call) -> object:
    body: shapes.ExecBody = call.body
    return await services.execute_command(call.visitor, call.path["id"], body.argv, body.timeout, body.namespaces)


async def add_process(call: Call) -> object:
    return await services.add_process(call.visitor, call.path["id"], call.body.pid, call.body.to)


async def read_processes(call: Call) -> object:
    return {"items": await services.read_processes(call.visitor, call.path["id"]), "next": None}


async def read_namespaces(call: Call) -> object:
    return {"items": await services.read_namespaces(call.visitor, call.path["id"]), "next": None}


async def read_mounts(call: Call) -> object:
    return {"items": await services.read_mounts(call.visitor, call.path["id"]), "next": None}


async def read_stats(call: Call) -> object:
    return msgspec.structs.asdict(await services.read_stats(call.visitor, call.path["id"]))


async def read_history(call: Call) -> object:
    return await services.read_history(call.visitor, call.path["id"], within(call.query.seconds, 1, "seconds"))


async def read_logs(call: Call) -> object:
    asked: shapes.LogsQuery = call.query
    tail = min(within(asked.tail, 1, "tail"), 100_000)
    query = LogQuery(tail, asked.after, asked.timestamps, asked.since)
    return await services.read_logs(call.visitor, call.path["id"], query)


async def read_commands(call: Call) -> object:
    return {"commands": await services.read_commands(call.visitor, call.path["id"])}


async def read_security(call: Call) -> object:
    return await services.read_security(call.visitor, call.path["id"])


def within(number: int, least: int, name: str, most: int = 1 << 53) -> int:
    if not least <= number <= most:
        raise InvalidInput(f"{name} is a number from {least} on.")
    return number


def patience(timeout: float | None) -> float | None:
    if timeout is not None and not 0 <= timeout <= 300:
        raise InvalidInput("timeout is from 0 to 300 seconds.", hint="Leave it out for the container's own.")
    return timeout


def signal_number(value: int | str) -> int:
    """9, "KILL", "SIGKILL" → 9. Raises InvalidInput."""
    if isinstance(value, str):
        name = value.upper()
        known = signal.Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
        value = int(known) if known is not None else int(name) if name.isascii() and name.isdigit() and len(name) < 3 else 0
    if not 1 <= value <= 64:
        raise InvalidInput(
            "There is no such signal.", code="invalid_signal", hint='Write a number from 1 to 64, or a name such as "TERM".'
        )
    return value


ID = "/containers/{id}"
ROUTES = (
    Route("GET", "/containers", list_containers, "List containers, newest first", shapes.Containers, query=shapes.ListQuery),
    Route(
        "POST",
        "/containers",
        create_container,
        "Make a container, and start it",
        Container,
        ContainerSpec,
        status=201,
        parse=parse_container,
    ),
    Route(
        "POST",
        "/preview",
        preview_commands,
        "Show the commands that would make it",
        shapes.Commands,
        ContainerSpec,
        parse=parse_container,
    ),
    Route("GET", ID, get_container, "Read a container", Container),
    Route(
        "PATCH", ID, update_container, "Rename it, change its restart policy or labels", Container, Changes, parse=parse_changes
    ),
    Route("DELETE", ID, remove_container, "Remove a container", query=shapes.RemoveQuery, status=204),
    Route("POST", ID + "/start", start_container, "Start", Container, shapes.NoBody),
    Route("POST", ID + "/stop", stop_container, "Stop: its stop signal, then SIGKILL", Container, shapes.TimeoutBody),
    Route("POST", ID + "/kill", kill_container, "Send a signal", Container, shapes.KillBody),
    Route("POST", ID + "/restart", restart_container, "Stop and start", Container, shapes.TimeoutBody),
    Route("POST", ID + "/pause", pause_container, "Freeze its processes", Container, shapes.NoBody),
    Route("POST", ID + "/resume", resume_container, "Thaw its processes", Container, shapes.NoBody),
    Route("GET", ID + "/limits", read_limits, "Read the limits", dict[str, LimitReading]),
    Route(
        "PATCH",
        ID + "/limits",
        update_limits,
        "Change limits; null clears",
        dict[str, LimitReading],
        shapes.LimitsBody,
        parse=parse_limits,
    ),
    Route("GET", ID + "/limits/events", read_limit_events, "Read what the limits did to it", LimitEvents),
    Route(
        "POST",
        ID + "/limits/put-back",
        put_back_limits,
        "Give the kernel what was requested where somebody has changed it",
        dict[str, LimitReading],
        shapes.LimitNamesBody,
    ),
    Route(
        "POST",
        ID + "/limits/accept",
        accept_limits,
        "Take what somebody has changed in the kernel as requested",
        dict[str, LimitReading],
        shapes.LimitNamesBody,
    ),
    Route("POST", ID + "/exec", execute_command, "Run a command inside", ExecResult, shapes.ExecBody),
    Route("POST", ID + "/processes", add_process, "Put a process of the host into its control groups", Container, shapes.AddBody),
    Route("GET", ID + "/processes", read_processes, "List its processes", shapes.Processes),
    Route("GET", ID + "/namespaces", read_namespaces, "List its namespaces, and who shares them", shapes.NamespaceList),
    Route("GET", ID + "/mounts", read_mounts, "List what is mounted inside, as its kernel has it", shapes.Mounts),
    Route("GET", ID + "/stats", read_stats, "Read its numbers of this second", shapes.Stats),
    Route("GET", ID + "/history", read_history, "Read its recent numbers", shapes.History, query=shapes.HistoryQuery),
    Route("GET", ID + "/logs", read_logs, "Read the end of its log", shapes.Logs, query=shapes.LogsQuery),
    Route("GET", ID + "/commands", read_commands, "Show the commands that make the same", shapes.Commands),
    Route("GET", ID + "/security", read_security, "Read how it is confined", dict[str, Any]),
)
