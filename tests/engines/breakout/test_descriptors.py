"""CVE-2024-21626: no descriptor and no working directory of the host reaches a program, nor a path through one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.raw import RawEngine

from ..conftest import Home, spec, until
from .conftest import WAYS, Compile, in_each_way, write_image

LIST_WHAT_IS_OPEN = """
int main(void) {
    char path[64], target[4096];
    for (int fd = 0; fd < 4096; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length >= 0) { target[length] = 0; printf("fd %d %s\\n", fd, target); }
    }
    for (char **name = (char *[]){"cwd", "root", 0}; *name; name++) {
        snprintf(path, sizeof path, "/proc/self/%s", *name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = 0;
        printf("%s %s\\n", *name, target);
    }
}
"""


async def test_program_exec_and_terminal_have_their_three_streams_and_nothing_else(
    home: Home, raw: RawEngine, compiled: Compile
) -> None:
    image = write_image(home, "lister", {"probe": compiled(LIST_WHAT_IS_OPEN)})
    seen = await in_each_way(raw, image, "/probe")
    for way in WAYS:
        lines = seen[way].splitlines()
        assert [line.split()[1] for line in lines if line.startswith("fd ")] == ["0", "1", "2"], (way, lines)
        assert lines[-2:] == ["cwd /", "root /"], (way, lines)
    assert "keeper" not in str(seen) and "socket" not in str(seen)


@pytest.mark.parametrize("link", [None, "/proc/self/fd/%d", "/proc/thread-self/fd/%d", "/proc/self/cwd/proc/self/fd/%d"])
async def test_a_working_directory_that_is_a_descriptor_of_the_launcher_is_refused(
    home: Home, raw: RawEngine, link: str | None
) -> None:
    """As it was done to runc: WORKDIR /proc/self/fd/N, where N is a directory of the host, such as a cgroup's."""
    image = write_image(home, "door", {f"door{fd}": (link or "%d") % fd for fd in range(3, 32)})
    for fd in range(3, 32):
        cwd = f"/door{fd}" if link else f"/proc/self/fd/{fd}"
        with pytest.raises(errors.KernelRefused):
            await raw.create(spec(f"door-{fd}", image=image, cwd=cwd), "")


async def test_a_working_directory_that_becomes_a_descriptor_later_is_refused_to_exec_and_terminal(
    home: Home, raw: RawEngine
) -> None:
    """The hostile program swaps the directory that exec enters."""
    loop = "until [ -e /next ]; do :; done; rm -rf /work /next; ln -s /proc/self/fd/$n /work; n=$((n+1))"
    swap = f"cd /; n=3; while [ $n -lt 32 ]; do {loop}; done; sleep 1000"
    box = await raw.create(spec(image="busybox", cwd="/work", command=["sh", "-c", swap], start=False), "")
    upper = home.data / "sandboxes" / box.id / "upper"
    (upper / "work").mkdir(mode=0o755)
    (upper / "work").chmod(0o755)
    await raw.start(box.id)
    root = Path(f"/proc/{raw.get(box.id).pid}/root")
    for fd in range(3, 32):
        (root / "next").touch()
        await until(lambda fd=fd: link_of(root / "work") == f"/proc/self/fd/{fd}")
        with pytest.raises(errors.KernelRefused):
            await raw.execute(box.id, ("pwd",), 20)
        with pytest.raises(errors.KernelRefused):
            await raw.open_terminal(box.id, ("pwd",), 24, 80)


def link_of(path: Path) -> str:
    """ "" while it is being swapped."""
    try:
        return os.readlink(path)
    except OSError:
        return ""
