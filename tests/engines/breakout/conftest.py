"""Ways to get hostile code and hostile images into a sandbox: C, compiled statically, in an image that the test lays out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from containers_app.engines.base import ExecResult, LogQuery
from containers_app.engines.raw import RawEngine

from ..conftest import Home, spec, until

BUSYBOX = Path("/bin/busybox")
PRELUDE = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#define say(name, result) printf("%s %s\\n", name, (result) >= 0 ? "done" : strerrorname_np(errno))
"""

Compile = Callable[[str], Path]
Files = Mapping[str, "bytes | Path | str"]
WAYS = ("program", "exec", "terminal")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """A C program's body, behind the prelude, to a static program; each once a session."""
    assert shutil.which("gcc"), "gcc is not installed; on Debian: apt-get install gcc libc6-dev"
    place = tmp_path_factory.mktemp("programs")

    def compile(code: str) -> Path:
        program = place / hashlib.sha256(code.encode()).hexdigest()[:16]
        if not program.exists():
            command = ["gcc", "-static", "-O1", "-w", "-pthread", "-x", "c", "-", "-o", str(program)]
            done = subprocess.run(command, input=PRELUDE + code, text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
        return program

    return compile


def write_image(home: Home, name: str, files: Files, command: tuple[str, ...] = ("sleep", "infinity")) -> str:
    """An image of busybox with more files: bytes or a Path (a program), or a str (what a symbolic link says).

    Whatever is named here replaces the plain directory of that name, so that an image can have its /proc be a link.
    """
    root = home.data / "images" / name / "rootfs"
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    links: dict[str, bytes | Path | str] = {f"bin/{applet}": "/bin/busybox" for applet in applets if applet != "busybox"}
    everything = {**links, "bin/busybox": BUSYBOX, **files}
    for plain in ("bin", "dev", "etc", "mnt", "proc", "root", "sys", "tmp", "usr", "var"):
        if plain not in everything:
            (root / plain).mkdir(parents=True, exist_ok=True)
    for path, content in everything.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            place.symlink_to(content)
        else:
            place.write_bytes(content.read_bytes() if isinstance(content, Path) else content)
    for directory, names, plain_files in os.walk(root):
        os.chmod(directory, 0o755)
        for entry in plain_files + names:
            if not os.path.islink(f"{directory}/{entry}"):
                os.chmod(f"{directory}/{entry}", 0o755)
    facts = {
        "name": name,
        "source": "test",
        "digest": "sha256:" + name,
        "created_at": 1.0,
        "size": 1,
        "command": command,
        "env": {},
    }
    (root.parent / "image.json").write_text(json.dumps(facts))
    return name


Inside = Callable[..., Awaitable[ExecResult]]


@pytest.fixture
def inside(home: Home, raw: RawEngine, compiled: Compile) -> Inside:
    """Runs the body of a C program within a new default sandbox, as root inside; more fields go into its spec."""

    async def run(code: str, *words: str, **fields: object) -> ExecResult:
        image = write_image(home, f"hostile-{len(os.listdir(home.data / 'images'))}", {"probe": compiled(code)})
        box = await raw.create(spec(image, image=image, **fields), "")
        return await raw.execute(box.id, ("/probe", *words), 20)

    return run


async def in_each_way(raw: RawEngine, image: str, *argv: str) -> dict[str, str]:
    """The output of a program as a sandbox's first process, as one that is run in it, and in a terminal, by WAYS."""
    first = await raw.create(spec(f"first-{image}", image=image, command=list(argv)), "")
    await until(lambda: raw.get(first.id).state == "exited")
    box = await raw.create(spec(f"box-{image}", image=image), "")
    terminal = await raw.open_terminal(box.id, argv, 24, 200)
    executed = await raw.execute(box.id, argv, 20)
    return {
        "program": (await raw.logs(first.id, LogQuery(1000))).text,
        "exec": executed.stdout + executed.stderr,
        "terminal": (await asyncio.to_thread(read_all, terminal.fd)).replace("\r\n", "\n"),
    }


def read_all(fd: int) -> str:
    """What comes out of a terminal until its last program is gone; closes it."""
    text = b""
    try:
        while data := os.read(fd, 65536):
            text += data
    except OSError:  # EIO: nobody has the other end
        pass
    os.close(fd)
    return text.decode(errors="replace")
