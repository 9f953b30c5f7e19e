"""Who leans on a container: has joined namespaces that are its own. By what was asked for and by the inodes that there are.

A namespace lives on with whoever is in it when its first owner ends, but for a pid namespace, which ends with its first process.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..engines.base import Container
from .protocol import Dependent

_REFERENCES = ("container:", "path:")


def dependents(container: Container, everything: Iterable[Container]) -> list[Dependent]:
    """In an order in which they can be started again: each after the one that it joined."""
    others = [other for other in everything if other.id != container.id]
    found: dict[str, Dependent] = {}
    named = [container]
    while named:
        provider = named.pop(0)
        for other in others:
            direct = provider is container
            types = tuple(
                kind for kind in other.namespaces if _names(other, kind, provider) or (direct and _inside(other, kind, container))
            )
            if not types or other.id in found:
                continue
            attached = all(other.namespaces[kind].inode == provider.namespaces[kind].inode != 0 for kind in types)
            found[other.id] = Dependent(other.id, other.name, other.engine, other.state, types, attached, provider.id)
            named.append(other)
    return list(found.values())


def _names(other: Container, kind: str, provider: Container) -> bool:
    scheme, _, wanted = other.namespaces[kind].mode.partition(":")
    return scheme == "container" and wanted in (provider.id, provider.name)


def _inside(other: Container, kind: str, provider: Container) -> bool:
    """By inode: it joined what the provider made, however it wrote that."""
    theirs, ours = other.namespaces[kind], provider.namespaces.get(kind)
    return (
        ours is not None and bool(ours.inode) and theirs.inode == ours.inode and not ours.initial
        and theirs.mode.startswith("path:") and not ours.mode.startswith(_REFERENCES)
    )  # fmt: skip
