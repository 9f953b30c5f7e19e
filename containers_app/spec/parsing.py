"""The border: raw JSON in, a checked description out, or InvalidInput that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import InvalidInput
from ..units import parse_size
from .checks import CONTAINER_CHECKS
from .limits import parse_limits, set_limits
from .words import ContainerSpec


def parse_container(raw: object) -> ContainerSpec:
    """The body of ``POST /api/v1/containers`` → a checked spec."""
    if not isinstance(raw, Mapping):
        raise InvalidInput(
            "A container is described by a JSON object.", hint='For example {"name": "web-1", "image": "busybox"}.'
        )
    fields: dict[str, Any] = dict(raw)
    fields["limits"] = set_limits(parse_limits({} if fields.get("limits") is None else fields["limits"]))
    mounts = [] if fields.get("mounts") is None else fields["mounts"]
    if isinstance(mounts, (list, tuple)):  # what is no list is refused below
        mounts = [{**m, "size": parse_size(m["size"])} if isinstance(m, Mapping) and m.get("size") else m for m in mounts]
    fields["mounts"] = mounts
    if isinstance(fields.get("restart"), str):
        fields["restart"] = {"policy": fields["restart"]}
    try:
        spec = msgspec.convert(fields, ContainerSpec)
    except msgspec.ValidationError as error:
        raise InvalidInput(sentence(str(error)), hint="See /api/v1/openapi.json for the fields and their types.") from None
    for check in CONTAINER_CHECKS:
        check(spec)
    return spec


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
