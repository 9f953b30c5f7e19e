"""What the worker does: one function per command, and the table that is all anyone can ask of it.

Every handler checks what it is given as if the web had not: types were checked by the decoder, ranges and words are
checked here by the same functions that the border uses, then the policy. Results are msgspec-encodable.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .. import spec as specs
from ..engines import policy_checks as policies
from ..engines.base import Container, Engine, Terminal
from ..engines.groups import Groups
from ..engines.policy import Policy
from ..errors import Conflict, InvalidInput, NotFound
from ..kernel.cgroups import Cgroups
from ..spec import ContainerSpec
from . import (
    adding,
    docker_commands,
    group_commands,
    image_commands,
    limit_commands,
    neighbours,
    network_commands,
    protocol,
    reading_commands,
)
from .history import History
from .jobs import Jobs
from .live import Live
from .protocol import TerminalOpened
from .registry import Registry
from .server import WithDescriptor

MAX_TIMEOUT = 3600.0  # seconds
MAX_TERMINALS = 1024  # open ones that need the worker to be resized


@dataclass
class Worker:
    """What the handlers work on."""

    node: str
    policy: Policy
    registry: Registry
    live: Live
    history: History
    cgroups: Cgroups
    data: str  # the panel's data directory
    groups: Groups
    run: str = ""  # the directory of the panel's own sockets and pid files
    terminals: dict[str, Terminal] = field(default_factory=dict)  # those whose holder can't size them itself
    group_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    names: set[str] = field(default_factory=set)  # of containers being made
    jobs: Jobs = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.node, self.live.job)

    @contextmanager
    def reserved(self, name: str) -> Iterator[None]:
        """No two containers of one name, in whichever engine, also while they are being made."""
        if name in self.names or self.registry.named(name) is not None:
            raise Conflict(f"There is a container called “{name}” already.", hint="Choose another name.", code="name_taken")
        self.names.add(name)
        try:
            yield
        finally:
            self.names.discard(name)


async def handle(worker: Worker, command: protocol.Command) -> object:
    handler = HANDLERS.get(type(command))
    if handler is None:
        raise InvalidInput("There is no such command.", code="invalid_command")
    return await handler(worker, command)


# ── containers ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def list_containers(worker: Worker, command: protocol.ListContainers) -> object:
    worker.registry.publish()
    following = sorted(container_id for container_id in worker.registry.ids() if container_id > command.after)
    return next(worker.registry.pieces(following), [])


async def get_container(worker: Worker, command: protocol.GetContainer) -> Container:
    return _engine(worker, command.id).get(command.id)


async def create_container(worker: Worker, command: protocol.CreateContainer) -> Container:
    spec = _resolved(worker, checked_spec(command.spec))
    if len(command.owner) > 150 or not command.owner.isprintable():
        raise InvalidInput("That is not a user's name.")
    policies.check_spec(worker.policy, spec)
    check_references(worker, spec)
    engine = worker.registry.engine(spec.engine)
    with worker.reserved(spec.name):
        container = await engine.create(spec, command.owner)
    worker.registry.changed(container.id)
    worker.registry.publish()
    return engine.get(container.id)


async def preview_commands(worker: Worker, command: protocol.PreviewCommands) -> object:
    spec = _resolved(worker, checked_spec(command.spec))
    policies.check_spec(worker.policy, spec)
    return worker.registry.engine(spec.engine).preview(spec)


def checked_spec(spec: ContainerSpec) -> ContainerSpec:
    """The spec with its limits in the table's units. InvalidInput as from ``spec.parse_container``."""
    for check in specs.CONTAINER_CHECKS:
        check(spec)
    return msgspec.structs.replace(spec, limits=specs.set_limits(specs.parse_limits(spec.limits)))


def _resolved(worker: Worker, spec: ContainerSpec) -> ContainerSpec:
    limits = specs.set_limits(worker.cgroups.resolve(dict(spec.limits), worker.data))
    return msgspec.structs.replace(spec, limits=limits)


def check_references(worker: Worker, spec: ContainerSpec) -> None:
    """``container:ID`` must be there, and must not be a way round the policy into the host's own namespaces."""
    for kind, mode in spec.namespaces.items():
        if mode.startswith("container:"):
            target = find(worker.registry, mode.removeprefix("container:"))
            view = target.namespaces.get(kind)
            if view is not None and view.initial:
                policies.check_initial_namespace(worker.policy, kind)


def find(registry: Registry, wanted: str) -> Container:
    """By id, else by name, else by a beginning of the id (4 or more characters) that only one has."""
    everything = registry.all()
    for matches in (
        [container for container in everything if container.id == wanted],
        [container for container in everything if container.name == wanted],
        [container for container in everything if len(wanted) >= 4 and container.id.startswith(wanted)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise Conflict(f"More than one container is meant by “{wanted[:64]}”.", hint="Write more of the id.")
    raise NotFound(f"There is no container “{wanted[:64]}”.", hint="It may have been removed.")


async def start_container(worker: Worker, command: protocol.StartContainer) -> Container:
    engine = _engine(worker, command.id)
    await engine.start(command.id)
    return _seen(worker, engine, command.id)


async def stop_container(worker: Worker, command: protocol.StopContainer) -> Container:
    engine = _engine(worker, command.id)
    await engine.stop(command.id, _patience(command.timeout))
    return _seen(worker, engine, command.id)


async def kill_container(worker: Worker, command: protocol.KillContainer) -> Container:
    if not 1 <= command.signal <= 64:
        raise InvalidInput(f"{command.signal} is not a signal.", hint="Signals are 1 to 64; 9 is SIGKILL, 15 is SIGTERM.")
    engine = _engine(worker, command.id)
    await engine.kill(command.id, command.signal)
    return _seen(worker, engine, command.id)


async def restart_container(worker: Worker, command: protocol.RestartContainer) -> Container:
    engine = _engine(worker, command.id)
    await engine.restart(command.id, _patience(command.timeout))
    return _seen(worker, engine, command.id)


async def update_container(worker: Worker, command: protocol.UpdateContainer) -> Container:
    specs.check_changes(command.changes)
    engine = _engine(worker, command.id)
    name = command.changes.name
    with nullcontext() if name is None or name == engine.get(command.id).name else worker.reserved(name):
        await engine.update(command.id, command.changes)
    return _seen(worker, engine, command.id)


async def pause_container(worker: Worker, command: protocol.PauseContainer) -> Container:
    engine = _engine(worker, command.id)
    await engine.pause(command.id)
    return _seen(worker, engine, command.id)


async def resume_container(worker: Worker, command: protocol.ResumeContainer) -> Container:
    engine = _engine(worker, command.id)
    await engine.resume(command.id)
    return _seen(worker, engine, command.id)


async def remove_container(worker: Worker, command: protocol.RemoveContainer) -> None:
    engine = _engine(worker, command.id)
    container = engine.get(command.id)
    await engine.remove(container.id, command.force)
    worker.registry.changed(container.id)
    worker.registry.publish()


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def execute_command(worker: Worker, command: protocol.ExecuteCommand) -> object:
    specs.check_argv(command.argv)
    if not command.argv:
        raise InvalidInput("There is no command.", code="invalid_command", hint='For example ["ls", "-l"].')
    specs.check_namespace_types(command.namespaces)
    engine = _engine(worker, command.id)
    return await engine.execute(command.id, command.argv, _seconds(command.timeout), command.namespaces)


async def add_process(worker: Worker, command: protocol.AddProcess) -> Container:
    engine = _engine(worker, command.id)
    container, others = engine.get(command.id), worker.registry.all()
    others = [other for other in others if other.id != container.id]
    await asyncio.to_thread(adding.add, container, others, command.pid, command.to, worker.run, worker.policy, worker.cgroups)
    return _seen(worker, engine, command.id)


async def open_terminal(worker: Worker, command: protocol.OpenTerminal) -> WithDescriptor:
    specs.check_argv(command.argv)
    _check_size(command.rows, command.columns)
    engine = _engine(worker, command.id)
    terminal = await engine.open_terminal(command.id, command.argv, command.rows, command.columns)
    name, is_tty = os.urandom(12).hex(), os.isatty(terminal.fd)
    if not is_tty:
        while len(worker.terminals) >= MAX_TERMINALS:
            del worker.terminals[next(iter(worker.terminals))]
        worker.terminals[name] = terminal
    return WithDescriptor(TerminalOpened(name, is_tty), terminal.fd)


async def resize_terminal(worker: Worker, command: protocol.ResizeTerminal) -> None:
    _check_size(command.rows, command.columns)
    terminal = worker.terminals.get(command.terminal)
    if terminal is None:
        raise NotFound("There is no such terminal.", hint="Its holder sizes it, or it has ended.")
    await terminal.resize(command.rows, command.columns)


# ── shared ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _engine(worker: Worker, container_id: str) -> Engine:
    return worker.registry.engine_of(container_id)


def _seen(worker: Worker, engine: Engine, container_id: str) -> Container:
    """The container as it now is, told to everybody before the reply."""
    container = engine.get(container_id)
    worker.registry.changed(container.id)
    worker.registry.publish()
    return container


def _seconds(value: float) -> float:
    if not (math.isfinite(value) and 0 <= value <= MAX_TIMEOUT):
        raise InvalidInput("That is not a time-out.", hint=f"Write 0 to {MAX_TIMEOUT:.0f} seconds.")
    return value


def _patience(timeout: float | None) -> float | None:
    return None if timeout is None else _seconds(timeout)


def _check_size(rows: int, columns: int) -> None:
    if not (1 <= rows <= 1000 and 1 <= columns <= 1000):
        raise InvalidInput("A terminal has 1 to 1000 rows and columns.")


Handler = Callable[[Worker, Any], Awaitable[object]]

HANDLERS: dict[type[protocol.Command], Handler] = {
    **docker_commands.HANDLERS,
    protocol.ListContainers: list_containers,
    protocol.GetContainer: get_container,
    protocol.CreateContainer: create_container,
    protocol.PreviewCommands: preview_commands,
    protocol.StartContainer: start_container,
    protocol.StopContainer: stop_container,
    protocol.KillContainer: kill_container,
    protocol.RestartContainer: restart_container,
    protocol.UpdateContainer: update_container,
    protocol.PauseContainer: pause_container,
    protocol.ResumeContainer: resume_container,
    protocol.RemoveContainer: remove_container,
    protocol.ExecuteCommand: execute_command,
    protocol.AddProcess: add_process,
    protocol.OpenTerminal: open_terminal,
    protocol.ResizeTerminal: resize_terminal,
    **limit_commands.HANDLERS,
    **group_commands.HANDLERS,
    **image_commands.HANDLERS,
    **neighbours.HANDLERS,
    **network_commands.HANDLERS,
    **reading_commands.HANDLERS,
}
