"""A virtual machine with Debian's kernel, pure cgroup v2 and systemd, over this machine's own files, that runs some of the tests.

    python -m tests.cgroup_v2.machine OUT NODEID…

It boots with virtme-ng in QEMU. Everything emulates, even where there is /dev/kvm: that is slow (about 30 times) but works
alike on every machine, also inside of another virtual one. There systemd manages the control groups (tests/systemd.py), and
the tests run as a worker does, in a unit that it delegated. In OUT appear ``boot.log`` (the console), ``output`` (pytest's)
and ``results`` (see report.py). It ends with the guest, after ``SECONDS``, or when its standard input is closed.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests import systemd

from . import kernel

SECONDS = 2400.0
ROOT = Path(__file__).resolve().parents[2]

# 6.1 can't id-map a mount of a tmpfs or of 9p, on which all else lies: the tests' files go on an ext4 as on a real disk.
SCRIPT = """\
exec > {out}/output 2>&1
set -e
export PATH={path}
ip link set lo up
modprobe loop
modprobe ext4
mount -t tmpfs tmpfs /mnt
truncate -s 400M /mnt/disk
mkfs.ext4 -q /mnt/disk
mkdir /mnt/tmp /mnt/units
mount -o loop /mnt/disk /mnt/tmp
cat > /mnt/units/tests.service <<END
[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/sh {out}/tests
END
echo +hugetlb > /sys/fs/cgroup/cgroup.subtree_control  # systemd knows nothing of it; runc hands it down in this way
exec unshare --pid --fork --mount-proc {systemd}
"""
TESTS = """\
exec > {out}/output 2>&1
export PATH={path} HOME=/root LANG=C.UTF-8 TZ=UTC TMPDIR=/mnt/tmp
export PYTHONPATH={root} PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 TERRARIUM_GUEST_RESULTS={out}/results
cd {root}
exec {python} -m tests.cgroup_v2.enclosed \\
    {python} -m pytest -c /dev/null --rootdir={root} -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function \\
    -p pytest_asyncio.plugin -p tests.cgroup_v2.report -p no:cacheprovider -W error -q --durations=0 {tests}
"""


def main(out: Path, tests: list[str]) -> int:
    image = kernel.ensure()
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    (out / "script").write_text(
        SCRIPT.format(out=out, path=path, systemd=shlex.join(systemd.words(Path("/mnt/units"), "tests.service")))
    )
    (out / "tests").write_text(
        TESTS.format(out=out, path=path, root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable), tests=shlex.join(tests))
    )
    environment = os.environ | {"HOME": str(out), "TMPDIR": str(out)}
    with open(out / "boot.log", "wb") as console:
        guest = subprocess.Popen(
            command(image, out), env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            start_new_session=True,
        )  # fmt: skip
    try:
        return wait(guest)
    finally:
        if guest.poll() is None:
            os.killpg(guest.pid, signal.SIGKILL)
            guest.wait()


def command(image: Path, out: Path) -> list[str]:
    """Directories are handed in by name: the guest mounts empty ones over /var/cache, /var/tmp and /run."""
    words = [str(Path(sys.executable).with_name("virtme-run")), "--kimg", str(image), "--mods", "auto", "--name", "terrarium"]
    words += ["--disable-kvm", "--force-9p", "--memory", "2G", "--cpus", "2", "--kopt", "psi=1", "--user", "root"]
    for top in ("/etc", "/lib", "/home", "/opt", "/srv", "/usr", "/var", "/tmp"):
        words += ["--overlay-rwdir", top]  # writable in the guest, and never written to here
    for name, place in {"source": ROOT, "python": Path(sys.prefix), "kernel": image.parents[1]}.items():
        (out / name).symlink_to(place)  # virtme-run takes few characters in a host's path
        words += ["--rodir", f"{str(place).lstrip('/')}={out / name}"]
    return [*words, "--rwdir", str(out), "--show-boot-console", "--verbose", "--script-sh", f"sh {out}/script"]


def wait(guest: subprocess.Popen[bytes]) -> int:
    ended = os.pidfd_open(guest.pid)
    ready, _, _ = select.select([ended, sys.stdin], [], [], SECONDS)
    os.close(ended)
    if ended in ready:
        return guest.wait()
    print("The tests are over." if ready else f"The guest did not end within {SECONDS:.0f} s and was stopped.", flush=True)
    return 1


if __name__ == "__main__":
    os.nice(5)  # what else runs meanwhile comes first
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and the guest with us
    try:
        sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
    except kernel.NoKernel as error:
        sys.exit(f"There is no kernel to boot. {error}")
