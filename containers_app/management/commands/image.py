"""``manage.py image import|list|remove|export``: the image services from the command line."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from containers_app import accounts, image_services, mirror
from containers_app.errors import Conflict, TerrariumError
from containers_app.spec import is_upload, parse_import
from containers_app.visitors import Visitor
from containers_app.worker.protocol import MAX_PIECE, Job

PAUSE = 0.2  # seconds between looks at a job
_ARGUMENT = {
    "tar": "path", "oci": "path", "directory": "path", "debootstrap": "suite", "docker-image": "reference",
    "docker-container": "container", "registry": "reference",
}  # fmt: skip


class Command(BaseCommand):
    help = "Imports, lists, removes and exports images, as the panel does."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--as", dest="username", default="", metavar="USER", help="act as this user")
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        actions.add_parser("list", help="list images")
        adding = actions.add_parser("import", help="make an image")
        adding.add_argument("name")
        adding.add_argument("kind", choices=(*_ARGUMENT, "programs"))
        adding.add_argument("source", nargs="+", help="path, suite, reference, container or programs; '-' reads standard input")
        actions.add_parser("remove", help="remove an image").add_argument("name")
        actions.add_parser("export", help="write its files to standard output, as a tar").add_argument("name")

    def handle(self, *args: Any, action: str, username: str, **options: Any) -> None:
        try:
            asyncio.run(self._run(action, username, options))
        except (TerrariumError, LookupError) as error:
            raise CommandError(f"{error.args[0]} {getattr(error, 'hint', '')}".strip()) from None

    async def _run(self, action: str, username: str, options: dict[str, Any]) -> None:
        visitor = await accounts.operator(username)
        try:
            await getattr(self, f"_{action}")(visitor, options)
        finally:
            known = mirror.current()
            known.close()
            known.client.close()

    async def _list(self, visitor: Visitor, options: dict[str, Any]) -> None:
        for image in await image_services.list_images(visitor):
            self.stdout.write(f"{image['engine']:8}{image['size'] or 0:>14}  {image['name']}")

    async def _import(self, visitor: Visitor, options: dict[str, Any]) -> None:
        words, kind = options["source"], options["kind"]
        value: object = words if kind == "programs" else words[0]
        source = {"type": kind} if words == ["-"] else {"type": kind, _ARGUMENT.get(kind, "programs"): value}
        spec = parse_import({"name": options["name"], "source": source})
        job = await image_services.import_image(visitor, spec)
        if is_upload(spec.source):
            await self._send(visitor, job)
        phase = ""
        while job.state == "running":
            await asyncio.sleep(PAUSE)
            job = await image_services.get_job(visitor, job.id)
            if job.phase != phase:
                phase = job.phase
                self.stderr.write(phase)
        if job.state != "done":
            raise CommandError(f"{job.message} {job.hint}".strip())
        self.stdout.write(f"{spec.name} {job.message}".strip())

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

    async def _remove(self, visitor: Visitor, options: dict[str, Any]) -> None:
        await image_services.remove_image(visitor, options["name"])

    async def _export(self, visitor: Visitor, options: dict[str, Any]) -> None:
        """The caller's own files are out of reach: this process has the root of the web process."""
        if sys.stdout.isatty():
            raise CommandError("A tar is nothing for a terminal. Send it to a file: image export NAME > FILE")
        descriptor = await image_services.export_image(visitor, options["name"])
        try:
            while data := await asyncio.to_thread(os.read, descriptor, 1 << 20):
                await asyncio.to_thread(sys.stdout.buffer.write, data)
        finally:
            os.close(descriptor)
            sys.stdout.flush()
