"""CVE-2019-5736 and kin: while the launcher stands in a sandbox, nobody there can write to its program or look into it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.base import LogQuery
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine

from ..conftest import Home, spec, until
from .conftest import Compile, write_image

# Looks at every other process as fast as it can, until /enough is there. A process is the launcher when its name is Python's.
WATCH = """
int main(void) {
    static const char *parts[] = {"mem", "environ", "maps", "fd", "root", "cwd", "exe", "ns/mnt", "map_files", "auxv", "stack"};
    long seen = 0, opened = 0, written = 0;
    puts("watching"); fflush(stdout);
    while (access("/enough", F_OK)) {
        DIR *all = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(all));) {
            int pid = atoi(entry->d_name);
            if (pid < 2) continue;
            char path[300], name[64] = {0}, target[300] = {0};
            snprintf(path, sizeof path, "/proc/%d/comm", pid);
            int file = open(path, O_RDONLY);
            if (file < 0 || read(file, name, 63) < 0) { close(file); continue; }
            close(file);
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            int python = !strncmp(name, "python", 6);
            if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "python")) python = 2;
            if (!python) continue;
            seen++;
            for (int part = 0; python == 1 && access("/second", F_OK) && part < sizeof parts / sizeof *parts; part++) {
                snprintf(path, sizeof path, "/proc/%d/%s", pid, parts[part]);
                int found = open(path, O_RDONLY | O_NONBLOCK);
                char byte;
                /* it may have become the program meanwhile, whose own files these are then */
                if (found >= 0 && readlink(path, target, sizeof target - 1) > 0 && strstr(target, "python")) opened++;
                close(found);
            }
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            int held = open(path, O_PATH);
            if (held < 0) continue;
            if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "python"))
            {
                snprintf(path, sizeof path, "/proc/self/fd/%d", held);
                if (!access(path, W_OK)) written++;  /* opening it would wait until nobody runs it, which an attacker can */
            }
            close(held);
        }
        closedir(all);
    }
    printf("seen %ld opened %ld written %ld\\n", seen, opened, written);
}
"""


# The kernel starts this as the hostile image's dynamic linker, in the launcher's own program: it only has to stay a while.
LINKER = """
void _start(void) {
    struct { long seconds, nanoseconds; } pause = {0, 50000000};
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(35), "D"(&pause), "S"(0) : "rcx", "r11", "memory");
    __asm__ volatile("syscall" : "=a"(result) : "a"(231), "D"(0) : "rcx", "r11", "memory");
    __builtin_unreachable();
}
"""


def interpreter(program: str) -> str:
    """The dynamic linker that a program asks for."""
    out = subprocess.run(["readelf", "-l", os.path.realpath(program)], capture_output=True, text=True, check=True).stdout
    return out.partition("program interpreter: ")[2].partition("]")[0]


def build(code: str, place: Path, *options: str) -> Path:
    command = ["gcc", "-O1", *options, "-x", "c", "-", "-o", str(place)]
    subprocess.run(command, input=code, text=True, check=True)
    return place


@pytest.mark.parametrize("user", ["private", "host"])
async def test_the_launchers_program_can_not_be_written_nor_its_memory_read(home: Home, compiled: Compile, user: str) -> None:
    """Also where root inside is root outside. The hostile image's programs are links to whoever runs them, and scripts for it."""
    linker = build(LINKER, home.run / "linker", "-nostdlib", "-static-pie", "-fPIE")
    files = {"watch": compiled(WATCH), "self": "/proc/self/exe", "script": b"#!/proc/self/exe\n"}
    files[f"{'/'.join(interpreter(sys.executable).split('/')[1:])}"] = linker
    image = write_image(home, "itself", files)
    engine = home.engine(Allow(no_user_namespace=True))
    await engine.open(home.changes.append)
    try:
        fields = {"image": image, "namespaces": {"user": user}, "limits": {"cpu": 1, "pids": 100}}
        box = await engine.create(spec(command=["/watch"], **fields), "")
        for _ in range(15):
            await engine.execute(box.id, ("/bin/true",), 20)
            terminal = await engine.open_terminal(box.id, ("/bin/true",), 24, 80)
            os.close(terminal.fd)
        await engine.execute(box.id, ("touch", "/second"), 10)
        for _ in range(15):
            for program in ("/self", "/script"):
                await engine.execute(box.id, (program,), 20)
        await engine.execute(box.id, ("touch", "/enough"), 10)
        await until(lambda: engine.get(box.id).state == "exited")
        words = (await engine.logs(box.id, LogQuery(5))).text.split()
        found = dict(zip(words[1::2], words[2::2], strict=True))
        assert int(found["seen"]) > 0, "the launcher was never met: this test proves nothing"
        assert (found["opened"], found["written"]) == ("0", "0"), found
    finally:
        for container in engine.all():
            await engine.remove(container.id, force=True)
        await engine.close()


HOSTILE_LIBRARY = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) { close(open("/loaded", O_CREAT | O_WRONLY, 0666)); }
"""


async def test_the_launcher_loads_nothing_from_the_sandboxes_files(home: Home, raw: RawEngine) -> None:
    """CVE-2019-14271: name service, C library, preload list and Python's own modules, all hostile; on the ways that fail too."""
    library = build(HOSTILE_LIBRARY, home.run / "hostile.so", "-shared", "-fPIC")
    module = b"open('/loaded', 'w').close()\n"
    places = [sysconfig.get_path("stdlib").lstrip("/"), "usr/lib/python3", "usr/lib/python311.zip"]
    names = (
        "encodings/__init__.py",
        "encodings/idna.py",
        "traceback.py",
        "linecache.py",
        "codecs.py",
        "pwd.py",
        "ctypes/__init__.py",
    )
    files: dict[str, object] = {f"{place}/{name}": module for place in places for name in names}
    for directory in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "usr/lib"):
        for name in (
            "libnss_files.so.2",
            "libnss_dns.so.2",
            "libnss_compat.so.2",
            "libc.so.6",
            "libgcc_s.so.1",
            "libpthread.so.0",
        ):
            files[f"{directory}/{name}"] = library
    files |= {"hostile.so": library, "etc/ld.so.preload": b"/hostile.so\n", "etc/nsswitch.conf": b"passwd: files\ngroup: files\n"}
    image = write_image(home, "libraries", files)  # type: ignore[arg-type]
    box = await raw.create(spec(image=image), "")
    await raw.execute(box.id, ("true",), 10)
    os.close((await raw.open_terminal(box.id, ("true",), 24, 80)).fd)
    for argv in (("/nowhere",), ("/etc",), ("/etc/nsswitch.conf",), ("nowhere",)):
        with pytest.raises(errors.KernelRefused):
            await raw.execute(box.id, argv, 10)
        with pytest.raises(errors.KernelRefused):
            await raw.open_terminal(box.id, argv, 24, 80)
    with pytest.raises(errors.KernelRefused):
        await raw.create(spec("fails", image=image, command=["/nowhere"]), "")
    assert not list((home.data / "sandboxes").glob("*/upper/loaded"))
    proof = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", f"import ctypes; ctypes.CDLL({str(library)!r})"], check=False
    )
    assert proof.returncode == 0 and os.path.exists("/loaded"), "the hostile library does nothing: this test proves nothing"
    os.unlink("/loaded")
