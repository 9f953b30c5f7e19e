"""A tar into the root directory of this process, which ``confined`` has made the image's: no name leads out of it.

So absolute names and links, ".." and links swapped for directories all stay inside; names with ".." are refused all the
same, because no honest tar has them. Device files are left out: a sandbox gets its own /dev. Set-user-id bits stay.
Ids beyond 65535 become nobody's. Sources: tar(5), OCI Image Layer Filesystem Changeset ("whiteouts").
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Callable
from typing import Any

from ...errors import InvalidInput, KernelRefused
from .. import file_tree
from . import attributes
from .reading import PIECE, Plain
from .task import Budget

NOBODY = 65534
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_HINT = "Pack it anew, for example with: tar -C ROOT --numeric-owner -cf image.tar ."


class Unpacker:
    """Several layers in turn."""

    def __init__(self, budget: Budget, told: Callable[[str], None]) -> None:
        self._budget, self._told = budget, told
        self._layer: set[str] = set()  # names that the layer under way has brought
        self._devices = self._attributes = 0

    @property
    def left_out(self) -> dict[str, str]:
        """How many device files and extended attributes were not made."""
        return {"devices": str(self._devices), "attributes": str(self._attributes)}

    def unpack(self, plain: Plain, *, whiteouts: bool) -> None:
        """Raises InvalidInput for what is no tar, is cut short, or is not safe; TooLarge past the budget."""
        self._layer = set()
        archive = tarfile.TarFile(
            fileobj=io.BytesIO(bytes(1024)), mode="r", encoding="utf-8"
        )  # for its settings; the members are read below
        archive.fileobj, archive.offset = plain, 0  # type: ignore[assignment]
        while (member := self._next(archive, plain)) is not None:
            self._budget.spend(entries=1)
            name = safe_name(member.name)
            try:
                if whiteouts and name.rpartition("/")[2].startswith(_WHITEOUT):
                    self._erase(name)
                else:
                    self._place(member, name, plain, remember=whiteouts)
            except OSError as error:
                raise _refused(error, name) from None
            self._told(name)
        plain.drain()

    def _next(self, archive: tarfile.TarFile, plain: Plain) -> tarfile.TarInfo | None:
        try:
            plain.seek(archive.offset)
            return tarfile.TarInfo.fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return None
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            raise InvalidInput("The tar is cut short.", code="cut_short", hint="Send it again.") from None
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"That is no tar: {error}.", code="invalid_tar", hint=_HINT) from None

    def _place(self, member: tarfile.TarInfo, name: str, plain: Plain, *, remember: bool) -> None:
        path = f"/{name}"
        if member.ischr() or member.isblk():
            self._devices += 1
            return None
        if name:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            if remember:
                self._layer.add(name)
        if member.isdir():
            self._directory(path)
        elif not name:
            raise InvalidInput("The tar has a file in place of the root directory.", code="invalid_tar", hint=_HINT)
        elif member.isreg():
            return self._file(member, path, plain)
        elif member.issym():
            file_tree.remove(path)
            os.symlink(member.linkname, path)
        elif member.islnk():
            target = f"/{safe_name(member.linkname)}"
            if target != path:
                file_tree.remove(path)
                os.link(target, path, follow_symlinks=False)
            return None
        elif member.isfifo():
            file_tree.remove(path)
            os.mkfifo(path)
        else:
            raise InvalidInput(f"{name} is of a kind that no image has.", code="invalid_tar", hint=_HINT)
        os.chown(path, _inside(member.uid), _inside(member.gid), follow_symlinks=False)
        if not member.issym():
            os.chmod(path, stat.S_IMODE(member.mode))
        if member.isdir():
            self._attributes += attributes.restore(path, member.pax_headers)
        return None

    @staticmethod
    def _directory(path: str) -> None:
        if path != "/" and not stat.S_ISDIR(_mode(path)):
            file_tree.remove(path)
            os.mkdir(path, 0o700)

    def _file(self, member: tarfile.TarInfo, path: str, plain: Plain) -> None:
        """Whole, or with holes, which count as if they were full."""
        holes: Any = member.sparse  # of an extension, not of tar itself: where its pieces go
        pieces: list[tuple[int, int]] = holes if member.issparse() else [(0, member.size)]
        self._budget.spend(size=max(0, member.size - sum(size for _, size in pieces)))
        file_tree.remove(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            for offset, size in pieces:
                if not 0 <= offset <= offset + size <= member.size:
                    raise InvalidInput(f"{member.name[:200]} has a hole beyond its end.", code="invalid_tar", hint=_HINT)
                os.lseek(descriptor, offset, os.SEEK_SET)
                _copy(plain, descriptor, size)
            os.ftruncate(descriptor, member.size)
            os.fchown(descriptor, _inside(member.uid), _inside(member.gid))
            os.fchmod(descriptor, stat.S_IMODE(member.mode))  # after chown, which takes set-user-id away, and capabilities
            self._attributes += attributes.restore(descriptor, member.pax_headers)
            with contextlib.suppress(OverflowError, ValueError):
                os.utime(descriptor, (member.mtime, member.mtime))
        finally:
            os.close(descriptor)

    def _erase(self, name: str) -> None:
        """A whiteout: what lies below it goes; an opaque one empties a directory of what lower layers brought."""
        directory, _, word = name.rpartition("/")
        if word != _OPAQUE:
            file_tree.remove(f"/{directory}/{word.removeprefix(_WHITEOUT)}" if word != _WHITEOUT else "/nothing")
            return
        for entry in os.listdir(f"/{directory}") if os.path.isdir(f"/{directory}") else []:
            inside = f"{directory}/{entry}".strip("/")
            if inside not in self._layer and not any(known.startswith(f"{inside}/") for known in self._layer):
                file_tree.remove(f"/{inside}")


def safe_name(name: str) -> str:
    """Relative to the root; "" is the root itself. Raises InvalidInput for a name with ".."."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise InvalidInput(f"The tar has an unsafe name: {ascii(name)[:200]}.", code="unsafe_tar", hint=_HINT)
    return "/".join(parts)


def _inside(number: int) -> int:
    return number if 0 <= number <= 65535 else NOBODY


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _copy(plain: Plain, descriptor: int, size: int) -> None:
    while size:
        data = plain.read(min(PIECE, size))
        if not data:
            raise InvalidInput("The tar is cut short.", code="cut_short", hint="Send it again.")
        size -= len(data)
        while data:
            data = data[os.write(descriptor, data) :]


def _refused(error: OSError, name: str) -> InvalidInput | KernelRefused:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return KernelRefused("The disk is full.", hint="Make room on the disk that holds the data directory.")
    return InvalidInput(f"{ascii(name)[:200]} can't be unpacked: {error.strerror}.", code="invalid_tar", hint=_HINT)
