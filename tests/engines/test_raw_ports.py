"""Who has a port of the host: sandboxes, programs, Docker; running, stopped, started again."""

import socket
import subprocess

import pytest

from containers_app.engines.policy import Allow
from containers_app.errors import Conflict, PolicyRefused
from tests.engines.conftest import spec


def published(name, host_port=0, **port):
    return spec(name, command=["sleep", "100"], ports=[{"container_port": 80, "host_port": host_port, **port}])


async def test_a_stopped_sandboxs_port_is_free_and_its_next_start_says_who_took_it(raw):
    first = await raw.create(published("first"), "")
    port = first.ports[0].host_port
    fixed = await raw.create(published("fixed"), "")
    await raw.remove(fixed.id, force=True)
    fixed = await raw.create(published("fixed", fixed.ports[0].host_port), "")
    for box in (first, fixed):
        await raw.stop(box.id, 0)
    with socket.create_server(("0.0.0.0", port)):
        await raw.start(first.id)  # the panel had chosen that one, and chooses another
        assert raw.get(first.id).ports[0].host_port != port
    with socket.create_server(("0.0.0.0", fixed.ports[0].host_port)):
        with pytest.raises(Conflict, match=f"Port {fixed.ports[0].host_port} .* a program of this host") as told:
            await raw.start(fixed.id)
        assert told.value.code == "port_taken"
        assert raw.get(fixed.id).state == "exited"
    await raw.start(fixed.id)
    assert raw.get(fixed.id).ports == fixed.ports


async def test_a_chosen_port_is_kept_over_restarts_of_sandbox_and_worker(home):
    engine = home.engine()
    await engine.open(home.changes.append)
    box = await engine.create(published("box", protocol="udp"), "")
    for _ in range(3):
        await engine.restart(box.id, 0)
        assert engine.get(box.id).ports == box.ports
    await engine.stop(box.id, 0)
    await engine.close()
    engine = home.engine()
    await engine.open(home.changes.append)
    await engine.start(box.id)
    assert engine.get(box.id).ports == box.ports
    await engine.remove(box.id, force=True)
    await engine.close()


async def test_a_launch_that_fails_holds_no_port_and_leaves_no_rule(raw, home):
    before = rules(home)
    with pytest.raises(Exception, match="RunProgram"):
        await raw.create(spec("box", command=["/no/such"], ports=[{"container_port": 80, "host_port": 39123}]), "")
    assert rules(home) == before
    with socket.create_server(("0.0.0.0", 39123)):
        pass


def rules(home):
    command = ["nft", "--stateless", "list", "table", "inet", f"terrarium_{home.tag}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_the_policys_ports_and_addresses_bind(home):
    engine = home.engine(Allow(ports=("40000-40003", "41000"), port_addresses=("127.0.0.0/8",)))
    await engine.open(home.changes.append)
    try:
        for wrong in (published("box", 39999), published("box", 41001, host_ip="127.0.0.1"), published("box", 40000),
                      published("box", 40000, host_ip="0.0.0.0"), published("box", 40000, host_ip="192.0.2.1")):  # fmt: skip
            with pytest.raises(PolicyRefused):
                await engine.create(wrong, "")
        chosen = {(await engine.create(published(f"box-{n}", host_ip="127.0.0.1"), "")).ports[0].host_port for n in range(5)}
        assert chosen == {40000, 40001, 40002, 40003, 41000}
        with pytest.raises(Conflict, match="No port of the host is free"):
            await engine.create(published("late", host_ip="127.0.0.1"), "")
    finally:
        for box in engine.all():
            await engine.remove(box.id, force=True)
        await engine.close()


async def test_docker_and_we_never_have_the_same_port(raw, daemon):
    daemon.docker("run", "-d", "--name", "holds", "-p", "39200:80", "busybox", "sleep", "1000")
    with pytest.raises(Conflict, match=r"Port 39200 .* or by Docker"):
        await raw.create(published("second", 39200), "")
    daemon.docker("rm", "-f", "holds")
    await raw.create(published("first", 39200), "")
    daemon.docker("create", "--name", "late", "-p", "39200:80", "busybox", "sleep", "1000")
    with pytest.raises(AssertionError, match="address already in use"):
        daemon.docker("start", "late")
