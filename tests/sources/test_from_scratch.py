"""The programs of "Container isolation": simple-container.c, cgroup-manager.sh, minimal-container.sh, container-manager.sh."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from containers_app.kernel.cgroups import choose
from tests.engines.conftest import wait_until
from tests.groups import cpu_and_periods

from .conftest import Json, Lab, inodes

MIB = 1 << 20


def test_simple_container_c(lab: Lab) -> None:
    """simple-container.c: clone with PID, NS, UTS, IPC and NET; sethostname("container"); a proc of its own; a shell."""
    script = 'echo "Container [$$] - Inside container!"; hostname; ls -d /proc/[0-9]*; sleep 1000'
    namespaces = {"net": "none", "cgroup": "host", "time": "host"}
    box = lab.create("simple-container", hostname="container", namespaces=namespaces, command=["sh", "-c", script])
    ours, host = inodes(box["pid"]), inodes(os.getpid())
    assert {kind for kind in ours if ours[kind] == host[kind]} == {"cgroup", "time"}
    assert lab.say(box, "hostname; grep -c ^proc /proc/mounts").startswith("container\n")
    text = lab.get(f"containers/{box['id']}/logs")["text"]
    assert text.startswith("Container [1] - Inside container!\ncontainer\n/proc/1\n")
    assert os.uname().nodename != "container"


def test_cgroup_manager_sh(lab: Lab) -> None:
    """cgroup-manager.sh: create, limits 0.5 core, 100M and 100 processes, change them, add and run, monitor, clean up."""
    box = lab.create("cgroup-manager", limits={"cpu": 0.5, "memory": "100M", "pids": 100})
    limits = lab.get(f"containers/{box['id']}/limits")
    assert {name: limits[name]["kernel"] for name in ("cpu", "memory", "pids")} == {"cpu": 0.5, "memory": 100 * MIB, "pids": 100}
    changed = lab.client.patch(f"containers/{box['id']}/limits", json={"cpu": 0.25, "memory": "64M", "pids": 20}).json()
    assert [changed[name]["kernel"] for name in ("cpu", "memory", "pids")] == [0.25, 64 * MIB, 20]
    # "add" and "run": whatever is started in it is in its groups
    pid = int(lab.say(box, "sleep 1000 >/dev/null 2>&1 & readlink /proc/self >/dev/null; echo $!"))
    assert pid in [process["ns_pid"] for process in lab.get(f"containers/{box['id']}/processes")["items"]]
    stats = lab.get(f"containers/{box['id']}/stats")
    assert stats["memory"] > 0 and stats["pids"] == 2
    lab.client.delete(f"containers/{box['id']}?force=1")
    assert [directory for directory in box["cgroups"].values() if Path(directory).exists()] == []


def test_minimal_container_sh(lab: Lab) -> None:
    """minimal-container.sh: busybox root, cgroup limits, veth pair, address, default route, NAT, init as PID 1; then stop."""
    limits = {"cpu": 0.5, "memory": "100M", "pids": 100, "swap": "50M"}
    if lab.get("host")["limits"]["swap"]["locked"]:  # a kernel that does not count swap has none to limit
        del limits["swap"]
    init = 'echo "Container started as PID $$"; exec sleep 1000'
    box = lab.create("mycontainer", limits=limits, command=["sh", "-c", init])
    assert lab.get(f"containers/{box['id']}/logs")["text"] == "Container started as PID 1\n"
    check_minimal_limits(lab, box, swap="swap" in limits)
    assert inodes(box["pid"])["user"] != inodes(os.getpid())["user"]
    assert lab.say(box, "id -u") == "0" and os.stat(f"/proc/{box['pid']}").st_uid > 0  # --user --map-root-user
    assert lab.say(box, "hostname; cat /etc/hostname") == "mycontainer\nmycontainer"
    assert lab.say(box, "readlink /bin/ls") == "/bin/busybox"
    lab.say(box, "test -d /proc/1 && test -d /sys/class && test -c /dev/null && grep -q ' / overlay' /proc/mounts")
    address = box["addresses"][0]
    assert address in lab.say(box, "ip -4 addr show eth0") and "up" in lab.say(box, "ip link show lo").lower()
    gateway = lab.say(box, "ip route | awk '/^default/{print $3}'")
    assert "1 packets received" in lab.say(box, f"ping -c1 -W2 {gateway}")
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert "masquerade" in rules
    (network,) = [item for item in lab.get("networks")["items"] if item["engine"] == "raw"]
    assert network["gateway"].startswith(gateway)
    assert Path("/proc/sys/net/ipv4/conf", network["bridge"], "forwarding").read_text().strip() == "1"
    link = int(re.search(r"eth0@if(\d+)", lab.say(box, "ip -o link show eth0"))[1])  # type: ignore[index]
    ports = Path("/sys/class/net", network["bridge"], "brif")
    assert link in [int(Path("/sys/class/net", port.name, "ifindex").read_text()) for port in ports.iterdir()]
    lab.act(box, "kill")
    now = lab.get(f"containers/{box['id']}")
    assert now["state"] == "exited" and not any(Path(directory).exists() for directory in box["cgroups"].values())


def check_minimal_limits(lab: Lab, box: Json, *, swap: bool) -> None:
    """cpu.max, memory.max, memory.swap.max and pids.max, in whichever words the kernel has them; and as the panel tells them."""
    told = lab.get(f"containers/{box['id']}/limits")
    wanted = {"cpu": 0.5, "memory": 100 * MIB, "pids": 100} | ({"swap": 50 * MIB} if swap else {})
    assert {name: told[name]["kernel"] for name in wanted} == wanted
    if "memory" in box["cgroups"]:
        sizes = {"memory.limit_in_bytes": 100 * MIB} | ({"memory.memsw.limit_in_bytes": 150 * MIB} if swap else {})
    else:
        sizes = {"memory.max": 100 * MIB} | ({"memory.swap.max": 50 * MIB} if swap else {})
    assert {name: int(kernels(box, "memory", name)) for name in sizes} == sizes
    assert kernels(box, "pids", "pids.max") == "100"
    if "cpu" in box["cgroups"]:
        assert [kernels(box, "cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period")] == ["50000", "100000"]
    else:
        assert kernels(box, "cpu", "cpu.max") == "50000 100000"


def kernels(box: Json, controller: str, file: str) -> str:
    groups = box["cgroups"]
    return Path(groups[controller if controller in groups else ""], file).read_text().strip()


def test_container_manager_sh_list(lab: Lab) -> None:
    """container-manager.sh list: running containers by their pid namespace, and the pids of each cgroup."""
    boxes = [lab.create(f"listed-{number}") for number in (1, 2)]
    listed = {item["id"]: item for item in lab.get("containers")["items"]}
    for box in boxes:
        shown = listed[box["id"]]
        assert shown["namespaces"]["pid"]["inode"] == inodes(shown["pid"])["pid"]
        pids = [process["pid"] for process in lab.get(f"containers/{box['id']}/processes")["items"]]
        assert pids == [int(pid) for pid in Path(next(iter(box["cgroups"].values())), "cgroup.procs").read_text().split()]
    nodes = {node["id"] for node in lab.get("namespaces")["nodes"]}
    assert {f"ns:pid:{inodes(box['pid'])['pid']}" for box in boxes} <= nodes


def test_container_manager_sh_inspect(lab: Lab) -> None:
    """container-manager.sh inspect: namespaces, cgroup, process tree, resource use, network namespace of one process."""
    box = lab.create("inspected", command=["sh", "-c", "sleep 1000 & while :; do :; done"])
    items = {item["type"]: item for item in lab.get(f"containers/{box['id']}/namespaces")["items"]}
    assert {kind: item["inode"] for kind, item in items.items()} == inodes(box["pid"])
    user = inodes(box["pid"])["user"]
    assert all(items[kind]["owner"] == user for kind in ("pid", "net", "mnt", "uts", "ipc", "cgroup", "time"))
    groups = Path(f"/proc/{box['pid']}/cgroup").read_text()
    assert all(directory.rpartition("/terrarium-")[2] in groups for directory in box["cgroups"].values())
    processes = {process["ns_pid"]: process for process in lab.get(f"containers/{box['id']}/processes")["items"]}
    child = next(process for number, process in processes.items() if number != 1)
    assert processes[1]["pid"] == box["pid"] and child["ppid"] == box["pid"] and child["name"] == "sleep"
    assert child["rss"] > 0
    wait_until(lambda: cpu_seconds(box["pid"]) > 0.2)
    least = cpu_seconds(box["pid"])
    (busy,) = (one for one in lab.get(f"containers/{box['id']}/processes")["items"] if one["pid"] == box["pid"])
    assert 0.2 < least <= busy["cpu_seconds"] <= cpu_seconds(box["pid"])
    assert lab.get(f"containers/{box['id']}/security")["kernel"]["no_new_privs"] is True


def cpu_seconds(pid: int) -> float:
    """utime and stime, proc_pid_stat(5)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_container_manager_sh_stats(lab: Lab) -> None:
    """container-manager.sh stats: CPU time, memory with its limit, disk I/O, from the cgroup's own files.

    Second by second as rates, and as the kernel's totals by /metrics.
    """
    write = "dd if=/dev/zero of=/file bs=64k count=16 oflag=direct conv=notrunc 2>/dev/null"
    busy = f"while :; do i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; {write}; done"
    box = lab.create("measured", limits={"cpu": 0.5, "memory": "64M"}, command=["sh", "-c", busy])
    rows: list[Json] = []

    def both_seen() -> bool:
        rows.append(lab.get(f"containers/{box['id']}/stats"))
        return (rows[-1]["cpu"] or 0) > 0.05 and (rows[-1]["io_write"] or 0) > MIB / 10

    wait_until(both_seen)
    wait_until(lambda: used(box)["container_cpu_usage_seconds_total"] > 0.3)
    before = used(box)
    text = lab.client.get(str(lab.client.base_url.join("/metrics"))).text
    after = used(box)
    for name, least in before.items():
        (told,) = (float(line.split()[1]) for line in text.splitlines() if line.startswith(name) and 'name="measured"' in line)
        assert 0 < least <= told <= after[name], name
    stats = rows[-1]
    groups = box["cgroups"]
    memory = Path(groups["memory"], "memory.usage_in_bytes") if "memory" in groups else Path(groups[""], "memory.current")
    assert abs(stats["memory"] - int(memory.read_text())) < 8 * MIB and stats["cpu"] < os.cpu_count() + 1  # type: ignore[operator]
    assert stats["pids"] >= 1 and stats["cpu_limit"] == 0.5 and stats["memory_limit"] == 64 * MIB
    assert lab.get(f"containers/{box['id']}")["limits"]["memory"]["effective"] == 64 * MIB


def used(box: Json) -> dict[str, float]:
    """The control group's own count of CPU seconds and of bytes written (io.stat), by their names in /metrics."""
    cgroups = choose()
    io = Path(cgroups.counters(box["cgroups"]).io).read_text()
    return {
        "container_cpu_usage_seconds_total": cpu_and_periods(cgroups, box["cgroups"])[0],
        "container_fs_writes_bytes_total": sum(map(int, re.findall(r" (?:Write |wbytes=)(\d+)", io))),
    }
