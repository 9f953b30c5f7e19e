"""What is known to have broken out of containers, tried from inside a default sandbox. Each must fail.

The numbers are the CVEs of the checklist that the defences were written against.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.kernel import security

from .conftest import Home, in_use, spec

ATTEMPTS = {
    "make a user namespace": "unshare -U true",
    "mount a file system": "mount -t tmpfs none /mnt",
    "mount over a mask": "mount -t proc proc /root",
    "write a sysctl (CVE-2022-0492 and kin)": 'f=/proc/sys/kernel/core_pattern; v=$(cat $f); echo "$v" > $f',
    "trigger sysrq": "echo h > /proc/sysrq-trigger",
    "write a cgroup file (release_agent)": "cd /sys/fs/cgroup; for f in *.procs */*.procs; do echo 0 > $f && exit; done; false",
    "make a device": "mknod /root/sda b 254 0",
    "read kernel memory": "head -c1 /proc/kcore | grep -q .",
    "read keys of the host": "grep -q . /proc/keys",
    "see the host's processes": "[ $(ls -d /proc/[0-9]* | wc -l) -gt 8 ]",
    "see the host's files": "test -e /proc/self/root/../../../../var/lib/dpkg",
    "load a module": "insmod /bin/busybox 2>&1 | grep -v 'not permitted'",  # the kernel has looked at it: it is none
    "set the host name": "hostname escaped",
    "remount the root": "mount -o remount,bind,dev /",
    "chroot out by a second chroot": "chroot /proc/self/root/../.. test -e /var/lib/dpkg",
    "change an interface": "ip link set lo mtu 1000",
    "raise a hard limit": "n=$(ulimit -Hn); ulimit -n $((n - 1)); ulimit -n $n",
    "change the oom score below its start": "echo -1000 > /proc/self/oom_score_adj",
}
LACKING = {  # what a host may not have: there the attempt is refused to everybody
    "trigger sysrq": ("/proc/sysrq-trigger", ""),
    "read kernel memory": ("/proc/kcore", ""),
    "raise a hard limit": ("", "CAP_SYS_RESOURCE"),
    "change the oom score below its start": ("", "CAP_SYS_RESOURCE"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
async def test_from_inside_nobody_can(raw: RawEngine, attempt: str) -> None:
    box = await raw.create(spec(), "")
    result = await raw.execute(box.id, ("sh", "-c", attempt), 10)
    assert result.exit_code != 0, result


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_hosts_root_can_which_proves_the_attempt(name: str) -> None:
    """The same words, where nothing of the host is changed for good: in mounts, an interface and a host name of their own."""
    file, capability = LACKING.get(name, ("", ""))
    if file and not os.path.exists(file):
        pytest.skip(f"this kernel has no {file}")
    if capability and not own_capabilities() & security.capability_mask((capability,)):
        pytest.skip(f"root has no {capability} on this host")
    script = f"mount -t tmpfs none /root; {ATTEMPTS[name]}"
    argv = ["unshare", "--mount", "--uts", "--ipc", "--net", "busybox", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def own_capabilities() -> int:
    (row,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return int(row.split()[1], 16)


async def test_the_clock_of_the_host_is_not_set_from_inside(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    result = await raw.execute(box.id, ("date", "-s", "2001-01-01"), 10)
    assert "not permitted" in result.stderr and time.gmtime().tm_year > 2001


async def test_the_keeper_and_its_forker_hear_no_signal_of_a_sandbox(home: Home) -> None:
    """Not even of one that sees them. Without a user namespace its root is the host's: there the same words reach them."""
    async with in_use(home.engine(Allow(no_user_namespace=True)), home) as engine:
        assert home.keeper is not None
        keeper = home.keeper.pid
        (forker,) = (int(pid) for pid in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split() if is_forker(pid))
        own = await engine.create(spec("own"), "")
        seeing = await engine.create(spec("seeing", namespaces={"pid": "host"}), "")
        for box, why in ((own, "No such process"), (seeing, "not permitted")):
            for pid in (keeper, forker):
                told = await engine.execute(box.id, ("kill", "-9", str(pid)), 10)
                assert told.exit_code != 0 and why in told.stderr, told
        await engine.execute(own.id, ("kill", "-9", "-1"), 10)
        assert home.keeper.poll() is None and is_forker(str(forker))
        mighty = await engine.create(spec("mighty", namespaces={"pid": "host", "user": "host"}), "")
        for pid in (keeper, forker):
            assert (await engine.execute(mighty.id, ("kill", "-0", str(pid)), 10)).exit_code == 0


def is_forker(pid: str) -> bool:
    return Path(f"/proc/{pid}/comm").read_text() == "forker\n"


async def test_exec_leaves_no_descriptor_of_the_host_open(raw: RawEngine) -> None:
    """CVE-2024-21626."""
    box = await raw.create(spec(), "")
    out = (await raw.execute(box.id, ("sh", "-c", "ls -l /proc/self/fd; pwd"), 10)).stdout
    assert "/sandboxes/" not in out and "keeper" not in out
    assert len([line for line in out.splitlines() if "->" in line]) <= 4, out


async def test_the_program_has_no_new_privileges_no_inheritable_capabilities_and_a_filter(raw: RawEngine) -> None:
    """CVE-2022-29162, CVE-2019-10063."""
    box = await raw.create(spec(), "")
    for pid in ("1", "self"):
        out = (await raw.execute(box.id, ("cat", f"/proc/{pid}/status"), 10)).stdout
        rows = dict(line.split(":\t", 1) for line in out.splitlines() if ":\t" in line)
        assert (rows["NoNewPrivs"], rows["Seccomp"], int(rows["CapInh"], 16)) == ("1", "2", 0)
        assert int(rows["CapBnd"], 16) >> 21 & 1 == 0, "CAP_SYS_ADMIN is in the bounding set"
        assert rows["Groups"].strip() == ""
