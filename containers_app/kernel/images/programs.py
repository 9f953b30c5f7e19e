"""Chosen programs of the host and the libraries that they load, as ldd(1) lists them, found without running anything.

Sources: elf(5), ld.so(8): DT_NEEDED of each, looked for in DT_RUNPATH or DT_RPATH, then where ld.so.conf says.
"""

from __future__ import annotations

import glob
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import InvalidInput, NotFound, PolicyRefused
from .busybox import FILES
from .store import write_file
from .task import Budget

_SEARCHED = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
_TOPS = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/")
_DEFAULT_LIBRARIES = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
MOST_FILE = 1 << 30  # bytes
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29


@dataclass(frozen=True)
class Elf:
    """What a program asks for. ``paths`` are DT_RUNPATH's or DT_RPATH's, with $ORIGIN in them."""

    machine: int
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    paths: tuple[str, ...] = field(default=())


def find(program: str) -> str:
    """Its path: as it is written when absolute, else where a shell would find it. Raises NotFound."""
    if "/" in program and not program.startswith("/"):
        raise InvalidInput(f"{program} is not an absolute path.", code="invalid_source", hint="Write bash, or /bin/bash.")
    for path in [program] if program.startswith("/") else [f"{directory}/{program}" for directory in _SEARCHED]:
        if os.path.isfile(path):
            return path
    raise NotFound(f"This host has no program {program}.", hint="Install it first, or write its whole path.")


def closure(programs: tuple[str, ...]) -> list[str]:
    """Paths of the programs and of all that they load, each once, in the order found."""
    found: dict[str, None] = {}
    todo = [find(program) for program in programs]
    while todo:
        path = todo.pop(0)
        if path in found:
            continue
        found[path] = None
        data = _read(path)
        if data.startswith(b"#!"):
            todo += [find(word) for word in data[2:256].split(b"\n")[0].decode(errors="replace").split()[:1]]
        elif data.startswith(b"\x7fELF"):
            elf = parse(data, path)
            todo += [elf.interpreter] if elf.interpreter else []
            todo += [_library(name, elf, path) for name in elf.needed]
    return list(found)


def copy(paths: list[str], root: str, budget: Budget) -> None:
    """Into an empty root, with the host's own links such as /bin, a user root, and a /bin/sh where there is any shell."""
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink(f"/{name}") and not os.readlink(f"/{name}").startswith("/"):
            os.makedirs(f"{root}/{os.readlink(f'/{name}')}", mode=0o755, exist_ok=True)
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
    for path in paths:
        target = Path(root, path.lstrip("/"))
        if target.exists():
            continue  # by its other name
        data = _read(path)
        budget.spend(len(data), 1)
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_file(target, data, 0o755)
    os.makedirs(f"{root}/etc", mode=0o755, exist_ok=True)
    for name in ("etc/passwd", "etc/group", "etc/nsswitch.conf"):
        write_file(Path(root, name), FILES[name].encode(), 0o644)
    shell = next((path for path in paths if os.path.basename(path) in ("sh", "bash", "dash")), "")
    if shell and not os.path.exists(f"{root}/bin/sh"):
        os.makedirs(f"{root}/bin", mode=0o755, exist_ok=True)
        os.symlink(shell, f"{root}/bin/sh")


def _read(path: str) -> bytes:
    """Of the system's own directories only, and only what everybody may read."""
    real = os.path.realpath(path)
    if not path.startswith(_TOPS) or not real.startswith(_TOPS):
        raise PolicyRefused(f"{path} is not in /usr, /bin or /sbin.", hint="Only the system's programs are taken.")
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or not facts.st_mode & 0o004 or facts.st_size > MOST_FILE:
            raise PolicyRefused(f"{path} is not a file that everybody may read.", hint="Leave it out.")
        return file.read()


def parse(data: bytes, path: str) -> Elf:
    """Of a 64-bit little-endian file; raises InvalidInput for another or a broken one."""
    try:
        if data[4] != 2 or data[5] != 1:
            raise InvalidInput(f"{path} is not a 64-bit program.", code="invalid_source", hint="Leave it out.")
        (machine,) = struct.unpack_from("<H", data, 18)
        start, size, count = struct.unpack_from("<Q14xHH", data, 32)
        rows = [struct.unpack_from("<II6Q", data, start + size * row) for row in range(count)]
        loads = [(row[3], row[2], row[5]) for row in rows if row[0] == _PT_LOAD]  # address, offset, size in the file
        interpreter, entries = "", []
        for kind, _, offset, _, _, length, _, _ in rows:
            if kind == _PT_INTERP:
                interpreter = data[offset : offset + length].rstrip(b"\0").decode()
            elif kind == _PT_DYNAMIC:
                entries = list(struct.iter_unpack("<QQ", data[offset : offset + length // 16 * 16]))
        table = next((value for tag, value in entries if tag == _DT_STRTAB), 0)
        strings = next((table - address + offset for address, offset, length in loads if address <= table < address + length), 0)
        words = {tag: [_word(data, strings + value) for kind, value in entries if kind == tag]
                 for tag in (_DT_NEEDED, _DT_RUNPATH, _DT_RPATH)}  # fmt: skip
    except (struct.error, IndexError, ValueError):
        raise InvalidInput(f"{path} is a broken program.", code="invalid_source", hint="Install it anew.") from None
    paths = ":".join(words[_DT_RUNPATH] or words[_DT_RPATH])
    return Elf(machine, interpreter, tuple(words[_DT_NEEDED]), tuple(filter(None, paths.split(":"))))


def _word(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def _library(name: str, elf: Elf, user: str) -> str:
    """Where ld.so finds it: of the same machine, or it is looked for further."""
    origin = os.path.dirname(os.path.realpath(user))
    own = [path.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for path in elf.paths]
    for directory in [] if "/" in name else [*own, *_configured("/etc/ld.so.conf"), *_DEFAULT_LIBRARIES]:
        path = os.path.normpath(f"{directory}/{name}")
        if os.path.isfile(path) and path.startswith(_TOPS):
            with open(path, "rb") as file:
                head = file.read(20)
            if head[:5] == b"\x7fELF\x02" and struct.unpack_from("<H", head, 18)[0] == elf.machine:
                return path
    raise NotFound(f"{user} needs {name}, which this host lacks.", hint="Install the library, or leave the program out.")


def _configured(path: str, depth: int = 4) -> Iterator[str]:
    """The directories of ld.so.conf and what it includes."""
    try:
        with open(path) as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].split()
        if words[:1] == ["include"] and depth:
            for pattern in words[1:]:
                for included in sorted(glob.glob(os.path.join(os.path.dirname(path), pattern))):
                    yield from _configured(included, depth - 1)
        elif words and words[0].startswith("/"):
            yield words[0]
