"""The host's ends of another namespace's links: found by what both ends say, whatever is made up inside."""

import os

import pytest

from containers_app.kernel import peers

from .netns import fresh_host, inside, run, start_namespace


@pytest.fixture
def host():
    with fresh_host():
        yield


def lead_to(process, here, there):
    assert run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", str(process.pid)).returncode == 0


def test_each_veth_that_leads_there_is_found_and_no_other(host, spawn):
    first, second = start_namespace(spawn), start_namespace(spawn)
    assert peers.links_to(first.pid) == ()
    lead_to(first, "to-first", "eth0")
    lead_to(second, "to-second", "eth0")
    lead_to(first, "too", "eth1")
    assert run("ip", "link", "add", "here1", "type", "veth", "peer", "name", "here2").returncode == 0
    assert peers.links_to(first.pid) == ("to-first", "too")
    assert peers.links_to(second.pid) == ("to-second",)
    assert run("ip", "link", "delete", "too").returncode == 0
    assert peers.links_to(first.pid) == ("to-first",)


def test_a_link_made_up_inside_is_not_taken_for_ours(host, spawn):
    process = start_namespace(spawn)
    assert run("ip", "link", "add", "name", "ours", "index", "4242", "type", "bridge").returncode == 0
    made = run("ip", "link", "add", "name", "theirs", "index", "4243", "type", "veth", "peer", "eth0", "netns", str(process.pid))
    assert made.returncode == 0, made.stderr
    for number in ("4242", "4243"):
        with inside(process):  # a pair of its own, the one end with the number of a link of the host
            made = run("ip", "link", "add", "name", f"up{number}", "index", number, "type", "veth", "peer", "name", f"x{number}")
            assert made.returncode == 0, made.stderr
    assert peers.links_to(process.pid) == ("theirs",)


def test_who_is_in_this_namespace_or_has_ended_has_none(host, spawn):
    process = spawn("sleep", "100")
    assert peers.links_to(process.pid) == ()
    process.kill()
    process.wait()
    assert peers.links_to(process.pid) == ()
    assert peers.links_to(os.getpid()) == ()
