"""Beside other firewalls: iptables policies, Docker's chains, Docker itself."""

import secrets
import shutil
import subprocess

import pytest

from containers_app.errors import KernelRefused
from containers_app.kernel import firewall, networks
from tests.kernel.netns import attach, fresh_host, inside, pings, run, start_namespace

WORLD = "198.51.100.1"

needs_iptables = pytest.mark.skipif(shutil.which("iptables", path="/usr/sbin:/sbin") is None, reason="iptables is not installed")


@pytest.fixture
def host(spawn):
    """A host with an uplink to a world that answers pings."""
    with fresh_host():
        process = start_namespace(spawn)
        there = f"nsenter --net=/proc/{process.pid}/ns/net ip"
        for command in (
            f"ip link add up0 type veth peer name up1 netns {process.pid}",
            "ip address add 198.51.100.2/24 dev up0",
            "ip link set up0 up",
            f"{there} address add {WORLD}/24 dev up1",
            f"{there} link set up1 up",
            f"ip route add default via {WORLD}",
        ):
            assert run(*command.split()).returncode == 0, command
        yield


@pytest.fixture
def files(tmp_path):
    return str(tmp_path / "network.json"), str(tmp_path / "forwarding.json")


def open_networks(*where):
    """As a worker does that starts and knows of no published port."""
    found = networks.open_networks(*where)
    found.assert_rules()
    return found


@pytest.fixture
def opened(host, files):
    return open_networks(secrets.token_hex(3), *files)


@pytest.fixture
def sandbox(opened, spawn):
    process = start_namespace(spawn)
    attach(process, opened.attachment(set()))
    return process


def rules(chain):
    return [line for line in run("iptables", "-S", chain).stdout.splitlines() if "terrarium-" in line]


def test_asking_iptables_leaves_no_trace(opened):
    assert "ip filter" not in run("nft", "list", "tables").stdout


@needs_iptables
def test_sandboxes_get_past_a_policy_of_drop(opened, files, sandbox):
    assert run("iptables", "-P", "FORWARD", "DROP").returncode == 0
    with inside(sandbox):
        assert not pings(WORLD)
    opened.assert_rules()
    with inside(sandbox):
        assert pings(WORLD)
    networks.remove_networks(opened.tag, *files)
    assert rules("FORWARD") == []
    assert run("iptables", "-S", "FORWARD").stdout.split() == ["-P", "FORWARD", "DROP"]


@needs_iptables
def test_rules_go_into_the_users_chain_of_docker_once(opened, files, sandbox):
    for command in ("-P FORWARD DROP", "-N DOCKER-USER", "-I FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN"):
        assert run("iptables", *command.split()).returncode == 0
    opened.assert_rules()
    opened.assert_rules()
    assert len(rules("DOCKER-USER")) == 2
    assert rules("FORWARD") == []
    with inside(sandbox):
        assert pings(WORLD)
    networks.remove_networks(opened.tag, *files)
    assert rules("DOCKER-USER") == []


@needs_iptables
def test_other_instances_rules_are_left_alone(opened, files, tmp_path):
    assert run("iptables", "-P", "FORWARD", "DROP").returncode == 0
    opened.assert_rules()
    other = open_networks("00aa00", str(tmp_path / "other.json"), files[1])
    assert len(rules("FORWARD")) == 4
    networks.remove_networks(opened.tag, *files)
    assert len(rules("FORWARD")) == 2
    assert all(f"terrarium-{other.tag}" in rule for rule in rules("FORWARD"))


@needs_iptables
@pytest.mark.skipif(shutil.which("dockerd") is None, reason="dockerd is not installed")
def test_docker_may_come_and_go_later(opened, files, sandbox, tmp_path):
    """A real daemon, with its bridge and rules in this test's namespace and its state under ``tmp_path``."""
    short = tmp_path / "d"
    argv = [
        *("dockerd", "-H", f"unix://{short}/sock", "--config-file", f"{short}/json", "--pidfile", f"{short}/pid"),
        *("--data-root", f"{short}/data", "--exec-root", f"{short}/exec", "--bip", "10.250.0.1/24", "--storage-driver", "vfs"),
    ]
    short.mkdir()
    (short / "json").write_text("{}")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            seen = []
            for line in daemon.stderr:
                seen.append(line)
                if "API listen on" in line:
                    break
            assert daemon.poll() is None, "".join(seen[-5:])
            assert "-P FORWARD DROP" in run("iptables", "-S", "FORWARD").stdout
            opened.assert_rules()
            with inside(sandbox):
                assert pings(WORLD)
                assert not pings("10.250.0.1")
            networks.remove_networks(opened.tag, *files)
            assert rules("DOCKER-USER") == []
            with open("/proc/sys/net/ipv4/ip_forward") as file:
                assert file.read() == "1\n"
        finally:
            daemon.terminate()
            daemon.stderr.read()
    assert daemon.returncode == 0


def test_rules_that_are_refused_say_so(host):
    with pytest.raises(KernelRefused, match="firewall rules were refused"):
        firewall.apply("table inet terrarium_000000 { nonsense }")


def test_a_name_with_a_quote_never_reaches_the_rules(host, files):
    assert run("ip", "link", "add", 'a"{', "type", "veth", "peer", "name", "b").returncode == 0
    assert run("ip", "address", "add", "203.0.113.1/24", "dev", 'a"{').returncode == 0
    assert run("ip", "link", "set", 'a"{', "up").returncode == 0
    assert run("ip", "route", "add", "default", "dev", 'a"{', "metric", "5").returncode == 0
    assert open_networks("00aa00", *files).default.bridge == "tr00aa00"
