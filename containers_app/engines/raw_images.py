"""The raw engine's images: what is made, listed and removed, and sandboxes' files as images, clones and archives.

Every copy is a task of the import program (image_process.py). It works in ``images/.job-…``, which is removed with whatever
became of it, here or at the next start; what it makes appears by one rename, or, for a clone, by its record.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from ..errors import Conflict
from ..kernel import file_tree, host_image, images
from ..kernel.images.task import Bounds, Commit, CopyLayer, Defaults, Export, Import, View
from ..spec import ImportSpec
from .image_process import Told, run_task
from .policy import Policy
from .policy_checks import registries
from .raw_store import Record

_SHOWN = ("name", "source", "digest", "created_at", "size", "command", "env", "cwd", "user", "owner")
OWN = ("busybox", host_image.HOST_IMAGE)  # made anew at each start


class RawImages:
    """``records`` are those of all sandboxes; ``home`` is a sandbox's directory."""

    def __init__(
        self, directory: str, policy: Policy, records: Callable[[], Iterable[Record]], home: Callable[[str], str]
    ) -> None:
        self._directory, self._policy, self._records, self._home = directory, policy, records, home
        self._bounds = Bounds(policy.limits.image_bytes, policy.limits.image_entries)

    def open(self, busybox: str, *, busybox_in_use: bool) -> None:
        """The panel's own images. ``busybox`` is fetched by deploy/up where the machine's own is not static."""
        images.remove_scratch(self._directory)
        program = busybox if os.path.exists(busybox) else images.BUSYBOX
        images.ensure_busybox(self._directory, in_use=busybox_in_use, busybox=program)
        if self._policy.allow.host_image:
            host_image.ensure_host_image(self._directory)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def rows(self) -> list[dict[str, Any]]:
        return [self._row(image) for image in await asyncio.to_thread(images.list_images, self._directory)]

    def get(self, name: str) -> dict[str, Any]:
        return self._row(images.used_image(self._directory, name))

    def _row(self, image: images.Image) -> dict[str, Any]:
        row = {field: getattr(image, field) for field in _SHOWN}
        return row | {"engine": "raw", "in_use_by": self._users(image.name)}

    def _users(self, name: str) -> list[str]:
        """Those whose image is not known ("", raw_spoilt.py) too: it may be any."""
        return sorted(record.spec.name for record in self._records() if record.spec.image in (name, ""))

    # ── making and removing ──────────────────────────────────────────────────────────────────────────────────────────

    def check_free(self, name: str) -> None:
        if name in OWN or os.path.exists(f"{self._directory}/{images.check_name(name)}"):
            raise Conflict(f"There is an image “{name}” already.", hint="Choose another name.", code="name_taken")

    async def import_image(
        self, spec: ImportSpec, owner: str, told: Told, *, stream: int = -1, defaults: Defaults | None = None
    ) -> str:
        """``stream`` is where the bytes of an upload or of Docker come from."""
        self.check_free(spec.name)
        async with self._scratch() as scratch:
            task = Import(
                images_dir=self._directory, scratch=scratch, name=spec.name, source=spec.source, bounds=self._bounds,
                registries=registries(self._policy), owner=owner, stream=stream >= 0, defaults=defaults or Defaults(),
            )  # fmt: skip
            return await run_task(task, told, stream=stream)

    async def remove(self, name: str) -> None:
        """Conflict, with their names, while sandboxes use it."""
        images.used_image(self._directory, name)
        if name in OWN:
            raise Conflict(f"The image {name} is the panel's own.", hint="Import another one beside it.")
        if users := self._users(name):
            shown = ", ".join(users[:10]) + (f" and {len(users) - 10} more" if len(users) > 10 else "")
            raise Conflict(f"The image {name} is used by {shown}.", code="image_in_use", hint="Remove them first.")
        await asyncio.to_thread(file_tree.clear_away, images.hide_image(self._directory, name))

    async def commit(self, record: Record, name: str, owner: str, told: Told) -> str:
        self.check_free(name)
        spec, image = record.spec, images.used_image(self._directory, record.spec.image)
        defaults = Defaults(command=spec.command, env=image.env | spec.env, cwd=spec.cwd, user=spec.user)
        async with self._scratch() as scratch:
            task = Commit(
                images_dir=self._directory, scratch=scratch, name=name, sandbox=spec.name, owner=owner, view=self.view_of(record),
                bounds=self._bounds, defaults=defaults,
            )  # fmt: skip
            return await run_task(task, told)

    async def copy_layer(self, source: Record, target: Record, told: Told) -> str:
        async with self._scratch() as scratch:
            task = CopyLayer(
                scratch=scratch, source=f"{self._home(source.id)}/upper", source_base=source.uid_base,
                target=f"{self._home(target.id)}/upper", target_base=target.uid_base,
            )  # fmt: skip
            return await run_task(task, told)

    # ── archives ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def view_of_image(self, name: str) -> View:
        return View(images.used_image(self._directory, name).rootfs, "", 0)

    async def export(self, view: View, output: int) -> None:
        """A tar into ``output``, which is closed; ends early when nobody reads it any more."""
        try:
            async with self._scratch() as scratch:
                await run_task(Export(scratch=scratch, view=view, output=output), lambda _: None, output=output)
        finally:
            os.close(output)

    def view_of(self, record: Record) -> View:
        image = images.used_image(self._directory, record.spec.image)
        return View(image.rootfs, f"{self._home(record.id)}/upper", record.uid_base)

    @contextlib.asynccontextmanager
    async def _scratch(self) -> AsyncIterator[str]:
        """Removed to the end, also when the caller is cancelled meanwhile."""
        scratch = f"{self._directory}/.job-{secrets.token_hex(8)}"
        os.mkdir(scratch, 0o700)
        try:
            yield scratch
        finally:
            await asyncio.shield(asyncio.to_thread(file_tree.clear_away, scratch))
