"""What the kernel is asked for from inside. The same probes run in a real Docker container: what is closed there is closed here.

CVE-2019-10063 and TIOCSTI, CVE-2022-0492, CVE-2022-29162, keyrings, clone3, and whatever has been used to leave a container.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from containers_app.engines.raw import RawEngine
from tests.dockerd import Dockerd

from ..conftest import Home
from .conftest import WAYS, Compile, in_each_way, write_image

PROBES = Path(__file__).with_name("probes.c")

EXPECTED = {
    "clone3": "ENOSYS",
    "clone3 new user namespace": "ENOSYS",
    "an unknown new system call": "ENOSYS",
    "a far unknown system call": "ENOSYS",
    "an x32 system call": "ENOSYS",
    "clone new user namespace": "EPERM",
    "clone a plain process": "done",
    "unshare user": "EPERM",
    "TIOCSTI": "EPERM",
    "TIOCSTI, high bits set": "EPERM",
    "TIOCLINUX": "EPERM",
    "TIOCLINUX, high bits set": "EPERM",
    "keyctl session": "EPERM",
    "add_key": "EPERM",
    "bpf": "EPERM",
    "perf_event_open": "EPERM",
    "kexec_load": "EPERM",
    "init_module": "EPERM",
    "finit_module": "EPERM",
    "io_uring_setup": "EPERM",
    "mount tmpfs": "EPERM",
    "umount a mask": "EPERM",
    "remount /proc/sys writable": "EPERM",
    "setns mnt of process 1": "EPERM",
    "iopl": "EPERM",
    "open_by_handle_at (shocker)": "EPERM",
    "setgroups to one's own ids": "done",
    "setgroups to an id that is not mapped": "EINVAL",
    "lower a hard limit": "done",
    "raise a hard limit": "EPERM",
    "socket AF_VSOCK": "EPERM",
    "socket AF_VSOCK, high bits set": "EPERM",
    "socket AF_ALG": "EPERM",
    "socket AF_ALG, high bits set": "EPERM",
    "capset everything": "EPERM",
    "clear no_new_privs": "EINVAL",
    "reboot": "EPERM",
}


@pytest.fixture
def probes(home: Home, compiled: Compile) -> str:
    return write_image(home, "probes", {"probe": compiled(PROBES.read_text())})


async def test_every_probe_is_answered_the_same_to_program_exec_and_terminal_and_the_dangerous_ones_are_refused(
    raw: RawEngine, probes: str
) -> None:
    seen = await in_each_way(raw, probes, "/probe")
    for way in WAYS:
        found = answers_of(seen[way])
        assert {name: found.get(name) for name in EXPECTED} == EXPECTED, way
        assert [name for name, answer in found.items() if name.startswith("open device") and answer == "done"] == []
        writable = {name for name, answer in found.items() if name.startswith("write:") and answer == "done"}
        assert not {name for name in writable if not name.startswith("write:/proc/pressure/")}, "only to ask for one's own alarm"


async def test_no_probe_succeeds_that_docker_denies(raw: RawEngine, home: Home, probes: str, daemon: Dockerd) -> None:
    seen = await in_each_way(raw, probes, "/probe")
    daemon.docker("run", "--detach", "--name", "probes", "busybox", "sleep", "1000")
    daemon.docker("cp", str(home.data / "images" / probes / "rootfs" / "probe"), "probes:/probe")
    docker = answers_of(daemon.docker("exec", "probes", "/probe", check=False))
    assert docker["mount tmpfs"] == "EPERM" and docker["clone a plain process"] == "done", "the probes did not run there"
    for way in WAYS:
        ours = answers_of(seen[way])
        assert {name for name in docker if not name.startswith("write:")} <= set(ours), f"a probe is missing in {way}"
        wider = {name: docker.get(name) for name, answer in ours.items() if answer == "done" and docker.get(name) != "done"}
        assert wider == {}, way


def answers_of(text: str) -> dict[str, str]:
    return {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in text.splitlines() if " " in line}
