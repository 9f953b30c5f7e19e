"""Reading what was stored, perhaps by another version of the panel: fields that this one does not know are left out.

At the border they are refused (``forbid_unknown_fields``): there a field that nobody knows is a misspelt one. On the disk it is
one that a later version knew, from which somebody has gone back, and no sandbox is to be lost for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")


def stored_decoder(kind: type[T]) -> Callable[[bytes], T]:
    """For the JSON of a ``kind``. It raises ValueError for what is cut short or of another shape."""
    shape = inspect.type_info(kind)
    return lambda data: msgspec.convert(_known(msgspec.json.decode(data), shape), kind)


def _known(stored: Any, shape: inspect.Type) -> Any:
    if isinstance(shape, inspect.UnionType):  # one of them at most has fields
        for one in shape.types:
            stored = _known(stored, one)
    elif isinstance(shape, inspect.StructType) and isinstance(stored, dict):
        fields = {field.encode_name: field.type for field in shape.fields}
        return {name: _known(value, fields[name]) for name, value in stored.items() if name in fields}
    elif isinstance(shape, inspect.DictType) and isinstance(stored, dict):
        return {name: _known(value, shape.value_type) for name, value in stored.items()}
    elif isinstance(shape, inspect.VarTupleType) and isinstance(stored, list):
        return [_known(value, shape.item_type) for value in stored]
    return stored
