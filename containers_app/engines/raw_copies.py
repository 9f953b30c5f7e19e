"""Copies of a sandbox's files: another sandbox (clone), an image (commit), a tar (export). Meanwhile it stands still."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import msgspec

from ..errors import Conflict
from ..kernel.images.task import View
from ..spec import ContainerSpec
from . import raw_view
from .base import Archive
from .image_process import Told
from .raw_images import RawImages
from .raw_making import Maker, make_etc
from .raw_run import Sandbox, disk_refused
from .raw_store import Record, Store

MOST_EXPORTS = 8  # at once: each is a process, for as long as its reader likes

_Work = Coroutine[Any, Any, None]


class Copies:
    """``under_way`` are clones whose files are being copied. ``spawn`` runs a task for its caller."""

    def __init__(
        self, find: Callable[[str], Sandbox], store: Store, maker: Maker, images_of: RawImages, spawn: Callable[[_Work], None]
    ) -> None:
        self._find, self._store, self._maker, self._images_of, self._spawn = find, store, maker, images_of, spawn
        self.under_way: list[Record] = []
        self._exports = 0

    async def clone(self, source_id: str, name: str, new_record: Callable[[ContainerSpec], Record], told: Told) -> Sandbox:
        """A sandbox that never ran, with a copy of another's files."""
        source = self._find(source_id)
        with copying(source):
            record = new_record(msgspec.structs.replace(source.record.spec, name=name, hostname=""))
            self.under_way.append(record)
            try:
                self._store.make(record)
                self._store.make_layer(record)
                await self._images_of.copy_layer(source.record, record, told)
                make_etc(record, self._store.home(record.id))
                self._maker.write_etc(record)
                self._store.save(record)
            except BaseException as error:
                await asyncio.shield(asyncio.to_thread(self._store.remove, record.id))
                if isinstance(error, OSError):
                    raise disk_refused(error) from None
                raise
            finally:
                self.under_way.remove(record)
        return Sandbox(record)

    async def commit(self, sandbox_id: str, image: str, owner: str, told: Told) -> str:
        """Its files as a new image."""
        sandbox = self._find(sandbox_id)
        with copying(sandbox):
            return await self._images_of.commit(sandbox.record, image, owner, told)

    def export(self, sandbox_id: str) -> Archive:
        """Of its files as its root sees them."""
        sandbox = self._find(sandbox_id)
        check_still(sandbox)
        return self._archive(self._images_of.view_of(sandbox.record))

    def export_image(self, name: str) -> Archive:
        return self._archive(self._images_of.view_of_image(name))

    def _archive(self, view: View) -> Archive:
        if self._exports >= MOST_EXPORTS:
            raise Conflict(f"{MOST_EXPORTS} exports are under way.", code="too_many", hint="Wait for one to end.")
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._exports += 1
        self._spawn(self._export(view, writing))
        return Archive(reading)

    async def _export(self, view: View, writing: int) -> None:
        try:
            await self._images_of.export(view, writing)
        finally:
            self._exports -= 1


def check_still(sandbox: Sandbox) -> None:
    """What is copied must not change meanwhile."""
    if raw_view.state(sandbox.record) == "running":
        raise Conflict(f"{sandbox.record.spec.name} is running.", hint="Stop or pause it first, so that its files stand still.")


def check_free(sandbox: Sandbox) -> None:
    """For what would change its files or end it."""
    if sandbox.copies:
        raise Conflict(f"{sandbox.record.spec.name} is being copied.", code="being_copied", hint="Wait, or cancel the job.")


@contextlib.contextmanager
def copying(sandbox: Sandbox) -> Iterator[None]:
    """As long as it is copied, it is neither started nor removed."""
    check_still(sandbox)
    sandbox.copies += 1
    try:
        yield
    finally:
        sandbox.copies -= 1
