"""What the import program is told, what it tells, and its bounds. The worker starts it, one process for each task."""

from __future__ import annotations

import os
import sys
import time

import msgspec

from ...errors import TerrariumError, TooLarge
from ...spec import ImageSource


class Bounds(msgspec.Struct, frozen=True):
    """``size`` in bytes, of all that is unpacked; ``entries`` are files, directories and links."""

    size: int
    entries: int


class Registries(msgspec.Struct, frozen=True):
    """Hosts (with a port where it is not the usual one) that may be asked, and those of them that speak plain http."""

    allowed: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()


class Defaults(msgspec.Struct, frozen=True):
    """What a sandbox of the image gets unless it is told otherwise. ``user`` may be names."""

    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str = "/"
    user: str = "0:0"


class View(msgspec.Struct, frozen=True):
    """A sandbox's files: an image below its own layer, whose ids are shifted by ``uid_base``."""

    image: str
    upper: str
    uid_base: int


class Import(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """``stream`` says that the bytes come on standard input."""

    images_dir: str
    scratch: str  # an empty directory of our own in images_dir
    name: str
    source: ImageSource
    bounds: Bounds
    registries: Registries = Registries()
    owner: str = ""
    stream: bool = False
    defaults: Defaults = Defaults()


class Commit(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    images_dir: str
    scratch: str
    name: str
    sandbox: str
    owner: str
    view: View
    bounds: Bounds
    defaults: Defaults


class CopyLayer(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A clone's own layer: ``source`` into ``target``, each with its shift of ids."""

    scratch: str
    source: str
    source_base: int
    target: str
    target_base: int


class Export(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A tar on descriptor ``output``: of a plain root (``view.upper`` ""), or of a sandbox's files."""

    scratch: str
    view: View
    output: int


Task = Import | Commit | CopyLayer | Export


class Layer(msgspec.Struct, frozen=True):
    """One layer of an image that is fetched. ``phase``: waiting, downloading, extracting, done. ``total`` None: not known yet."""

    id: str
    phase: str
    done: int  # bytes
    total: int | None


class Progress(msgspec.Struct, frozen=True, tag=True):
    phase: str
    done: int = 0  # bytes
    total: int = 0  # 0: not known
    layers: tuple[Layer, ...] = ()


class Done(msgspec.Struct, frozen=True, tag=True):
    message: str = ""


class Failed(msgspec.Struct, frozen=True, tag=True):
    code: str
    message: str
    hint: str


Report = Progress | Done | Failed

_encode = msgspec.json.Encoder().encode
INTERVAL = 0.2  # seconds between reports of progress within a phase


class Reporter:
    """Lines of JSON on standard output."""

    def __init__(self) -> None:
        self._phase, self._said = "", 0.0

    def progress(self, phase: str, done: int = 0, total: int = 0) -> None:
        now = time.monotonic()
        if phase != self._phase or now - self._said >= INTERVAL:
            self._phase, self._said = phase, now
            self.say(Progress(phase, done, total))

    def say(self, report: Report) -> None:
        """SystemExit when nobody listens any more: the worker has died, and so do we."""
        data = _encode(report) + b"\n"
        try:
            while data:
                data = data[os.write(1, data) :]
        except BrokenPipeError:
            sys.exit(1)


class Budget:
    """What may still be written. ``spend`` raises TooLarge before it is exceeded."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds, self.size, self.entries = bounds, 0, 0

    def spend(self, size: int = 0, entries: int = 0) -> None:
        self.size += size
        self.entries += entries
        if self.size > self._bounds.size:
            raise TooLarge(
                f"The image is larger than the {self._bounds.size >> 20} MiB that this host allows.",
                code="image_too_large",
                hint="Ask root to raise limits.image_size in policy.toml.",
            )
        if self.entries > self._bounds.entries:
            raise TooLarge(
                f"The image has more than the {self._bounds.entries} files that this host allows.",
                code="image_too_large",
                hint="Ask root to raise limits.image_entries in policy.toml.",
            )


def failed(error: TerrariumError) -> Failed:
    return Failed(error.code, error.message, error.hint)
