"""What a visitor can do with terminals: services.py's part for sessions that go on after the request."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from . import mirror
from .audits import audit, carried_out
from .errors import InvalidInput, KernelRefused, NotFound, PermissionDenied, Unsupported
from .services import get_container, may_see_owner, target_of
from .spec import check_argv
from .visitors import Visitor
from .worker import protocol, terminals
from .worker.protocol import Container

# A shell around a program: writes its first word and the exit code as the last thing. Ctrl-C is the program's, so the shell has
# a trap; one that ignored it would hand that down.
_TELLING = 'tell=$1; shift; trap : INT QUIT; "$@"; printf "%s%d" "$tell" "$?"'
_SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -l; exec /bin/sh -l")  # the best one there is


@carried_out
async def open_terminal(visitor: Visitor, reference: str, argv: tuple[str, ...], rows: int, columns: int) -> str:
    """→ the session's id, for /ws/terminal/{id}/. It ends with the log-in that it was opened from."""
    container = await _to_enter(visitor, reference, argv, rows, columns)
    key = await _open(visitor, container, protocol.OpenTerminal(container.id, argv, rows, columns))
    await audit(visitor, "open terminal", target_of(container), " ".join(argv))
    return key


@carried_out
async def open_telling_terminal(
    visitor: Visitor, reference: str, argv: tuple[str, ...], rows: int, columns: int
) -> tuple[str, str]:
    """→ the session's id, and the word behind which the program's exit code stands as the last thing.

    A pty carries none, so the container's /bin/sh writes it. Where there is none the word is "", and nobody knows the code.
    """
    container = await _to_enter(visitor, reference, argv, rows, columns)
    tell = f"exit-code-{secrets.token_hex(8)}:"
    words = ("/bin/sh", "-c", _TELLING, "sh", tell, *(argv or _SHELL))
    try:
        key = await _open(visitor, container, protocol.OpenTerminal(container.id, words, rows, columns))
    except (KernelRefused, Unsupported):
        key, tell = await _open(visitor, container, protocol.OpenTerminal(container.id, argv, rows, columns)), ""
    await audit(visitor, "open terminal", target_of(container), " ".join(argv))
    return key, tell


async def _to_enter(visitor: Visitor, reference: str, argv: tuple[str, ...], rows: int, columns: int) -> Container:
    check_argv(argv)
    _check_size(rows, columns)
    return await get_container(visitor, reference, to="operate")


@carried_out
async def open_toolbox(visitor: Visitor, reference: str, image: str, rows: int, columns: int) -> str:
    """→ the session's id, as of a terminal; when it is closed, the toolbox is gone."""
    _check_size(rows, columns)
    container = await get_container(visitor, reference, to="operate")
    if _is_for_staff(container, toolbox=True) and not visitor.is_staff:
        raise PermissionDenied("A toolbox beside a container that has the host's users is for staff.", hint="Use a terminal.")
    key = await _open(visitor, container, protocol.OpenToolbox(container.id, image, rows, columns))
    await audit(visitor, "open toolbox", target_of(container), image)
    return key


def _check_size(rows: int, columns: int) -> None:
    if not (1 <= rows <= 1000 and 1 <= columns <= 1000):
        raise InvalidInput("rows and columns are from 1 to 1000.")


async def _open(visitor: Visitor, container: Container, command: protocol.OpenTerminal | protocol.OpenToolbox) -> str:
    table = terminals.table()
    table.check_room(visitor.user_id)
    client = mirror.current().client
    rows, columns = command.rows, command.columns
    opened, descriptor = await client.call_fd(command, protocol.TerminalOpened)

    async def resize(rows: int, columns: int) -> None:
        await client.call(protocol.ResizeTerminal(opened.terminal, rows, columns), msgspec.Raw)

    session = terminals.TerminalSession(descriptor, opened.is_tty, resize, rows=rows, columns=columns)
    for_staff = _is_for_staff(container, isinstance(command, protocol.OpenToolbox))
    return table.add(session, terminals.Holder(visitor.user_id, visitor.session, container.id, container.owner, for_staff))


def _is_for_staff(container: Container, toolbox: bool) -> bool:
    return container.engine != "raw" or (toolbox and not container.user_map)


def find_terminal(visitor: Visitor, key: str) -> terminals.TerminalSession:
    """To look at and to type into. NotFound also for another user's; one that its user may no longer be at is closed.

    Told by what was known when it was opened, of which nothing changes: terminals outlive the worker.
    """
    table = terminals.table()
    session, holder = table.get(key, visitor.user_id), table.holder(key)
    if holder is not None and not _may_be_at(visitor, holder):
        table.close(key, visitor.user_id, "You may no longer operate this container.")
        raise NotFound("There is no such terminal session.", hint="You may no longer operate its container.")
    return session


def _may_be_at(visitor: Visitor, holder: terminals.Holder) -> bool:
    return visitor.is_staff or (not holder.for_staff and may_see_owner(visitor, holder.owner))


async def close_terminal(visitor: Visitor, key: str) -> None:
    terminals.table().close(key, visitor.user_id)


async def list_terminals(visitor: Visitor) -> list[dict[str, Any]]:
    return [
        {
            "session": key,
            "container": holder.container,
            "alive": session.alive,
            "viewers": session.viewers,
            "opened_at": opened_at,
        }
        for key, session, holder, opened_at in terminals.table().of(visitor.user_id)
    ]
