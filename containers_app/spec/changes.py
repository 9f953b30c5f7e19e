"""What may change in a container's description while it lives; its limits have a way of their own."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import InvalidInput
from .checks import check_name, check_names, check_restart
from .parsing import sentence
from .words import ContainerSpec, Restart

_HINT = 'For example {"name": "web-2"}; name, restart, labels and keep_limits can change.'


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is. ``labels`` replace all that there are.

    ``keep_limits``: those limits that the engine's own record has no words for come back when it starts anew.
    """

    name: str | None = None
    restart: Restart | None = None
    labels: dict[str, str] | None = None
    keep_limits: bool | None = None


def parse_changes(raw: object) -> Changes:
    """The body of ``PATCH /api/v1/containers/ID`` → checked changes. ``restart`` may be the policy's word alone."""
    if not isinstance(raw, dict) or not raw:
        raise InvalidInput("Changes are a JSON object.", hint=_HINT)
    fields: dict[str, Any] = dict(raw)
    if isinstance(fields.get("restart"), str):
        fields["restart"] = {"policy": fields["restart"]}
    try:
        changes = msgspec.convert(fields, Changes)
    except msgspec.ValidationError as error:
        raise InvalidInput(sentence(str(error)), hint=_HINT) from None
    check_changes(changes)
    return changes


def check_changes(changes: Changes) -> None:
    """Held against the same checks as a new container's description."""
    changed = changed_spec(ContainerSpec(name="unchanged"), changes)
    for check in (check_name, check_restart, check_names):
        check(changed)


def changed_spec(spec: ContainerSpec, changes: Changes) -> ContainerSpec:
    return msgspec.structs.replace(
        spec, **{name: value for name, value in msgspec.structs.asdict(changes).items() if value is not None}
    )
