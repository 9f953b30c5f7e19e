"""Which namespaces processes are in, and the graph of those that containers use."""

import os
import subprocess

import pytest

from containers_app.errors import NotFound
from containers_app.kernel import namespaces

UNSHARED = ("unshare", "--fork", "--pid", "--uts", "--net", "--map-root-user", "sh", "-c", "echo; exec sleep 60")


@pytest.fixture
def isolated(spawn):
    """The host pid of a process in its own pid, uts, net and user namespaces."""
    outer = spawn(*UNSHARED, "--kill-child", stdout=subprocess.PIPE)
    outer.stdout.readline()
    with open(f"/proc/{outer.pid}/task/{outer.pid}/children") as children:
        pid = int(children.read())
    yield pid
    os.kill(pid, 9)


def test_our_own_are_the_hosts():
    assert namespaces.namespaces_of(os.getpid()) == namespaces.initial()
    assert set(namespaces.initial()) == {"mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time"}


def test_an_isolated_process_has_its_own_and_shares_the_rest(isolated):
    own, host = namespaces.namespaces_of(isolated), namespaces.initial()
    assert {kind for kind in own if own[kind] != host[kind]} == {"pid", "uts", "net", "user"}


def test_owner_and_parent_are_told(isolated):
    found = {one.type: one for one in namespaces.details(isolated)}
    host = namespaces.initial()
    assert found["net"].owner == found["user"].inode
    assert found["user"].parent == found["user"].owner == host["user"]
    assert found["pid"].parent == host["pid"]
    assert found["net"].parent is None
    assert found["ipc"].initial
    assert not found["net"].initial


def test_id_maps_are_read(isolated):
    found = namespaces.id_map(isolated)
    assert found.uid == found.gid == ((0, os.getuid(), 1),)
    assert found.text == f"0 {os.getuid()} 1"
    assert namespaces.id_map(os.getpid()).text == ""


def test_a_process_that_is_gone_is_not_found(spawn):
    process = spawn("true")
    process.wait()
    for read in (namespaces.namespaces_of, namespaces.details, namespaces.id_map):
        with pytest.raises(NotFound):
            read(process.pid)


def test_the_graph_joins_containers_to_their_namespaces_and_these_to_the_hosts(isolated):
    graph = namespaces.graph({"abc": ("web-1", "raw", "running", [isolated]), "old": ("job", "raw", "exited", [])}, "here")
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert nodes["host"]["name"] == "here"
    assert nodes["container:abc"] == {
        "id": "container:abc", "kind": "container", "container": "abc", "name": "web-1", "engine": "raw", "state": "running",
        "pid": isolated,
    }  # fmt: skip
    assert nodes["container:old"]["pid"] == 0
    targets = {edge["type"]: edge["target"] for edge in graph["edges"] if edge["source"] == "container:abc"}
    host = {edge["type"]: edge["target"] for edge in graph["edges"] if edge["source"] == "host"}
    assert len(targets) == len(host) == 8
    assert targets["ipc"] == host["ipc"]
    net = nodes[targets["net"]]
    assert (net["initial"], net["owner"], net["parent"], net["processes"]) == (False, targets["user"], None, 2)
    assert nodes[targets["pid"]]["parent"] == host["pid"]
    assert nodes[host["net"]]["initial"]
    assert nodes[host["net"]]["processes"] > 1


def test_every_edge_owner_and_parent_is_a_node(isolated):
    graph = namespaces.graph({"abc": ("web-1", "raw", "running", [isolated])})
    ids = [node["id"] for node in graph["nodes"]]
    assert len(ids) == len(set(ids))
    named = {edge[end] for edge in graph["edges"] for end in ("source", "target")}
    named |= {node[key] for node in graph["nodes"] for key in ("owner", "parent") if node.get(key)}
    assert named <= set(ids)


def test_a_container_whose_process_just_ended_is_shown_without_namespaces(spawn):
    process = spawn("true")
    process.wait()
    graph = namespaces.graph({"abc": ("web-1", "raw", "running", [process.pid])})
    assert not [edge for edge in graph["edges"] if edge["source"] == "container:abc"]
