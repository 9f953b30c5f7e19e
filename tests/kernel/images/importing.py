"""The import program as the worker starts it, and tars as friends and enemies write them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from containers_app.kernel.images.task import Bounds, Done, Failed, Import, Progress, Registries, Report
from containers_app.spec import ImageSource, TarSource

ROOT = Path(__file__).parents[3]
ROOMY = Bounds(size=1 << 30, entries=100_000)


@dataclass
class Outcome:
    reports: list[Any]

    @property
    def last(self) -> Any:
        return self.reports[-1]

    @property
    def code(self) -> str:
        assert isinstance(self.last, Failed), self.last
        assert self.last.message.endswith("."), self.last
        return self.last.code

    @property
    def phases(self) -> list[str]:
        return list(dict.fromkeys(report.phase for report in self.reports if isinstance(report, Progress)))


def start(images: Path, name: str, source: ImageSource, *, stream: Any = None, **fields: Any) -> subprocess.Popen[bytes]:
    scratch = images / f".job-{name}"
    scratch.mkdir()
    task = Import(
        images_dir=str(images), scratch=str(scratch), name=name, source=source, stream=stream is not None,
        **{"bounds": ROOMY, "registries": Registries(), **fields},
    )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "containers_app.kernel.images", msgspec.json.encode(task).decode(), str(os.getpid())],
        stdin=stream if stream is not None else subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip


def run(images: Path, name: str, source: ImageSource, *, stream: Any = None, **fields: Any) -> Outcome:
    """To its end; the scratch directory is removed as the worker does it."""
    with start(images, name, source, stream=stream, **fields) as process:
        out, _ = process.communicate(timeout=300)
    shutil.rmtree(images / f".job-{name}")
    return Outcome([msgspec.json.decode(line, type=Report) for line in out.splitlines()])


def run_tar(images: Path, name: str, data: bytes, **fields: Any) -> Outcome:
    file = images / f".{name}.tar"
    file.write_bytes(data)
    try:
        with file.open("rb") as stream:
            return run(images, name, TarSource(), stream=stream, **fields)
    finally:
        file.unlink()


def imported(images: Path, name: str, data: bytes, **fields: Any) -> Path:
    """The root file system; it must succeed."""
    outcome = run_tar(images, name, data, **fields)
    assert isinstance(outcome.last, Done), outcome.last
    return images / name / "rootfs"


class Tar:
    """A tar under construction; every field of every member is the caller's."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, content: bytes = b"", **fields: Any) -> Tar:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o644
        for field, value in fields.items():
            setattr(member, field, value)
        self._tar.addfile(member, io.BytesIO(content))
        return self

    def directory(self, name: str, mode: int = 0o755) -> Tar:
        return self.add(name, type=tarfile.DIRTYPE, mode=mode)

    def symlink(self, name: str, target: str) -> Tar:
        return self.add(name, type=tarfile.SYMTYPE, linkname=target)

    def link(self, name: str, target: str) -> Tar:
        return self.add(name, type=tarfile.LNKTYPE, linkname=target)

    def done(self) -> bytes:
        self._tar.close()
        return self._file.getvalue()
