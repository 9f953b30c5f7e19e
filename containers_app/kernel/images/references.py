"""What a reference to a registry's image says, and whether that registry may be asked."""

from __future__ import annotations

import re

import msgspec

from ...errors import InvalidInput, PolicyRefused
from .task import Registries

HUB = "docker.io"
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class Reference(msgspec.Struct, frozen=True):
    host: str  # with the port where one is named
    name: str
    tag: str  # or a digest


def parse_reference(text: str) -> Reference:
    """``debian`` → docker.io, library/debian, latest. Raises InvalidInput."""
    first, slash, rest = text.partition("/")
    host, path = (first, rest) if slash and ("." in first or ":" in first or first == "localhost") else (HUB, text)
    name, at, digest = path.partition("@")
    if at:
        name, tag = name.partition(":")[0], digest
    else:
        name, _, tag = path.partition(":")
        tag = tag or "latest"
    if host == HUB and "/" not in name:
        name = f"library/{name}"
    if not _NAME.fullmatch(name) or not (_DIGEST if at else _TAG).fullmatch(tag):
        raise InvalidInput(
            f"“{text}” is no image of a registry.", code="invalid_source", hint="For example debian:bookworm-slim."
        )
    return Reference(host, name, tag)


def check_registry(registries: Registries, reference: Reference) -> None:
    if reference.host not in (*registries.allowed, *registries.insecure):
        raise PolicyRefused(
            f"This host does not fetch images from {reference.host}.",
            hint="Ask root to add it to registries in policy.toml.",
        )
