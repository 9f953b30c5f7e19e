"""/api/v1/containers/{id}/dependents: who leans on a container, and bringing them back to it."""

from __future__ import annotations

from .. import neighbour_services
from . import shapes
from .route import Call, Route


async def read_dependents(call: Call) -> object:
    items, hidden = await neighbour_services.read_dependents(call.visitor, call.path["id"])
    return {"items": items, "hidden": hidden, "next": None}


async def rejoin_dependents(call: Call) -> object:
    done = await neighbour_services.rejoin_dependents(call.visitor, call.path["id"])
    return {"items": [{"id": one.id, "name": one.name, "error": error} for one, error in done], "next": None}


PLACE = "/containers/{id}/dependents"
ROUTES = (
    Route("GET", PLACE, read_dependents, "List who has joined its namespaces", shapes.Dependents),
    Route(
        "POST",
        PLACE + "/rejoin",
        rejoin_dependents,
        "Restart those that are no longer in them",
        shapes.RejoinedList,
        shapes.NoBody,
    ),
)
