"""The labs around unshare, chroot and nsexec, in sandboxes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from containers_app.spec import NAMESPACE_TYPES

from .conftest import Lab, inodes, inside

ALONE = {"net": "none"}
ADMIN = {"capabilities": ["CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SYS_CHROOT", "CAP_SETUID", "CAP_SETGID"]}


def host_view() -> list[str]:
    """What the lab changes inside: host name, lo, what is mounted on /mnt. Other links and mounts are other tests' too."""
    lo = subprocess.run(["ip", "-o", "address", "show", "lo"], capture_output=True, text=True, check=True).stdout
    mounted = [line for line in Path("/proc/self/mounts").read_text().splitlines() if line.split()[1] == "/mnt"]
    return [os.uname().nodename, lo, *mounted]


def test_processes_share_all_namespaces_by_default(lab: Lab) -> None:
    """Unshare lab, 1: the links below /proc/PID/ns are the same for ordinary processes, on the host and in a sandbox."""
    box = lab.create("default-lab", command=["sh", "-c", "sleep 1000 & wait"])
    pids = [process["pid"] for process in lab.get(f"containers/{box['id']}/processes")["items"]]
    assert len(pids) == 2 and inodes(pids[0]) == inodes(pids[1])
    look = "for n in " + " ".join(NAMESPACE_TYPES) + "; do readlink /proc/$$/ns/$n; done"
    assert lab.say(box, look) == lab.say(box, f"sh -c '{look}'")
    used: dict[str, set[str]] = {}
    for edge in lab.get("namespaces")["edges"]:
        used.setdefault(edge["source"], set()).add(edge["target"])
    assert used["host"] == {f"ns:{kind}:{inode}" for kind, inode in inodes(os.getpid()).items()}
    assert used[f"container:{box['id']}"] == {f"ns:{kind}:{inode}" for kind, inode in inodes(box["pid"]).items()}


def test_a_shell_with_namespaces_of_its_own_leaves_the_host_unaffected(lax_lab: Lab) -> None:
    """Unshare lab, 2 and 3: unshare --mount --uts --ipc --net --pid; then hostname, ps aux, mount -t tmpfs, ip addr."""
    before = host_view()
    box = lax_lab.create("unshare-lab", namespaces=ALONE, security=ADMIN)
    assert lax_lab.say(box, "hostname my-container; echo New hostname: $(hostname)") == "New hostname: my-container"
    first, *others = lax_lab.say(box, "ps -o pid,args | tail -n +2").splitlines()
    assert first.split() == ["1", "sleep", "1000"] and all(int(line.split()[0]) < 30 for line in others)
    assert lax_lab.say(box, "mount -t tmpfs tmpfs /mnt && mount | grep ' /mnt '").startswith("tmpfs on /mnt type tmpfs")
    links = lax_lab.say(box, "ip -o link").splitlines()
    assert len(links) == 1 and " lo: " in links[0]
    host, ours = inodes(os.getpid()), inodes(box["pid"])
    assert inside(lax_lab, box) == ours and not any(host[kind] == ours[kind] for kind in NAMESPACE_TYPES)
    assert host_view() == before


def test_leaving_the_shell_ends_its_namespaces(lab: Lab) -> None:
    """Unshare lab, 4: exit."""
    box = lab.create("exit-lab", namespaces=ALONE, command=["sh", "-c", "exit 3"])
    for _ in range(200):
        now = lab.get(f"containers/{box['id']}")
        if now["state"] == "exited":
            break
    assert (now["exit_code"], now["pid"]) == (3, 0)
    assert [view["inode"] for view in now["namespaces"].values()] == [0] * 8


def test_docker_containers_have_namespaces_of_their_own_too(lab: Lab) -> None:
    """Unshare lab, bonus: hostname, ps, ls -l /proc/self/ns in a Docker container, and by its pid from the host."""
    box = lab.docker("bonus-lab")
    assert lab.say(box, "hostname") == box["id"][:12]
    assert lab.say(box, "ps -o pid,args | sed -n 2p").split() == ["1", "sleep", "1000"]
    ours, host = inodes(box["pid"]), inodes(os.getpid())
    assert inside(lab, box) == ours
    assert {kind for kind in ("pid", "net", "mnt", "uts", "ipc") if ours[kind] != host[kind]} == {
        "pid",
        "net",
        "mnt",
        "uts",
        "ipc",
    }


def test_cgroup_limits_bound_a_shell(lab: Lab) -> None:
    """Cgroups lab: half a core as quota and period, the pid in the group's list, the limit read back."""
    box = lab.create("cgroup-lab", limits={"cpu": 0.5, "pids": 50})
    groups = box["cgroups"]
    if "cpu" in groups:
        files = [Path(groups["cpu"], name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
        assert [file.read_text().strip() for file in files] == ["50000", "100000"]
    else:
        assert Path(groups[""], "cpu.max").read_text().split() == ["50000", "100000"]
    for directory in groups.values():
        assert str(box["pid"]) in Path(directory, "cgroup.procs").read_text().split()
    assert lab.get(f"containers/{box['id']}/limits")["cpu"]["kernel"] == 0.5


def test_nsexec_runs_a_shell_of_the_hosts_in_new_net_pid_and_uts_namespaces(lax_lab: Lab) -> None:
    """nsexec, example: ./nsexec -npu myhost bash; ps -ef shows two processes, ip a one link: there it is down, here up."""
    script = "hostname; ps -ef; ip a; read forever < <(sleep 1000)"
    box = lax_lab.create("nsexec", image="host", hostname="myhost", namespaces=ALONE, command=["bash", "-c", script])
    assert lax_lab.say(box, "hostname") == "myhost"
    rows = lax_lab.say(box, "ps -e -o pid=,comm=").splitlines()
    assert rows[0].split() == ["1", "bash"]
    links = lax_lab.say(box, "ip -o link").splitlines()
    assert len(links) == 1 and " lo: <LOOPBACK,UP,LOWER_UP>" in links[0]
    ours, host = inodes(box["pid"]), inodes(os.getpid())
    assert all(ours[kind] != host[kind] for kind in ("net", "pid", "uts"))
    log = lax_lab.get(f"containers/{box['id']}/logs")["text"]
    assert log.startswith("myhost\n") and "bash -c" in log
    programs = [os.stat(f"/proc/{box['pid']}/root/usr/bin/{name}").st_ino for name in ("bash", "ps")]
    assert programs == [os.stat(f"/usr/bin/{name}").st_ino for name in ("bash", "ps")]


def test_nsexec_shows_the_hosts_files_only_where_the_policy_lets_it(lab: Lab) -> None:
    """nsexec uses the host's file system; the panel's default policy does not."""
    error = lab.refused(name="nsexec", image="host")
    assert error["code"] == "policy" and "host_image" in error["hint"]


def test_a_custom_root_with_bash_is_entered_by_chroot(lax_lab: Lab) -> None:
    """Custom root: bash and the libraries that it loads, copied; chroot into it inside new namespaces; ls / shows only it."""
    box = lax_lab.create("custom-root", image="host", namespaces=ALONE)
    ours, host = inodes(box["pid"]), inodes(os.getpid())
    assert all(ours[kind] != host[kind] for kind in ("mnt", "uts", "ipc", "net", "pid", "user"))
    copy = (
        "r=/tmp/custom-root; mkdir -p $r/bin $r/etc $r/dev; cp /bin/bash $r/bin/;"
        " for f in $(ldd /bin/bash | grep -o '/[^ ]*'); do mkdir -p $r/${f%/*}; cp -L $f $r/$f; done"
    )
    lax_lab.say(box, copy)
    listed = lax_lab.say(box, "chroot /tmp/custom-root /bin/bash -c 'cd /; echo *; echo $BASH_VERSION; echo $$'").splitlines()
    assert {"bin", "dev", "etc"} <= set(listed[0].split()) <= {"bin", "dev", "etc", "lib", "lib64"}
    assert listed[1][0].isdigit() and int(listed[2]) < 100
    assert lax_lab.execute(box, "chroot", "/tmp/custom-root", "/bin/ls")["exit_code"] == 127
    assert not Path("/tmp/custom-root").exists()


def test_chroot_isolates_files_alone_and_namespaces_the_rest(lax_lab: Lab) -> None:
    """chroot against unshare: after chroot, processes, network and host name are those from before."""
    box = lax_lab.create("chroot-lab", namespaces=ALONE)
    lax_lab.say(box, "mkdir -p /new/bin /new/proc && cp /bin/busybox /new/bin/sh && cp /bin/busybox /new/bin/hostname")
    assert lax_lab.say(box, "chroot /new /bin/sh -c 'hostname; echo /*'") == "chroot-lab\n/bin /proc"
    two = lax_lab.create("chroot-two", namespaces=ALONE)
    assert inodes(box["pid"])["mnt"] != inodes(two["pid"])["mnt"]
    assert os.readlink(f"/proc/{box['pid']}/root") == "/", "pivot_root, not chroot: there is no way back up"
