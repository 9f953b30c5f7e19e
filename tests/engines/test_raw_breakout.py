"""What is known to have broken out of containers, tried from inside a default sandbox. Each must fail.

The numbers are the CVEs of the checklist that the defences were written against.
"""

from __future__ import annotations

import pytest

from containers_app.engines.raw import RawEngine

from .conftest import spec

ATTEMPTS = {
    "make a user namespace": "unshare -U true",
    "mount a file system": "mount -t tmpfs none /mnt",
    "mount over a mask": "mount -t proc proc /root",
    "write a sysctl (CVE-2022-0492 and kin)": "echo x > /proc/sys/kernel/core_pattern",
    "trigger sysrq": "echo b > /proc/sysrq-trigger",
    "write a cgroup file (release_agent)": "echo 1 > /sys/fs/cgroup/cgroup.freeze",
    "make a device": "mknod /root/sda b 254 0",
    "read kernel memory": "head -c1 /proc/kcore | grep -q .",
    "read keys of the host": "grep -q . /proc/keys",
    "see the host's processes": "[ $(ls -d /proc/[0-9]* | wc -l) -gt 8 ]",
    "signal the keeper": "kill -9 0 -1 $PPID 2>/dev/null; [ $PPID -gt 0 ]",
    "change the time": "date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
    "write to the image": "test -w /proc/1/root/../../../../etc/shadow",
    "load a module": "insmod /bin/busybox",
    "set the host name of the host": "hostname escaped",
    "remount the root": "mount -o remount,dev /",
    "chroot out by a second chroot": "chroot /proc/1/root/../.. test -e /var/lib/dpkg",
    "change an interface of the host": "ip link set eth0 address 02:00:00:00:00:01",
    "raise a hard limit": "ulimit -Hn 2000000",
    "change the oom score below its start": "echo -1000 > /proc/self/oom_score_adj",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
async def test_from_inside_nobody_can(raw: RawEngine, attempt: str) -> None:
    box = await raw.create(spec(), "")
    result = await raw.execute(box.id, ("sh", "-c", attempt), 10)
    assert result.exit_code != 0, result


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
