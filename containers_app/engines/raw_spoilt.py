"""Sandboxes whose record can't be read, at this moment or by this version: all that they have stays as it is.

They are listed under their ids, for names and owners stood in the record, with the state "unknown" and the reason. What runs runs
on. Nothing can be done to them but to remove them, and nothing that may be theirs is given away: their user ids count as used,
and so does every image. The next start of the worker reads the records again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Mapping

from ..errors import Conflict
from ..kernel.cgroups import Cgroups
from ..spec import NAMESPACE_TYPES, ContainerSpec
from .base import Container, NamespaceView
from .groups import PREFIX
from .raw_store import Record, Store

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
HINT = "The next start of the worker reads it again. Until then what runs runs on, and all that can be done is to remove it."


class Spoilt:
    """``release`` ends what runs in control groups and removes them."""

    def __init__(self, node: str, store: Store, cgroups: Cgroups, release: Callable[[dict[str, str]], None]) -> None:
        self._node, self._store, self._cgroups, self._release = node, store, cgroups, release
        self._containers: dict[str, Container] = {}
        self._records: dict[str, Record] = {}

    def open(self, spoilt: Mapping[str, str], groups: Collection[str]) -> set[str]:
        """``spoilt``: id → why its record can't be read. Returns the names of those of the control ``groups`` that are theirs."""
        theirs: set[str] = set()
        for sandbox, why in spoilt.items():
            log.warning("sandbox %s: %s; its files and what runs stay. %s", sandbox, why, HINT)
            found = next((name for name in groups if os.path.basename(name) == sandbox), "")
            above = os.path.basename(os.path.dirname(found))
            made, uid_base = self._store.layer_facts(sandbox)
            unread = ContainerSpec(name=sandbox, image="")
            self._records[sandbox] = Record(
                id=sandbox, node=self._node, spec=unread, owner="", created_at=made, uid_base=uid_base
            )
            self._containers[sandbox] = Container(
                id=sandbox, node=self._node, engine="raw", name=sandbox, state="unknown", image=UNKNOWN, reason=why,
                created_at=made, namespaces={kind: NamespaceView(0, UNKNOWN) for kind in NAMESPACE_TYPES},
                cgroups=self._cgroups.find(found) if found else {},
                group=above.removeprefix(PREFIX) if above.startswith(PREFIX) else "",
            )  # fmt: skip
            theirs.add(found)
        return theirs

    def all(self) -> list[Container]:
        return list(self._containers.values())

    def get(self, sandbox: str) -> Container | None:
        return self._containers.get(sandbox)

    def records(self) -> list[Record]:
        """What is known of them, in a shape in which it can be held against others'. Never to be saved."""
        return list(self._records.values())

    def refuse(self, sandbox: str) -> None:
        """Conflict, if it is one of these."""
        if (found := self._containers.get(sandbox)) is not None:
            raise Conflict(f"What the sandbox {sandbox} is can't be told: {found.reason}.", hint=HINT, code="sandbox_spoilt")

    async def remove(self, sandbox: str, force: bool) -> None:
        paths = self._containers[sandbox].cgroups
        if self._cgroups.pids(paths) and not force:
            hint = f"Remove it by force: deploy/manage sandbox remove --force {sandbox}."
            raise Conflict(f"Something runs in the sandbox {sandbox}, whose record can't be read.", hint=hint)
        if paths:
            await asyncio.to_thread(self._release, paths)
        await asyncio.to_thread(self._store.remove, sandbox)
        self._containers.pop(sandbox, None)
        self._records.pop(sandbox, None)
