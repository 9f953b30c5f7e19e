"""The images of a Docker daemon: list, pull, import, load, tag, remove, prune.

What takes long is an async generator of its progress; closing it (cancelling whoever iterates) closes the connection, and the
daemon stops and keeps nothing half made. Source: Docker Engine API 1.41, "Image".
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, BinaryIO
from urllib.parse import urlencode

import msgspec

from ..errors import InvalidInput, KernelRefused, NotFound
from ..kernel.images.task import Layer
from .docker_client import DockerClient, Upload
from .docker_lines import lines
from .docker_words import Prunable

REGISTRY_SECONDS = 120.0  # until a registry's first word; the daemon itself tries again within
UNPACK_SECONDS = 600.0  # until the daemon has unpacked an archive
PRUNE_SECONDS = 300.0
STEP_SECONDS = 0.2  # between two words on how far an upload is
MOST_SAID = 10  # ids and names that a load may tell


class Progress(msgspec.Struct, frozen=True):
    """How far something is: ``done`` of ``total`` bytes, None while not known. ``detail`` is what came of it, at the end."""

    phase: str  # asking | downloading | extracting | sending | unpacking | done
    done: int = 0
    total: int | None = None
    layers: tuple[Layer, ...] = ()
    detail: str = ""


class DockerImages:
    def __init__(self, client: DockerClient, must_be_up: Callable[[], None]) -> None:
        self._client, self._must_be_up = client, must_be_up

    async def all(self) -> list[dict[str, Any]]:
        """One item per tag; untagged ones are left out."""
        found = await self._client.call(lambda sdk: sdk.images())
        return [
            {"name": _short(str(tag)), "size": image.get("Size"), "created_at": image.get("Created")}
            for image in found
            for tag in image.get("RepoTags") or ()
            if tag not in _NONE
        ]

    async def pull(self, name: str) -> AsyncGenerator[Progress, None]:
        """From the registry that ``name`` names. NotFound, KernelRefused in the daemon's words."""
        self._must_be_up()
        repository, tag = split(name)
        query = urlencode({"fromImage": repository, "tag": tag})
        layers: dict[str, Layer] = {}
        yield Progress("asking")
        stream = await self._client.stream("POST", f"/images/create?{query}", patience=REGISTRY_SECONDS)
        said = ""
        try:
            async with aclosing(lines(stream, self._client.product)) as found:
                async for line in found:
                    message = _read(line, self._client.product)
                    said = str(message.get("status") or said)
                    if layer := _layer(message, layers):
                        layers[layer.id] = layer
                        yield _of_layers(layers)
        finally:
            stream.close()
        total = _of_layers(layers).total or 0
        done = tuple(msgspec.structs.replace(layer, phase="done") for layer in layers.values())  # Podman does not say it of each
        yield Progress("done", total, total, done, said)

    async def import_tar(self, file: BinaryIO, name: str) -> AsyncGenerator[Progress, None]:
        """A root file system, packed plain or by gzip, bzip2 or xz, becomes an image of one layer, as `docker import`."""
        repository, tag = split(name)
        query = urlencode({"fromSrc": "-", "repo": repository, "tag": tag})
        async for progress in self._send(f"/images/create?{query}", file):
            yield progress

    async def load_tar(self, file: BinaryIO) -> AsyncGenerator[Progress, None]:
        """What `docker save` writes; ``detail`` of the last progress names the images."""
        async for progress in self._send("/images/load?quiet=1", file):
            yield progress

    async def _send(self, path: str, file: BinaryIO) -> AsyncGenerator[Progress, None]:
        self._must_be_up()
        size = os.fstat(file.fileno()).st_size - file.tell()
        upload, said = Upload(file, size), []
        sending = asyncio.create_task(self._client.stream("POST", path, upload=upload, patience=UNPACK_SECONDS))
        try:
            while not sending.done():
                yield Progress("sending" if upload.sent < size else "unpacking", upload.sent, size)
                await asyncio.wait({sending}, timeout=STEP_SECONDS)
            async with aclosing(lines(await sending, self._client.product)) as found:
                async for line in found:
                    message = _read(line, self._client.product)
                    said.append(str(message.get("status") or message.get("stream") or "").strip())
        finally:
            sending.cancel()
            for stream in await asyncio.gather(sending, return_exceptions=True):
                if isinstance(stream, socket.socket):
                    stream.close()
        yield Progress("done", size, size, (), ", ".join(said[-MOST_SAID:]))

    async def tag(self, name: str, new: str) -> None:
        self._must_be_up()
        repository, tag = split(new)
        await self._client.call(lambda sdk: sdk.tag(name, repository, tag))

    async def remove(self, name: str, force: bool) -> None:
        """Conflict while a container uses it. ``force`` takes all its tags, though not from under one that runs."""
        self._must_be_up()
        await self._client.call(lambda sdk: sdk.remove_image(name, force=force), PRUNE_SECONDS)

    async def prune(self, preview: bool) -> Prunable:
        """Images without a name that no container uses: what an import or a build of the same name leaves behind."""
        self._must_be_up()
        used = await self._client.call(lambda sdk: sdk.df(), PRUNE_SECONDS)
        found = [one for one in used.get("Images") or () if not _tags(one) and not one.get("Containers")]
        ids = {_full(str(one.get("Id"))) for one in found}
        if preview:
            alone = sum(int(one.get("Size") or 0) - max(0, int(one.get("SharedSize") or 0)) for one in found)
            return Prunable(sorted(ids), alone)
        done = await self._client.call(lambda sdk: sdk.prune_images({"dangling": True}), PRUNE_SECONDS)
        # it tells of their layers too
        gone = {_full(str(one["Deleted"])) for one in done.get("ImagesDeleted") or () if one.get("Deleted")}
        return Prunable(sorted(gone & ids), int(done.get("SpaceReclaimed") or 0))


_NONE = ("<none>:<none>", "<none>")  # Docker's word and Podman's


def split(name: str) -> tuple[str, str]:
    """A reference → (repository, tag or digest); "latest" when it has none: without one Docker would pull every tag."""
    repository, at, digest = name.partition("@")
    if at:
        return repository, digest
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return head + slash + last, tag or "latest"


def _short(tag: str) -> str:
    return tag.removesuffix(":latest")


def _full(image_id: str) -> str:
    """Podman leaves the kind of hash out in some answers."""
    return image_id if ":" in image_id else f"sha256:{image_id}"


def _tags(image: dict[str, Any]) -> list[str]:
    return [tag for tag in image.get("RepoTags") or () if tag not in _NONE]


def _read(line: bytes, product: str) -> dict[str, Any]:
    """One line of progress. Raises what the daemon says went wrong."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(message, dict):
        return {}
    if words := str(message.get("error") or ""):
        lower = words.lower()
        if "not found" in lower or "manifest unknown" in lower or "does not exist" in lower:
            raise NotFound(f"{product}: {words[:500].rstrip('.')}.", hint="Look at the name, its tag and the registry.")
        if "archive/tar" in lower or "unexpected eof" in lower or "invalid tar" in lower:
            raise InvalidInput(f"{product}: {words[:500].rstrip('.')}.", hint="It must be a tar archive, whole.")
        raise KernelRefused(f"{product}: {words[:500].rstrip('.')}.", hint="Look at the registry, the network and the disk.")
    return message


_PHASES = {
    "Pulling fs layer": "waiting", "Waiting": "waiting", "Downloading": "downloading", "Verifying Checksum": "downloading",
    "Download complete": "extracting", "Extracting": "extracting", "Pull complete": "done", "Already exists": "done",
}  # fmt: skip


def _layer(message: dict[str, Any], known: dict[str, Layer]) -> Layer | None:
    """The layer that a message tells of, as it is after it. Sizes are of the packed layer, so both steps count the same bytes."""
    phase = _PHASES.get(str(message.get("status")))
    if phase is None or not message.get("id"):
        return None
    before = known.get(str(message["id"]), Layer(str(message["id"]), phase, 0, None))
    detail = message.get("progressDetail") or {}
    total = int(detail.get("total") or 0) or before.total
    if phase == "downloading" and detail.get("current"):
        done = int(detail["current"])
    else:
        done = before.done if phase in ("waiting", "downloading") else total or 0
    return Layer(before.id, phase, done, 0 if message["status"] == "Already exists" else total)


def _of_layers(layers: dict[str, Layer]) -> Progress:
    found = tuple(layers.values())
    phases = {layer.phase for layer in found}
    phase = "downloading" if phases & {"waiting", "downloading"} else "extracting"
    totals = [layer.total for layer in found if layer.total is not None]
    return Progress(phase, sum(layer.done for layer in found), sum(totals) if len(totals) == len(found) else None, found)
