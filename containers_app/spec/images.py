"""What an image is made from: the words of ``POST /api/v1/images``, typed and checked."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ..errors import InvalidInput
from ..units import shown

IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,126}", re.ASCII)
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,254}", re.ASCII)
_WORD = re.compile(r"[a-z0-9][a-z0-9+.-]{0,62}", re.ASCII)
_MIRROR = re.compile(r"https?://[A-Za-z0-9.:-]{1,253}(?:/[A-Za-z0-9._~/-]{0,500})?", re.ASCII)
MOST_PROGRAMS = 256


class Source(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True): ...


class TarSource(Source, frozen=True, tag="tar"):
    """A root file system, packed plain or by gzip, bzip2, xz or zstd. ``path`` "" says that it will be uploaded."""

    path: str = ""


class OciSource(Source, frozen=True, tag="oci"):
    """An OCI layout, as a directory or a tar, or what ``docker save`` writes. ``path`` "" says that it will be uploaded."""

    path: str = ""


class DirectorySource(Source, frozen=True, tag="directory"):
    path: str


class ProgramsSource(Source, frozen=True, tag="programs"):
    """Programs of the host by name or path, with the libraries that they load."""

    programs: tuple[str, ...]


class DebootstrapSource(Source, frozen=True, tag="debootstrap"):
    """Debian or a relative of it. ``mirror`` "" takes the host's own; it must be one of the host's."""

    suite: str
    mirror: str = ""
    packages: tuple[str, ...] = ()  # beside those that every system has


class DockerImageSource(Source, frozen=True, tag="docker-image"):
    reference: str


class DockerContainerSource(Source, frozen=True, tag="docker-container"):
    """Its files as they are now; id or name."""

    container: str


class RegistrySource(Source, frozen=True, tag="registry"):
    """``[host[:port]/]name[:tag|@sha256:…]``; docker.io where no host is named."""

    reference: str


class PullSource(Source, frozen=True, tag="pull"):
    """By the engine itself, from the registry that the image's name says; Docker only."""


ImageSource = (
    TarSource | OciSource | DirectorySource | ProgramsSource | DebootstrapSource | DockerImageSource | DockerContainerSource
    | RegistrySource | PullSource
)  # fmt: skip


class ImportSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    source: ImageSource
    engine: str = "raw"  # Docker takes pull, tar and oci


def is_upload(source: ImageSource) -> bool:
    return isinstance(source, (TarSource, OciSource)) and not source.path


def check_image_name(name: str) -> None:
    if not IMAGE_NAME.fullmatch(name):
        raise InvalidInput(
            f"{shown(name)} is not the name of a sandbox image.",
            code="invalid_image",
            hint="Use letters, digits, '-', '_', '.' or ':', beginning with a letter or digit.",
        )


def check_source_paths(spec: ImportSpec) -> None:
    path = getattr(spec.source, "path", "")
    if not path and not isinstance(spec.source, DirectorySource):
        return
    if not path.startswith("/") or "\x00" in path or len(path) > 4000 or ".." in path.split("/"):
        raise InvalidInput(f"{shown(path)} is not an absolute path.", code="invalid_source", hint="For example /srv/roots/a.")


def check_programs(spec: ImportSpec) -> None:
    if not isinstance(spec.source, ProgramsSource):
        return
    words = spec.source.programs
    if not 1 <= len(words) <= MOST_PROGRAMS:
        raise InvalidInput(f"Name 1 to {MOST_PROGRAMS} programs.", code="invalid_source", hint='For example ["bash", "/bin/ls"].')
    for word in words:
        if not word.strip("/") or "\x00" in word or len(word) > 4000 or ".." in word.split("/"):
            raise InvalidInput(f"{shown(word)} is not a program.", code="invalid_source", hint='For example "bash" or "/bin/ls".')


def check_debootstrap(spec: ImportSpec) -> None:
    if not isinstance(spec.source, DebootstrapSource):
        return
    for word in (spec.source.suite, *spec.source.packages):
        if not _WORD.fullmatch(word):
            raise InvalidInput(f"{shown(word)} is not a suite or package.", code="invalid_source", hint="For example bookworm.")
    if spec.source.mirror and not _MIRROR.fullmatch(spec.source.mirror):
        raise InvalidInput(f"{shown(spec.source.mirror)} is not a mirror.", code="invalid_source", hint="Leave it out.")


def check_references(spec: ImportSpec) -> None:
    for field in ("reference", "container"):
        word = getattr(spec.source, field, None)
        if word is not None and not _REFERENCE.fullmatch(word):
            raise InvalidInput(f"{shown(word)} is no {field}.", code="invalid_source", hint="For example busybox:latest.")


def check_import_name(spec: ImportSpec) -> None:
    if spec.engine == "raw":
        check_image_name(spec.name)
    elif not _REFERENCE.fullmatch(spec.name) or ".." in spec.name:
        raise InvalidInput(f"{shown(spec.name)} is not an image name.", code="invalid_image", hint="For example busybox:latest.")


def check_import_engine(spec: ImportSpec) -> None:
    """Which engines there are only the worker knows."""
    if spec.engine == "raw" and isinstance(spec.source, PullSource):
        raise InvalidInput("Raw images are not pulled.", code="invalid_source", hint='Use {"type": "registry"}.')
    if spec.engine != "raw" and not isinstance(spec.source, (PullSource, TarSource, OciSource)):
        raise InvalidInput("Docker does not take that source.", code="invalid_source", hint="It takes pull, tar and oci.")


IMPORT_CHECKS: tuple[Callable[[ImportSpec], None], ...] = (
    check_import_name, check_import_engine, check_source_paths, check_programs, check_debootstrap, check_references,
)  # fmt: skip


def parse_import(raw: object) -> ImportSpec:
    """The body of ``POST /api/v1/images`` → a checked description, or InvalidInput."""
    try:
        spec = msgspec.convert(raw, ImportSpec)
    except msgspec.ValidationError as error:
        text = str(error)
        raise InvalidInput(
            text[:1].upper() + text[1:300].rstrip(".") + ".", hint='For example {"name": "a", "source": {"type": "tar"}}.'
        ) from None
    for check in IMPORT_CHECKS:
        check(spec)
    return spec
