"""The REST API. To add a call: a handler and a row in ROUTES of the module of its noun; URL conf and OpenAPI follow."""

from . import containers, docker, groups, host, images, neighbours, networks, templates, terminals
from .route import by_path, endpoint, nothing_here

NOUNS = (containers, terminals, neighbours, docker, images, templates, networks, groups, host)
ROUTES = tuple(route for noun in NOUNS for route in noun.ROUTES)
ENDPOINTS = {path: endpoint(routes) for path, routes in by_path(ROUTES).items()}

__all__ = ["ENDPOINTS", "ROUTES", "nothing_here"]
