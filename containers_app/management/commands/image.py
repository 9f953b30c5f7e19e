"""``manage.py image import|list|remove|export``: the image services from the command line."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from typing import Any

from django.core.management.base import CommandError

from containers_app import image_services
from containers_app.errors import Conflict
from containers_app.management import tars
from containers_app.management.job_waiting import PAUSE, called_off_with_us, finish
from containers_app.management.service_command import Handler, Options, ServiceCommand, printable
from containers_app.spec import is_upload, parse_import
from containers_app.visitors import Visitor
from containers_app.worker.protocol import MAX_PIECE, Job

_ARGUMENT = {
    "tar": "path", "oci": "path", "directory": "path", "docker-image": "reference", "docker-container": "container",
    "registry": "reference",
}  # fmt: skip


class Command(ServiceCommand):
    help = "Imports, lists, removes and exports images, as the panel does."

    def add_actions(self, actions: Any) -> None:
        actions.add_parser("list", help="list images")
        adding = actions.add_parser("import", help="make an image")
        adding.add_argument("name")
        adding.add_argument("kind", choices=(*_ARGUMENT, "debootstrap", "programs"))
        adding.add_argument(
            "source", nargs="+", help="path, reference, container, programs, or a suite and packages; '-' reads standard input"
        )
        adding.add_argument("--mirror", default="", metavar="URL", help="of debootstrap, one of the host's")
        actions.add_parser("remove", help="remove an image").add_argument("name")
        actions.add_parser("export", help="write its files to standard output, as a tar").add_argument("name")

    def handlers(self) -> dict[str, Handler]:
        return {"list": self._list, "import": self._import, "remove": self._remove, "export": self._export}

    async def _list(self, visitor: Visitor, options: Options) -> int:
        images = await image_services.list_images(visitor)
        if options["json"]:
            self.print_json({"items": images, "next": None})
            return 0
        for image in images:
            self.stdout.write(printable(f"{image['engine']:8}{image['size'] or 0:>14}  {image['name']}"))
        return 0

    async def _import(self, visitor: Visitor, options: Options) -> int:
        spec = parse_import({"name": options["name"], "source": _source(options)})
        job = await image_services.import_image(visitor, spec)
        async with called_off_with_us(visitor, job):
            if is_upload(spec.source):
                await self._send(visitor, job)
            job = await finish(visitor, job, self.stderr.write)
        self.stdout.write(printable(f"{spec.name} {job.message}".strip()))
        return 0

    async def _send(self, visitor: Visitor, job: Job) -> None:
        """Standard input, piece by piece."""
        offset, data = 0, await _read()
        while data:
            await self._piece(visitor, job, offset, data)
            offset += len(data)
            data = await _read()
        await self._piece(visitor, job, offset, b"")

    async def _piece(self, visitor: Visitor, job: Job, offset: int, data: bytes) -> None:
        """The empty one is the last."""
        while True:
            try:
                await image_services.feed_job(visitor, job.id, offset, data, not data)
                return
            except Conflict as error:
                if error.code != "waiting":
                    raise
            await asyncio.sleep(PAUSE)

    async def _remove(self, visitor: Visitor, options: Options) -> int:
        await image_services.remove_image(visitor, options["name"])
        return 0

    async def _export(self, visitor: Visitor, options: Options) -> int:
        tars.refuse_terminal()
        await tars.write(await image_services.export_image(visitor, options["name"]))
        return 0


def _source(options: Options) -> dict[str, Any]:
    """The words behind the kind → the source that ``POST /api/v1/images`` would have."""
    kind, words = options["kind"], options["source"]
    source: dict[str, Any] = {"type": kind}
    if options["mirror"]:
        if kind != "debootstrap":
            raise CommandError("--mirror is for debootstrap.")
        source["mirror"] = options["mirror"]
    if kind == "programs":
        return source | {"programs": words}
    if kind == "debootstrap":
        return source | {"suite": words[0], "packages": words[1:]}
    if len(words) > 1:
        raise CommandError(f"An image of this kind comes from one place: {words[1]} is too much.")
    return source if words == ["-"] else source | {_ARGUMENT[kind]: words[0]}


async def _read() -> bytes:
    """A piece of standard input, b"" at its end. Never waits for long where Ctrl-C would have to wait too."""
    descriptor = sys.stdin.fileno()
    while not (await asyncio.to_thread(select.select, [descriptor], [], [], PAUSE))[0]:
        pass
    return os.read(descriptor, MAX_PIECE)
