"""Networks of Docker's: made, looked into, containers connected and disconnected, removed."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.errors import Conflict, EngineUnavailable, NotFound, TerrariumError
from containers_app.spec import NetworkSpec
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec, opened

SUBNET = f"10.{os.getpid() % 50 + 180}.77.0/24"


SUBNET6 = f"fd12:3456:{os.getpid() % 0x10000:x}:77::/64"


@pytest.fixture(autouse=True)
def networks(daemon: Dockerd) -> Iterator[None]:
    yield
    daemon.remove_containers()
    for name in daemon.docker("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").split():
        daemon.docker("network", "rm", name)


async def test_a_network_is_a_bridge_on_the_host_with_the_subnet_asked_for(docker: DockerEngine, daemon: Dockerd) -> None:
    made = await docker.network_store.create(NetworkSpec("blue", "docker", SUBNET, nat=True), "ann")
    assert (made.name, made.driver, made.subnet, made.owner, made.nat) == ("blue", "bridge", SUBNET, "ann", True)
    assert Path(f"/sys/class/net/{made.bridge}/bridge").is_dir()
    assert ipaddress.ip_address(made.gateway or "0.0.0.0") in ipaddress.ip_network(SUBNET) or made.gateway == ""
    assert daemon.docker("network", "inspect", "-f", "{{.Id}}", "blue") == made.id
    assert made in await docker.networks()
    await docker.network_store.remove("blue")
    assert not Path(f"/sys/class/net/{made.bridge}").exists()


async def test_a_network_has_the_ipv6_subnet_that_was_asked_for(docker: DockerEngine, daemon: Dockerd) -> None:
    made = await docker.network_store.create(NetworkSpec("six", "docker", SUBNET, SUBNET6), "ann")
    assert (made.subnet, made.subnet6) == (SUBNET, SUBNET6) and made in await docker.networks()
    one, two = [await docker.create(docker_spec(name, network="six"), "ann") for name in ("one", "two")]
    address = next(text for text in two.addresses if ":" in text)
    assert ipaddress.ip_address(address) in ipaddress.ip_network(SUBNET6)
    reached = await docker.execute(one.id, ("ping", "-6", "-c", "1", "-W", "2", address), 10)
    assert reached.exit_code == 0, reached
    with pytest.raises(TerrariumError) as raised:
        await docker.network_store.create(NetworkSpec("overlapping", "docker", "", SUBNET6), "ann")
    assert 400 <= raised.value.status < 500
    chosen = await docker.network_store.create(NetworkSpec("chosen", "docker", "", SUBNET6.replace("77::", "78::")), "ann")
    assert chosen.subnet and chosen.subnet6 and SUBNET6.replace("77::", "78::") in chosen.commands[0]


async def test_a_container_is_made_on_it_connected_and_disconnected(docker: DockerEngine) -> None:
    await docker.network_store.create(NetworkSpec("blue", "docker", SUBNET, nat=False), "ann")
    on_it = await docker.create(docker_spec("on-it", network="blue"), "ann")
    assert on_it.networks == ("blue",) and ipaddress.ip_address(on_it.addresses[0]) in ipaddress.ip_network(SUBNET)
    later = await docker.create(docker_spec("later"), "ann")
    await docker.network_store.connect("blue", later.id)
    found = await docker.network_store.get("blue")
    assert not found.nat and {one.name for one in found.containers} == {"on-it", "later"}
    assert [one.address for one in found.containers if one.name == "on-it"] == [on_it.addresses[0]]
    links = await docker.execute("later", ("ls", "/sys/class/net"), 10)
    assert links.stdout.split() == ["eth0", "eth1", "lo"]
    reached = await docker.execute("later", ("ping", "-c", "1", "-W", "2", on_it.addresses[0]), 10)
    assert reached.exit_code == 0
    await docker.network_store.disconnect("blue", later.id)
    assert (await docker.execute("later", ("ls", "/sys/class/net"), 10)).stdout.split() == ["eth0", "lo"]
    with pytest.raises(NotFound):
        await docker.network_store.disconnect("blue", later.id)


async def test_what_can_not_be_is_said(docker: DockerEngine) -> None:
    await docker.network_store.create(NetworkSpec("blue", "docker", SUBNET, nat=True), "ann")
    await docker.create(docker_spec("on-it", network="blue"), "ann")
    store = docker.network_store
    for work in (
        store.create(NetworkSpec("blue", "docker"), "ann"), store.create(NetworkSpec("overlapping", "docker", SUBNET), "ann"),
        store.create(NetworkSpec("apart", "docker", isolated=True), "ann"), store.remove("blue"),
        store.remove("bridge"), store.connect("blue", docker.get("on-it").id),
    ):  # fmt: skip
        with pytest.raises(TerrariumError) as raised:
            await work
        assert 400 <= raised.value.status < 500 and raised.value.message.startswith("Docker") and raised.value.hint
    with pytest.raises(NotFound):
        await store.get("red")
    with pytest.raises(Conflict):
        await store.create(NetworkSpec("blue", "docker"), "ann")


async def test_without_a_daemon_there_are_none(tmp_path: Path) -> None:
    async with opened(f"unix://{tmp_path}/none.sock") as (engine, _):
        assert await engine.networks() == []
        with pytest.raises(EngineUnavailable):
            await engine.network_store.create(NetworkSpec("blue", "docker", "", nat=True), "ann")
