"""The REST API. To add a call: a handler and a row in ROUTES of the module of its noun; URL conf and OpenAPI follow."""

from . import containers, docker, host, images, neighbours, networks, templates, terminals
from .route import by_path, endpoint, nothing_here

ROUTES = (
    *containers.ROUTES, *terminals.ROUTES, *neighbours.ROUTES, *docker.ROUTES,
    *images.ROUTES, *templates.ROUTES, *networks.ROUTES, *host.ROUTES,
)  # fmt: skip
ENDPOINTS = {path: endpoint(routes) for path, routes in by_path(ROUTES).items()}

__all__ = ["ENDPOINTS", "ROUTES", "nothing_here"]
