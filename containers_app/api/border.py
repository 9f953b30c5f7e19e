"""From HTTP to the services: bodies, queries and cursors into checked values."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, TypeVar

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

from ..errors import InvalidInput, TooLarge
from ..responses import JSON

T = TypeVar("T")
BINARY = "application/octet-stream"
_PLACE = re.compile(r"(-?[0-9]{1,15}(?:\.[0-9]{1,9})?) ([a-zA-Z0-9]{1,128})", re.ASCII)


class WrongContentType(InvalidInput):
    code = "invalid_content_type"
    status = 415


def read_body(request: HttpRequest) -> Any:
    """The JSON of the body; {} when there is none. Raises InvalidInput, TooLarge."""
    length = request.META.get("CONTENT_LENGTH") or ""
    if length not in ("", "0") and request.content_type != JSON:
        raise WrongContentType("The body must be JSON.", hint="Send Content-Type: application/json.")
    try:
        body = request.body
    except RequestDataTooBig:
        raise TooLarge("The request is longer than 1 MiB.", hint="Send less at once.") from None
    if not body.strip():
        return {}
    if request.content_type != JSON:
        raise WrongContentType("The body must be JSON.", hint="Send Content-Type: application/json.")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("The body is not JSON.", code="invalid_json", hint=str(error)[:200]) from None
    except RecursionError:
        raise InvalidInput("The body is nested too deeply.", code="invalid_json") from None


def read_bytes(request: HttpRequest) -> bytes:
    """The body as it is; its length is bounded by panel/asgi.py. Raises InvalidInput for another content type."""
    if request.content_type != BINARY:
        raise WrongContentType("The body must be bytes.", hint=f"Send Content-Type: {BINARY}.")
    return request.body


def typed(raw: Any, wanted: type[T], *, strict: bool = True) -> T:
    """Raises InvalidInput that says which field is wrong."""
    try:
        return msgspec.convert(raw, wanted, strict=strict)
    except msgspec.ValidationError as error:
        text = str(error)
        raise InvalidInput(
            text[:1].upper() + text[1:300].rstrip(".") + ".", hint="See /api/docs/ for the fields and their types."
        ) from None


def write_cursor(place: tuple[float, str] | None) -> str | None:
    """An opaque word for where the next page begins."""
    return None if place is None else base64.urlsafe_b64encode(f"{place[0]:.9f} {place[1]}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[float, str] | None:
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, UnicodeError, ValueError):
        text = ""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise InvalidInput("That is not a cursor.", hint='Send the "next" of the page before, or nothing for the first page.')
    return float(match[1]), match[2]
