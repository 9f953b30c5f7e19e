"""The OpenAPI 3.1 document, made from the API's route table and the types that encode the answers; so it can't drift."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from .api import ROUTES
from .api.route import Route
from .api.shapes import Error, NoBody

_VARIABLE = re.compile(r"\{(\w+)\}")
_ERRORS = {
    "400": "What was sent can't be meant", "401": "Log in first", "403": "You may not, or the host's policy forbids it",
    "404": "There is no such thing", "409": "The state does not allow it now, or the kernel refused", "413": "Too long",
    "415": "The body is not JSON", "422": "This host or engine can't do it", "424": "The engine does not answer",
    "503": "The worker does not answer",
}  # fmt: skip


@functools.cache
def document() -> dict[str, Any]:
    types = _types()
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {repr(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault("/api/v1" + route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Terrarium",
            "version": "1",
            "description": "Sandboxes and Docker containers of one host. Lists are {items, next}; errors are "
            "{error: {code, message, hint}}. Sizes are bytes; “64M”, “1.5G” and “50%” are accepted wherever a size or share is.",
        },
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "deploy/manage create_token USER prints one."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "session",
                    "description": "The browser's; changes need X-CSRFToken.",
                },
            },
        },
    }


def _types() -> list[Any]:
    found = [Error]
    for route in ROUTES:
        found += [kind for kind in (route.result, route.body, route.query) if kind is not None and kind not in found]
    return found


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done"}
    if route.result is not None:
        kind = "application/x-tar" if route.result is bytes else "application/json"
        done["content"] = {kind: {"schema": schema_of[repr(route.result)]}}
    failed = {"application/json": {"schema": schema_of[repr(Error)]}}
    operation: dict[str, Any] = {
        "operationId": getattr(route.handler, "__name__", route.summary),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {str(route.status): done}
        | {code: {"description": text, "content": failed} for code, text in _ERRORS.items()},
    }
    if route.body not in (None, NoBody):
        kind = "application/octet-stream" if route.body is bytes else "application/json"
        content = {kind: {"schema": schema_of[repr(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _VARIABLE.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": field.name, "in": "query", "schema": {**msgspec.json.schema(field.type), "default": field.default}}
        for field in msgspec.structs.fields(route.query)
    ]
