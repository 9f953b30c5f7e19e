"""The seven "Docker examples: running processes in shared namespaces", with sandboxes, with Docker, and across both."""

from __future__ import annotations

import os
import subprocess

import pytest

from .conftest import Json, Lab, inodes, inside

ENGINES = ("raw", "docker")


def pair(lab: Lab, kind: str, engine: str, target: str = "", **more: str) -> tuple[Json, Json]:
    """container1, and container2 that shares one namespace with it. ``target`` is the first one's engine."""
    named = {"hostname": "first"} if kind == "uts" else {}
    one = lab.create(f"{kind}1", engine=target or engine, command=["sleep", "1111"], **named)
    namespaces = {"net": "none"} if engine == "raw" else {}
    namespaces |= {kind: f"container:{one['name']}", **more}
    two = lab.create(f"{kind}2", engine=engine, command=["sleep", "2222"], namespaces=namespaces)
    return one, two


def check_shared(lab: Lab, one: Json, two: Json, kind: str) -> None:
    """Inode checks: readlink from inside both, from the host, in the view, in the list of who shares, in the graph."""
    inode = inodes(one["pid"])[kind]
    assert inodes(two["pid"])[kind] == inside(lab, one)[kind] == inside(lab, two)[kind] == inode
    assert two["namespaces"][kind]["inode"] == inode and two["namespaces"][kind]["mode"] == f"container:{one['id']}"
    assert lab.shared_with(two, kind) == {one["name"]} and lab.shared_with(one, kind) == {two["name"]}
    edges = lab.get("namespaces")["edges"]
    users = {edge["source"] for edge in edges if edge["target"] == f"ns:{kind}:{inode}"}
    assert users == {f"container:{one['id']}", f"container:{two['id']}"}


@pytest.mark.parametrize(("engine", "target"), [("raw", "raw"), ("docker", "docker"), ("raw", "docker")])
def test_1_pid(lab: Lab, engine: str, target: str) -> None:
    """Docker examples, 1: --pid=container:container1; ps in container2 shows container1's processes."""
    one, two = pair(lab, "pid", engine, target)
    listed = lab.say(two, "ps -o pid,args")
    assert "1 sleep 1111" in listed and "sleep 2222" in listed
    assert "sleep 2222" in lab.say(one, "ps -o args")
    check_shared(lab, one, two, "pid")


@pytest.mark.parametrize(("engine", "target"), [("raw", "raw"), ("docker", "docker"), ("raw", "docker")])
def test_2_net(lab: Lab, engine: str, target: str) -> None:
    """Docker examples, 2: --net=container:net1; ip addr is the same in both, and so is the loopback."""
    one, two = pair(lab, "net", engine, target)
    look = "ip -o addr; ls /sys/class/net"
    assert lab.say(one, look) == lab.say(two, look) and "eth0" in lab.say(two, look)
    lab.say(one, "nc -l -p 7000 -e echo hello >/dev/null 2>&1 &")
    assert lab.say(two, "for i in 1 2 3 4 5 6 7 8; do nc 127.0.0.1 7000 && break; sleep 0.2; done") == "hello"
    check_shared(lab, one, two, "net")


@pytest.mark.parametrize(("engine", "target"), [("raw", "raw"), ("docker", "docker"), ("raw", "docker")])
def test_3_ipc(lab: Lab, engine: str, target: str) -> None:
    """Docker examples, 3: --ipc=container:ipc1; the inode of /proc/self/ns/ipc, and a shared segment that both see."""
    one, two = pair(lab, "ipc", engine, target)
    subprocess.run(["nsenter", "-t", str(one["pid"]), "-i", "ipcmk", "-M", "4096", "-p", "666"], check=True, capture_output=True)
    segments = "awk '{print $1, $2, $4}' /proc/sysvipc/shm"
    assert lab.say(one, segments) == lab.say(two, segments)
    assert "4096" in lab.say(two, segments)
    check_shared(lab, one, two, "ipc")


@pytest.mark.parametrize("target", ENGINES)
def test_4_uts(lab: Lab, target: str) -> None:
    """Docker examples, 4: --uts=container:uts1 (which Docker itself lacks); a name changed in uts1 is uts2's."""
    one, two = pair(lab, "uts", "raw", target)
    assert lab.say(one, "hostname") == lab.say(two, "hostname") == "first"
    subprocess.run(["nsenter", "-t", str(one["pid"]), "-u", "hostname", "shared-host"], check=True)
    assert lab.say(one, "hostname") == lab.say(two, "hostname") == "shared-host"
    check_shared(lab, one, two, "uts")


def test_4_uts_from_inside(lax_lab: Lab) -> None:
    """Docker examples, 4, as written: docker exec uts1 hostname shared-host, for which it needs CAP_SYS_ADMIN."""
    one = lax_lab.create("uts1", security={"capabilities": ["CAP_SYS_ADMIN"]})
    two = lax_lab.create("uts2", namespaces={"net": "none", "uts": "container:uts1"})
    lax_lab.say(one, "hostname shared-host")
    assert lax_lab.say(two, "hostname") == "shared-host"


def test_5_mount(lab: Lab) -> None:
    """Docker examples, 5: --mount=container:mount1, which Docker lacks; sandboxes can, with the users shared too."""
    one, two = pair(lab, "mnt", "raw", user="container:mnt1")
    lab.say(one, "echo word > /root/file")
    assert lab.say(two, "cat /root/file; stat -c %u /root/file") == "word\n0"
    inode = inodes(one["pid"])["mnt"]
    assert inodes(two["pid"])["mnt"] == inode and lab.shared_with(two, "mnt") == {"mnt1"}


@pytest.mark.parametrize("kind", ["uts", "mnt", "cgroup"])
def test_what_docker_cannot_share_is_said_plainly(lab: Lab, kind: str) -> None:
    """Docker examples, 4 and 5: there is no such flag in Docker; the panel says so and what to use."""
    lab.docker("first")
    error = lab.refused(name="second", engine="docker", namespaces={kind: "container:first"})
    assert error["code"] == "unsupported" and error["hint"] == "Use a raw sandbox for that."


def test_docker_cannot_join_a_sandbox_and_the_panel_says_which_way_round_it_works(lab: Lab) -> None:
    lab.create("sandbox")
    error = lab.refused(name="second", engine="docker", namespaces={"net": "container:sandbox"})
    assert error["code"] == "unsupported" and "sandbox" in error["hint"]


@pytest.mark.parametrize("engine", ENGINES)
def test_6_host_pid(lab: Lab, engine: str) -> None:
    """Docker examples, 6: --pid=host; ps inside shows all processes of the host."""
    box = lab.create("hostpid", engine=engine, namespaces={"pid": "host"})
    assert inodes(box["pid"])["pid"] == inodes(os.getpid())["pid"] and box["namespaces"]["pid"]["initial"]
    assert str(os.getpid()) in lab.say(box, "ls -d /proc/[0-9]* | cut -d/ -f3").split()


def test_7_inode_checks_of_all_at_once_across_engines(lab: Lab) -> None:
    """The inode checks of all: a sandbox in a Docker container's pid, net, ipc and uts, with its own root, user and cgroup."""
    one = lab.docker("all1", hostname="first")
    shared = ("pid", "net", "ipc", "uts")
    two = lab.create("all2", namespaces=dict.fromkeys(shared, "container:all1"))
    ours, theirs = inodes(two["pid"]), inodes(one["pid"])
    assert {kind for kind in ours if ours[kind] == theirs[kind]} == set(shared)
    assert inside(lab, two) == ours
    # Docker's namespaces are the host's user's, so this sandbox may look at everything there and change nothing.
    for change in ("hostname x", "ip link set lo down", "kill 1"):
        assert lab.execute(two, "sh", "-c", change)["exit_code"] != 0
    assert lab.say(two, "hostname") == "first"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_sandbox_keeps_what_it_shares_when_the_other_goes(lab: Lab, engine: str) -> None:
    one, two = pair(lab, "net", "raw", engine)
    inode, address = inodes(two["pid"])["net"], lab.say(two, "ip -4 -o addr show eth0")
    lab.client.delete(f"containers/{one['id']}?force=1")
    assert inodes(two["pid"])["net"] == inode and lab.shared_with(two, "net") == set()
    if engine == "raw":
        assert lab.say(two, "ip -4 -o addr show eth0") == address
    lab.act(two, "stop")
    answer = lab.client.post(f"containers/{two['id']}/start", json={})
    assert answer.status_code == 409 and "is gone" in answer.json()["error"]["message"]
