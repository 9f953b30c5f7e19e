"""Images as layers: an OCI layout or what ``docker save`` writes, in a directory or a tar. Digests are checked.

Sources: OCI Image Format Specification (image-layout, index, manifest, config), Docker Image Specification v1.2.
"""

from __future__ import annotations

import hashlib
import os
import platform
import posixpath
import stat
import tarfile
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ...errors import InvalidInput, Unsupported
from .. import syscalls as sc
from .task import Defaults

MOST_LAYERS = 512
MOST_JSON = 8 << 20  # bytes of an index, manifest or config
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x",
                  "riscv64": "riscv64"}  # fmt: skip
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_HINT = "Write it anew, for example with docker save."


@dataclass(frozen=True)
class Blob:
    """Some bytes of an open file, at its offset; ``digest`` "" where nothing says what they must be.

    An OCI manifest has the digest of the packed bytes, Docker's configuration that of the plain ones.
    """

    descriptor: int
    length: int
    digest: str
    of_plain: bool = False


@dataclass(frozen=True)
class Layers:
    blobs: list[Blob]  # lowest first
    defaults: Defaults
    digest: str


class Files(Protocol):
    def open(self, name: str) -> tuple[int, int]: ...


class Directory:
    """Regular files below a directory; no link leads out of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def open(self, name: str) -> tuple[int, int]:
        """(descriptor at its begin, length). Raises FileNotFoundError."""
        resolve = sc.RESOLVE_BENEATH | sc.RESOLVE_NO_SYMLINKS
        descriptor = sc.openat2(self._descriptor, name, os.O_RDONLY | os.O_NONBLOCK, resolve=resolve)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            os.close(descriptor)
            raise InvalidInput(f"{name} is no file.", code="invalid_layout", hint=_HINT)
        return descriptor, facts.st_size


class Archive:
    """The same from a plain tar, in place. ``docker save`` writes equal layers as links to one."""

    def __init__(self, path: str, most: int) -> None:
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        links: dict[str, str] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    name = posixpath.normpath(member.name.lstrip("/"))
                    if member.isreg() and not member.issparse():
                        self._places[name] = (member.offset_data, member.size)
                    elif member.issym():
                        links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
                    archive.members = []  # type: ignore[attr-defined]  # what was read is not kept
                    if len(self._places) + len(links) > most:
                        raise InvalidInput("It has too many files.", code="invalid_layout", hint=_HINT)
        except (tarfile.TarError, ValueError, RecursionError, MemoryError) as error:
            raise InvalidInput(f"That is no tar of an image: {error}.", code="invalid_tar", hint=_HINT) from None
        for name, target in links.items():
            if target in self._places:
                self._places[name] = self._places[target]

    def open(self, name: str) -> tuple[int, int]:
        offset, length = self._places.get(posixpath.normpath(name), (-1, 0))
        if offset < 0:
            raise FileNotFoundError(2, "not there", name)
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(descriptor, offset, os.SEEK_SET)
        return descriptor, length


def read_layers(files: Files) -> Layers:
    """Raises InvalidInput for what is no image of this machine's architecture, whole and as its digests say."""
    try:
        return _docker(files) if _has(files, "manifest.json") else _oci(files)
    except FileNotFoundError as error:
        raise InvalidInput(
            f"The image has no {error.filename}.", code="invalid_layout", hint="It must be an OCI layout or a docker save."
        ) from None
    except OSError as error:
        raise InvalidInput(f"The image can't be read: {error.strerror}.", code="invalid_layout", hint=_HINT) from None
    except (KeyError, TypeError, IndexError, AttributeError):
        raise InvalidInput("The image's description is not right.", code="invalid_layout", hint=_HINT) from None


def architecture() -> str:
    """This machine's, in Go's words, as images have it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def choose(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Of an index: the one for Linux on this architecture."""
    for one in manifests:
        wanted = one.get("platform") or {}
        if wanted.get("os", "linux") == "linux" and wanted.get("architecture", architecture()) == architecture():
            return one
    raise Unsupported(f"The image is not made for {architecture()}.", hint="Choose another one.")


def is_index(document: dict[str, Any]) -> bool:
    return document.get("mediaType") in _INDEXES or ("manifests" in document and "layers" not in document)


def defaults(config: dict[str, Any]) -> Defaults:
    """From an image's (or Docker container's) configuration."""
    inner = config.get("config") or {}
    words = [*(inner.get("Entrypoint") or ()), *(inner.get("Cmd") or ())]
    pairs = (str(pair).partition("=") for pair in inner.get("Env") or ())
    return Defaults(
        command=tuple(map(str, words)),
        env={name: value for name, _, value in pairs if name},
        cwd=str(inner.get("WorkingDir") or "/"),
        user=str(inner.get("User") or "0:0"),
    )


def blob_path(digest: str) -> str:
    """Where a layout has it. Raises InvalidInput for what is no sha256 digest."""
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise InvalidInput(f"{ascii(digest)[:80]} is not a sha256 digest.", code="invalid_layout", hint=_HINT)
    return f"blobs/sha256/{value}"


def _oci(files: Files) -> Layers:
    entry = {"digest": ""}
    document = _json(files, "index.json")
    for _ in range(3):  # an index of indexes is as deep as it gets
        if not is_index(document):
            break
        entry = choose(document["manifests"])
        document = _json(files, blob_path(entry["digest"]), entry["digest"])
    config = _json(files, blob_path(document["config"]["digest"]), document["config"]["digest"])
    blobs = [_blob(files, blob_path(layer["digest"]), layer["digest"]) for layer in _bounded(document["layers"])]
    return Layers(blobs, defaults(config), entry["digest"])


def _docker(files: Files) -> Layers:
    manifest = _json(files, "manifest.json")[0]
    config = _json(files, manifest["Config"])
    if config.get("architecture", architecture()) != architecture():
        raise Unsupported(f"The image is made for {config['architecture']}.", hint="Choose another one.")
    known = [str(one) for one in (config.get("rootfs") or {}).get("diff_ids") or ()]
    names = _bounded(manifest["Layers"])
    if known and len(known) != len(names):
        raise InvalidInput("The image lacks layers.", code="invalid_layout", hint=_HINT)
    digests = known or [""] * len(names)
    blobs = [_blob(files, name, digest, of_plain=True) for name, digest in zip(names, digests, strict=True)]
    return Layers(blobs, defaults(config), "sha256:" + hashlib.sha256(msgspec.json.encode(config)).hexdigest())


def _bounded(layers: list[Any]) -> list[Any]:
    if len(layers) > MOST_LAYERS:
        raise InvalidInput(f"The image has more than {MOST_LAYERS} layers.", code="invalid_layout", hint=_HINT)
    return layers


def _has(files: Files, name: str) -> bool:
    try:
        os.close(files.open(name)[0])
    except FileNotFoundError:
        return False
    return True


def _blob(files: Files, name: str, digest: str, *, of_plain: bool = False) -> Blob:
    descriptor, length = files.open(name)
    return Blob(descriptor, length, digest, of_plain)


def _json(files: Files, name: str, digest: str = "") -> Any:
    descriptor, length = files.open(name)
    with open(descriptor, "rb") as file:
        if length > MOST_JSON:
            raise InvalidInput(f"{name} is too long.", code="invalid_layout", hint=_HINT)
        data = file.read(length)
    if digest and "sha256:" + hashlib.sha256(data).hexdigest() != digest:
        raise InvalidInput(f"{name} is not what its digest says.", code="wrong_digest", hint="Fetch it again.")
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(f"{name} is no JSON.", code="invalid_layout", hint=_HINT) from None
