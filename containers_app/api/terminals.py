"""/api/v1/…/terminals: sessions that outlive a page; their bytes go over /ws/terminal/{session}/."""

from __future__ import annotations

from .. import terminal_services
from . import shapes
from .route import Call, Route


async def open_terminal(call: Call) -> object:
    body: shapes.TerminalBody = call.body
    session = await terminal_services.open_terminal(call.visitor, call.path["id"], body.argv, body.rows, body.columns)
    return {"session": session}


async def open_toolbox(call: Call) -> object:
    body: shapes.ToolboxBody = call.body
    session = await terminal_services.open_toolbox(call.visitor, call.path["id"], body.image, body.rows, body.columns)
    return {"session": session}


async def list_terminals(call: Call) -> object:
    return {"items": await terminal_services.list_terminals(call.visitor), "next": None}


async def close_terminal(call: Call) -> object:
    await terminal_services.close_terminal(call.visitor, call.path["session"])
    return None


ROUTES = (
    Route(
        "POST",
        "/containers/{id}/terminals",
        open_terminal,
        "Open a terminal",
        shapes.OpenedTerminal,
        shapes.TerminalBody,
        status=201,
        tag="terminals",
    ),
    Route(
        "POST",
        "/containers/{id}/toolbox",
        open_toolbox,
        "Open tools beside it, gone when the terminal is closed",
        shapes.OpenedTerminal,
        shapes.ToolboxBody,
        status=201,
        tag="terminals",
    ),
    Route("GET", "/terminals", list_terminals, "List one's terminals", shapes.TerminalSessions, tag="terminals"),
    Route("DELETE", "/terminals/{session}", close_terminal, "Close a terminal", status=204, tag="terminals"),
)
