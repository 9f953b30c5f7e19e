"""``manage.py image import|list|remove|export``: the image services from the command line."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from containers_app import image_services
from containers_app.errors import Conflict
from containers_app.management import tars
from containers_app.management.job_waiting import PAUSE, finish
from containers_app.management.service_command import Handler, Options, ServiceCommand
from containers_app.spec import is_upload, parse_import
from containers_app.visitors import Visitor
from containers_app.worker.protocol import MAX_PIECE, Job

_ARGUMENT = {
    "tar": "path", "oci": "path", "directory": "path", "debootstrap": "suite", "docker-image": "reference",
    "docker-container": "container", "registry": "reference",
}  # fmt: skip


class Command(ServiceCommand):
    help = "Imports, lists, removes and exports images, as the panel does."

    def add_actions(self, actions: Any) -> None:
        actions.add_parser("list", help="list images")
        adding = actions.add_parser("import", help="make an image")
        adding.add_argument("name")
        adding.add_argument("kind", choices=(*_ARGUMENT, "programs"))
        adding.add_argument("source", nargs="+", help="path, suite, reference, container or programs; '-' reads standard input")
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
            self.stdout.write(f"{image['engine']:8}{image['size'] or 0:>14}  {image['name']}")
        return 0

    async def _import(self, visitor: Visitor, options: Options) -> int:
        words, kind = options["source"], options["kind"]
        value: object = words if kind == "programs" else words[0]
        source = {"type": kind} if words == ["-"] else {"type": kind, _ARGUMENT.get(kind, "programs"): value}
        spec = parse_import({"name": options["name"], "source": source})
        job = await image_services.import_image(visitor, spec)
        if is_upload(spec.source):
            await self._send(visitor, job)
        job = await finish(visitor, job, self.stderr.write)
        self.stdout.write(f"{spec.name} {job.message}".strip())
        return 0

    async def _send(self, visitor: Visitor, job: Job) -> None:
        """Standard input, piece by piece."""
        offset = 0
        while data := await asyncio.to_thread(sys.stdin.buffer.read, MAX_PIECE):
            await self._piece(visitor, job, offset, data)
            offset += len(data)
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
