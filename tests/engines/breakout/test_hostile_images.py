"""Images whose /proc, /sys, /dev and mount targets are not what they seem, and directories that change while we look.

CVE-2025-31133, CVE-2025-52565, CVE-2026-41579, CVE-2026-47766, CVE-2025-52881, CVE-2019-19921, CVE-2023-27561, CVE-2024-45310.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.kernel.security import MASKED_PATHS, READ_ONLY_PATHS

from ..conftest import Home, spec
from .conftest import Compile, write_image


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
async def test_an_image_whose_own_directories_for_the_kernel_are_links_is_refused(home: Home, raw: RawEngine, name: str) -> None:
    """Or what is mounted there would be where the masks are not."""
    for number, target in enumerate(("/real", "real", "/proc/self/attr", "../../../../../../proc", "/dev/shm/x", "/tmp/a/b")):
        image = write_image(home, f"links-{number}", {name: target, "real/empty": b"", "tmp/a/b/empty": b""})
        with pytest.raises(errors.KernelRefused) as refused:
            await raw.create(spec(image=image), "")
        assert "symbolic links" in refused.value.message
    assert raw.all() == []


async def test_what_an_image_keeps_below_dev_is_covered_and_each_device_is_the_kernels(home: Home, raw: RawEngine) -> None:
    """/dev/null swapped under a mask, /dev/console and /dev/pts as links, /dev/shm as a link to the host's files."""
    files = {f"dev/{name}": "/proc/sysrq-trigger" for name in ("null", "console", "ptmx", "pts", "tty", "shm", "mqueue")}
    image = write_image(home, "devices", {**files, "proc/kcore": b"fake", "proc/self": "/etc", "sys/firmware": "/etc"})
    box = await raw.create(spec(image=image), "")
    script = "for d in null zero full random urandom tty; do stat -c '%F %t:%T' /dev/$d; done; ls -A /dev; stat -c %N /proc/self"
    out = (await raw.execute(box.id, ("sh", "-c", script), 10)).stdout.splitlines()
    numbers = ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0")
    assert out[:6] == [f"character special file {number}" for number in numbers]
    assert "console" not in out and "/etc" not in out[-1]
    terminal = await raw.open_terminal(box.id, ("sh", "-c", "tty"), 24, 80)
    text = os.read(terminal.fd, 100).decode()
    os.close(terminal.fd)
    assert text.startswith("/dev/pts/"), text


TARGETS = {"toproc": "/proc", "tosys": "/proc/sys", "toself": "/proc/self/attr", "totop": "/", "tosysfs": "/sys",
           "todev": "/dev", "up": "../../../../../../../..", "loop": "/loop"}  # fmt: skip


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
async def test_a_mount_whose_target_is_a_link_never_covers_what_the_kernel_shows(home: Home, kind: str) -> None:
    """Fake procfs files would take what the launcher writes, and a mask would cover the fake instead."""
    shared = home.data / "shared"
    shared.mkdir(mode=0o755)
    image = write_image(home, "targets", TARGETS)
    engine = home.engine(Allow(bind_paths=(str(shared),)))
    await engine.open(home.changes.append)
    started = set()
    try:
        for name in TARGETS:
            mount = {"target": f"/{name}", "type": kind} | ({"source": str(shared)} if kind == "bind" else {})
            try:
                box = await engine.create(spec(name, image=image, mounts=[mount]), "")
            except errors.KernelRefused:
                continue
            started.add(name)
            rows = [line.split() for line in Path(f"/proc/{box.pid}/mountinfo").read_text().splitlines()]
            covered = {(row[1], row[4]) for row in rows}  # what has another mount on it at its very place is not seen
            kinds = {row[4]: row[row.index("-") + 1] for row in rows if (row[0], row[4]) not in covered}
            assert (kinds["/proc"], kinds["/sys"], kinds["/dev"]) == ("proc", "sysfs", "tmpfs")
            missing = [path for path in (*MASKED_PATHS, *READ_ONLY_PATHS) if os.path.lexists(path) and path not in kinds]
            assert missing == []
            checks = "cat /proc/keys | wc -c; echo x > /proc/sys/kernel/hostname; [ -c /dev/null ] && echo fine"
            out = await engine.execute(box.id, ("sh", "-c", checks), 10)
            assert out.stdout == "0\nfine\n" and "Read-only" in out.stderr, out
            await engine.remove(box.id, force=True)
    finally:
        for container in engine.all():
            await engine.remove(container.id, force=True)
        await engine.close()
    assert set(TARGETS) - started == {"totop", "up", "tosys", "toself", "loop"}, (
        "links to the root, or to nothing as proc is not there"
    )
    assert str(home.data) not in Path("/proc/self/mountinfo").read_text()


EXCHANGE = """
int main(void) {
    for (;;) syscall(SYS_renameat2, AT_FDCWD, "/share/place", AT_FDCWD, "/share/link", 2 /* RENAME_EXCHANGE */);
}
"""


async def test_a_target_that_is_exchanged_for_a_link_while_it_is_mounted_never_leads_out(home: Home, compiled: Compile) -> None:
    """CVE-2024-45310, CVE-2021-30465: one sandbox swaps a directory in a volume that another one is started with."""
    share, outside = home.data / "share", home.data / "outside"
    for directory in (share, share / "place", outside):
        directory.mkdir(mode=0o777)
        directory.chmod(0o777)
    (share / "link").symlink_to(outside)
    image = write_image(home, "exchange", {"exchange": compiled(EXCHANGE)})
    engine = home.engine(Allow(bind_paths=(str(share),)))
    await engine.open(home.changes.append)
    bind = {"target": "/share", "source": str(share)}
    try:
        await engine.create(spec("attacker", image=image, command=["/exchange"], mounts=[bind], limits={"cpu": 1}), "")
        inside = 0
        for number in range(40):
            name = f"victim-{number}"
            mounts = [bind, {"target": "/share/place/deep", "type": "tmpfs"}]
            try:
                victim = await engine.create(spec(name, image=image, mounts=mounts), "")
            except errors.KernelRefused:
                continue  # it met the link half-way, and gave up
            rows = [line.split() for line in Path(f"/proc/{victim.pid}/mountinfo").read_text().splitlines()]
            places = [row[4] for row in rows if row[row.index("-") + 2] == "tmpfs" and row[4].endswith("/deep")]
            assert len(places) == 1, places
            inside += 1
            await engine.remove(victim.id, force=True)
        assert inside > 0
        assert list(outside.iterdir()) == [], "a directory was made on the host"
    finally:
        for container in engine.all():
            await engine.remove(container.id, force=True)
        await engine.close()
    assert str(home.data) not in Path("/proc/self/mountinfo").read_text()
