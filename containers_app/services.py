"""What a visitor can do: one function per action, named as the command and the API name it.

Every look-up goes through ``get_container``, so that permission cannot be forgotten; every change is audited. Views, API,
consumers and management commands call these; nothing here knows of requests or answers. All raise containers_app.errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from . import mirror, shares
from .audits import audit, audit_limits, carried_out
from .errors import Conflict, InvalidInput, NotFound, PermissionDenied
from .spec import (
    ENGINE_NAME,
    NAMESPACE_TYPES,
    STATES,
    Changes,
    ContainerSpec,
    LimitChanges,
    LimitReading,
    Namespaces,
    check_argv,
)
from .visitors import Visitor
from .worker import protocol
from .worker.protocol import Command, Container, ExecResult, History, LimitEvents, LogQuery, LogText, Stats

T = TypeVar("T")

MOST_LISTED = 1000
SHORTEST_PREFIX = 4  # characters of an id that may stand for it
LONGEST_EXEC = 600.0  # seconds
_REFERENCE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def may_see(visitor: Visitor, container: Container) -> bool:
    return may_see_owner(visitor, container.owner)


def may_see_owner(visitor: Visitor, owner: str | None) -> bool:
    """Docker containers made outside have no owner (""), so they are the staff's."""
    return visitor.is_staff or (bool(owner) and owner == visitor.username)


async def get_container(visitor: Visitor, reference: str, to: Literal["read", "operate"] = "read") -> Container:
    """By id, unique name or unique beginning of an id. What one may not see does not exist.

    Fresh from the worker when it is only to be read; from memory when the worker is to act on it, who looks again.
    """
    if not _REFERENCE.fullmatch(reference):
        raise _not_found(reference)
    container = await _look_up(visitor, reference, fresh=to == "read")
    if not may_see(visitor, container):
        raise _not_found(reference)
    if to == "operate" and container.engine != "raw" and not visitor.is_staff:
        raise PermissionDenied("Docker containers are run by staff.", hint="Ask an administrator.")
    return container


async def _look_up(visitor: Visitor, reference: str, fresh: bool) -> Container:
    known = mirror.current()
    if not await known.ready():
        if not fresh:  # an act needs the id for sure, a read may ask the worker for it
            return _resolve(visitor, reference, await _ask_for_all())
        found = None
    else:
        found = known.get(reference) or _resolve_or_none(visitor, reference, list(known.all()))
    if found is not None and not fresh:
        return found
    try:
        return await ask(protocol.GetContainer(found.id if found is not None else reference), Container)
    except NotFound:
        raise _not_found(reference) from None  # in the words for what may not be seen: nobody can tell the two apart


def _resolve_or_none(visitor: Visitor, reference: str, containers: list[Container]) -> Container | None:
    try:
        return _resolve(visitor, reference, containers)
    except NotFound:
        return None


def _resolve(visitor: Visitor, reference: str, containers: list[Container]) -> Container:
    visible = [one for one in containers if may_see(visitor, one)]
    found = [one for one in visible if one.id == reference] or [one for one in visible if one.name == reference]
    if not found and len(reference) >= SHORTEST_PREFIX:
        found = [one for one in visible if one.id.startswith(reference)]
    if len(found) > 1:
        hint = "Use one of the ids " + ", ".join(one.id[:12] for one in found[:5]) + "."
        raise Conflict(f"{len(found)} containers go by {reference}.", code="ambiguous", hint=hint)
    if not found:
        raise _not_found(reference)
    return found[0]


def _not_found(reference: str) -> NotFound:
    shown = reference if len(reference) <= 40 and reference.isprintable() else "that name"
    return NotFound(f"There is no container {shown}.", hint="It may have been removed. The list shows what there is.")


def staff_only(visitor: Visitor, what: str) -> None:
    if not visitor.is_staff:
        raise PermissionDenied(f"{what} is for staff.", hint="Ask an administrator.")


async def ask(command: Command, result: type[T]) -> T:
    return await mirror.current().client.call(command, result)


async def _ask_for_all() -> list[Container]:
    """The worker's own list, while there is none here that can be relied on."""
    found: list[Container] = []
    while more := await ask(protocol.ListContainers(found[-1].id if found else ""), list[Container]):
        found += more
    return found


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Page:
    """``next`` is where the following page begins, None on the last one."""

    containers: list[Container]
    next: tuple[float, str] | None


async def list_containers(
    visitor: Visitor,
    *,
    engine: str = "",
    state: str = "",
    q: str = "",
    limit: int = MOST_LISTED,
    after: tuple[float, str] | None = None,
) -> Page:
    """Newest first. ``q`` is looked for in name, image and id."""
    if engine and not ENGINE_NAME.fullmatch(engine):
        raise InvalidInput(
            "That is not an engine's name.", hint="For example raw or docker; the host page shows which there are."
        )
    if state and state not in STATES:
        raise InvalidInput("There is no such state.", hint="States are " + ", ".join(STATES) + ".")
    known = mirror.current()
    containers = known.all() if await known.ready() else await _ask_for_all()
    wanted = q.casefold()
    chosen = sorted(
        (
            one
            for one in containers
            if may_see(visitor, one)
            and (not engine or one.engine == engine)
            and (not state or one.state == state)
            and (not wanted or wanted in one.name.casefold() or wanted in one.image.casefold() or one.id.startswith(wanted))
        ),
        key=_place,
    )
    if after is not None:
        chosen = [one for one in chosen if _place(one) > (-after[0], after[1])]
    more = len(chosen) > limit
    chosen = chosen[:limit]
    return Page(chosen, (chosen[-1].created_at, chosen[-1].id) if more else None)


def _place(container: Container) -> tuple[float, str]:
    return -container.created_at, container.id


async def read_limits(visitor: Visitor, reference: str) -> dict[str, LimitReading]:
    container = await get_container(visitor, reference)
    return await ask(protocol.ReadLimits(container.id), dict[str, LimitReading])


async def read_limit_events(visitor: Visitor, reference: str) -> LimitEvents:
    return await ask(protocol.ReadLimitEvents((await get_container(visitor, reference)).id), LimitEvents)


async def read_processes(visitor: Visitor, reference: str) -> list[Any]:
    return await ask(protocol.ReadProcesses((await get_container(visitor, reference)).id), list[Any])


async def read_namespaces(visitor: Visitor, reference: str) -> list[Any]:
    """What shares a namespace is named only as far as the visitor may see it."""
    container = await get_container(visitor, reference)
    items = await ask(protocol.ReadNamespaces(container.id), list[Any])
    for item in items:
        item["shared_with"] = [one for one in item["shared_with"] if may_see_owner(visitor, mirror.current().owner(one["id"]))]
    return items


async def read_mounts(visitor: Visitor, reference: str) -> list[Any]:
    return await ask(protocol.ReadMounts((await get_container(visitor, reference)).id), list[Any])


async def read_stats(visitor: Visitor, reference: str) -> Stats:
    return await ask(protocol.ReadStats((await get_container(visitor, reference)).id), Stats)


async def read_history(visitor: Visitor, reference: str, seconds: float) -> History:
    return await ask(protocol.ReadHistory((await get_container(visitor, reference)).id, seconds), History)


async def read_logs(visitor: Visitor, reference: str, query: LogQuery) -> LogText:
    return await ask(protocol.ReadLogs((await get_container(visitor, reference)).id, query), LogText)


async def read_commands(visitor: Visitor, reference: str) -> list[str]:
    return await ask(protocol.ReadCommands((await get_container(visitor, reference)).id), list[str])


async def read_security(visitor: Visitor, reference: str) -> dict[str, Any]:
    return await ask(protocol.ReadSecurity((await get_container(visitor, reference)).id), dict[str, Any])


def may_see_event(visitor: Visitor, event: protocol.Event) -> bool:
    return may_see_owner(visitor, event.owner)


async def preview_commands(visitor: Visitor, spec: ContainerSpec) -> list[str]:
    return await ask(protocol.PreviewCommands(await _permitted(visitor, spec)), list[str])


# ── changing ────────────────────────────────────────────────────────────────────────────────────────────────────────


@carried_out
async def create_container(visitor: Visitor, spec: ContainerSpec) -> Container:
    spec = await _permitted(visitor, spec)
    container = await ask(protocol.CreateContainer(spec, owner=visitor.username), Container)
    known = mirror.current()
    await known.settle(container)
    await audit(visitor, "create", target_of(container), f"{container.engine}, {container.image}")
    return known.get(container.id) or container


async def _permitted(visitor: Visitor, spec: ContainerSpec) -> ContainerSpec:
    """The spec with its references as ids; PermissionDenied for what would let the visitor out of what is theirs."""
    if spec.engine != "raw":
        staff_only(visitor, "Making Docker containers")
    if any(mount.type == "bind" for mount in spec.mounts):
        staff_only(visitor, "Mounting the host's directories")
    if spec.group and not may_see_owner(visitor, (await ask(protocol.GetGroup(spec.group), protocol.Group)).owner):
        raise NotFound(f"There is no group “{spec.group}”.", hint="Make it first, or leave group out.")
    resolved: dict[str, str] = {}
    usual = Namespaces()
    for kind, mode in spec.namespaces.items():
        if mode.startswith("container:"):
            other = await get_container(visitor, mode.removeprefix("container:"), to="operate")
            resolved[kind] = f"container:{other.id}"
        elif (mode == "host" or mode.startswith("path:")) and mode != getattr(usual, kind):
            staff_only(visitor, f"Joining the {kind} namespace of the host or of a path")
    return msgspec.structs.replace(spec, namespaces=msgspec.structs.replace(spec.namespaces, **resolved)) if resolved else spec


@carried_out
async def start_container(visitor: Visitor, reference: str) -> Container:
    container = await get_container(visitor, reference, to="operate")
    return await _act(visitor, "start", container, protocol.StartContainer(container.id))


@carried_out
async def stop_container(visitor: Visitor, reference: str, timeout: float | None = None) -> Container:
    container = await get_container(visitor, reference, to="operate")
    with shares.waiting.taken(visitor):
        return await _act(visitor, "stop", container, protocol.StopContainer(container.id, timeout))


@carried_out
async def kill_container(visitor: Visitor, reference: str, signal: int = 9) -> Container:
    container = await get_container(visitor, reference, to="operate")
    return await _act(visitor, "kill", container, protocol.KillContainer(container.id, signal), f"signal {signal}")


@carried_out
async def restart_container(visitor: Visitor, reference: str, timeout: float | None = None) -> Container:
    container = await get_container(visitor, reference, to="operate")
    with shares.waiting.taken(visitor):
        return await _act(visitor, "restart", container, protocol.RestartContainer(container.id, timeout))


@carried_out
async def update_container(visitor: Visitor, reference: str, changes: Changes) -> Container:
    container = await get_container(visitor, reference, to="operate")
    told = {name: value for name, value in msgspec.to_builtins(changes).items() if value is not None}
    return await _act(visitor, "update", container, protocol.UpdateContainer(container.id, changes), str(told))


@carried_out
async def pause_container(visitor: Visitor, reference: str) -> Container:
    container = await get_container(visitor, reference, to="operate")
    return await _act(visitor, "pause", container, protocol.PauseContainer(container.id))


@carried_out
async def resume_container(visitor: Visitor, reference: str) -> Container:
    container = await get_container(visitor, reference, to="operate")
    return await _act(visitor, "resume", container, protocol.ResumeContainer(container.id))


@carried_out
async def remove_container(visitor: Visitor, reference: str, force: bool = False) -> None:
    container = await get_container(visitor, reference, to="operate")
    await ask(protocol.RemoveContainer(container.id, force), msgspec.Raw)
    await mirror.current().settle_removal(container.id)
    await audit(visitor, "remove", target_of(container), "by force" if force else "")


@carried_out
async def update_limits(visitor: Visitor, reference: str, changes: LimitChanges) -> dict[str, LimitReading]:
    container = await get_container(visitor, reference, to="operate")
    readings = await _change_limits(container, protocol.UpdateLimits(container.id, changes))
    audit_limits(visitor, "update limits", target_of(container), changes)
    return readings


@carried_out
async def put_back_limits(visitor: Visitor, reference: str, names: tuple[str, ...]) -> dict[str, LimitReading]:
    """What somebody has changed in the kernel becomes what was requested again; all of it when ``names`` is ()."""
    container = await get_container(visitor, reference, to="operate")
    readings = await _change_limits(container, protocol.PutBackLimits(container.id, names))
    await audit(visitor, "put limits back", target_of(container), ", ".join(names))
    return readings


@carried_out
async def accept_limits(visitor: Visitor, reference: str, names: tuple[str, ...]) -> dict[str, LimitReading]:
    """What somebody has changed in the kernel counts as requested; all of it when ``names`` is ()."""
    container = await get_container(visitor, reference, to="operate")
    readings = await _change_limits(container, protocol.AcceptLimits(container.id, names))
    await audit(visitor, "accept limits", target_of(container), ", ".join(names))
    return readings


async def _change_limits(container: Container, command: Command) -> dict[str, LimitReading]:
    known = mirror.current()
    before = known.changes(container.id)
    readings = await ask(command, dict[str, LimitReading])
    await known.settle(msgspec.structs.replace(known.get(container.id) or container, limits=readings), before, of_many=True)
    return readings


@carried_out
async def execute_command(
    visitor: Visitor, reference: str, argv: tuple[str, ...], timeout: float = 60.0, namespaces: tuple[str, ...] = ()
) -> ExecResult:
    """``namespaces``: only these of the container's, and the host's for the rest, which is staff's to ask for; () is all."""
    _check_program(argv)
    if not 0 < timeout <= LONGEST_EXEC:
        raise InvalidInput(f"timeout is from 0 to {LONGEST_EXEC:.0f} seconds.", hint="Leave it out for 60.")
    container = await get_container(visitor, reference, to="operate")
    known = set(NAMESPACE_TYPES)
    if namespaces and known >= set(namespaces) and known - {"user"} - set(namespaces):
        staff_only(visitor, "Running a program in some of a container's namespaces, and in the host's for the rest,")
    with shares.waiting.taken(visitor):  # until the worker has answered, whether anybody waits for it or not: carried_out
        await audit(visitor, "execute", target_of(container), " ".join(argv))
        return await ask(protocol.ExecuteCommand(container.id, argv, timeout, namespaces), ExecResult)


@carried_out
async def add_process(visitor: Visitor, reference: str, pid: int, to: tuple[str, ...]) -> Container:
    """A process of the host goes into the container's control groups, and ends with it."""
    container = await get_container(visitor, reference, to="operate")
    staff_only(visitor, "Moving processes of the host")
    return await _act(visitor, "add process", container, protocol.AddProcess(container.id, pid, to), f"{pid}")


def _check_program(argv: tuple[str, ...]) -> None:
    if not argv:
        raise InvalidInput("argv is empty.", hint='For example {"argv": ["ls", "-l"]}.')
    check_argv(argv)


async def _act(visitor: Visitor, action: str, container: Container, command: Command, detail: str = "") -> Container:
    """Ask the worker, see the change in our own list, audit it. What is returned is no older than what viewers were told."""
    known = mirror.current()
    before = known.changes(container.id)
    changed = await ask(command, Container)
    await known.settle(changed, before)
    await audit(visitor, action, target_of(container), detail)
    return known.get(container.id) or changed


def target_of(container: Container) -> str:
    """As the audit log names it."""
    return f"{container.name} ({container.id[:12]})"
