"""A sandbox that lies about its addresses, with the capability to make frames by hand that each has by default."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from containers_app.engines.base import Container
from containers_app.engines.raw import RawEngine
from containers_app.kernel import firewall
from containers_app.kernel.network import Attachment
from containers_app.kernel.networks import remove_networks
from containers_app.spec import NetworkSpec
from tests import frames
from tests.frames import ARP, EVERYBODY, IPV4, IPV6, STRANGER, arp, discovery, frame, link_local, udp4, udp6
from tests.kernel.netns import inside, run

from ..conftest import Home, spec, until
from .conftest import Compile, write_image

SEND = """
#include <net/if.h>
#include <linux/if_packet.h>
#include <arpa/inet.h>
int main(int count, char **words) { /* how often, and frames in hexadecimal digits */
    int out = socket(AF_PACKET, SOCK_RAW, htons(3));
    struct sockaddr_ll eth0 = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("eth0"), .sll_protocol = htons(3)};
    if (bind(out, (void *)&eth0, sizeof eth0)) { say("bind", -1); return 1; }
    long sent = 0;
    for (int turn = 0; turn < atoi(words[1]); turn++)
        for (char **word = words + 2; *word; word++) {
            unsigned char frame[2000];
            int size = strlen(*word) / 2;
            for (int at = 0; at < size; at++) sscanf(*word + 2 * at, "%2hhx", frame + at);
            sent += send(out, frame, size, 0) == size;
        }
    printf("%ld\\n", sent);
}
"""
FLOOD = """
#include <net/if.h>
#include <linux/if_packet.h>
#include <arpa/inet.h>
int main(void) {
    int out = socket(AF_PACKET, SOCK_RAW, htons(3));
    struct sockaddr_ll eth0 = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("eth0"), .sll_protocol = htons(3)};
    if (bind(out, (void *)&eth0, sizeof eth0)) { say("bind", -1); return 1; }
    unsigned char frame[60];
    memset(frame, 0xff, 6);
    frame[6] = 2;
    for (int number = 0; number < 5000; number++) {
        memcpy(frame + 7, &number, 4);
        send(out, frame, sizeof frame, 0);
    }
    printf("5000\\n");
}
"""
ECHO = ["nc", "-ll", "-p", "7000", "-e", "cat"]


@pytest.fixture
def place(home: Home, raw: RawEngine, compiled: Compile) -> Iterator[str]:
    """The name of an image with the programs above."""
    yield write_image(home, "liar", {"send": compiled(SEND), "flood": compiled(FLOOD)})


def attachment(raw: RawEngine, box: Container) -> Attachment:
    record = next(record for record in raw.wire._records() if record.id == box.id)
    assert record.attachment is not None
    return record.attachment


def entries(bridge: str) -> dict[str, str]:
    """MAC address → port, without what the kernel has of its own."""
    shown = json.loads(run("bridge", "-json", "fdb", "show", "br", bridge).stdout)
    return {one["mac"]: one["ifname"] for one in shown if one.get("state") != "permanent"}


async def answers(address: str, port: int) -> bool:
    """Whether the echo server is there, once it has started."""
    for _ in range(40):
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
        except (OSError, TimeoutError):
            await asyncio.sleep(0.05)
            continue
        try:
            writer.write(b"hello\n")
            return await asyncio.wait_for(reader.readline(), 5) == b"hello\n"
        except (OSError, TimeoutError):
            continue
        finally:
            writer.close()
    return False


def lies(own: Attachment, victim: Attachment) -> list[bytes]:
    """What moves a victim's traffic to another's port where nobody looks."""
    bridge = mac_address_of_bridge(own)
    found = [frame(victim.mac, to, IPV4, udp4(victim.address, own.gateway, 9, b"forged")) for to in (bridge, EVERYBODY, STRANGER)]
    for operation in (frames.ASK, frames.ANSWER):
        for asked in (own.gateway, victim.address):
            found.append(frame(own.mac, EVERYBODY, ARP, arp(operation, own.mac, victim.address, asked)))
            found.append(frame(own.mac, "01:80:c2:00:00:0e", ARP, arp(operation, own.mac, victim.address, asked)))
    for source in (own.address6, victim.address6, link_local(own.mac)):
        found.append(frame(own.mac, bridge, IPV6, discovery(frames.ADVERTISE, source, own.gateway6, victim.address6, own.mac)))
    return found


def mac_address_of_bridge(one: Attachment) -> str:
    with open(f"/sys/class/net/{one.bridge}/address") as file:
        return file.read().strip()


async def test_a_victim_keeps_its_traffic_while_another_forges_its_addresses(raw: RawEngine, place: str) -> None:
    victim = await raw.create(spec("victim", image=place, command=ECHO, ports=[{"container_port": 7000}]), "")
    liar = await raw.create(spec("liar", image=place), "")
    own, his = attachment(raw, liar), attachment(raw, victim)
    port = victim.ports[0].host_port
    for address, number in ((his.address, 7000), (his.address6, 7000), ("127.0.0.1", port)):
        assert await answers(address, number)
    before = entries(own.bridge)
    assert before[own.mac] == own.link and before[his.mac] == his.link
    forged = lies(own, his)
    sending = asyncio.create_task(raw.execute(liar.id, ("/send", "2000", *(one.hex() for one in forged)), 60))
    for address, number in ((his.address, 7000), (his.address6, 7000), ("127.0.0.1", port)) * 5:
        assert await answers(address, number)
    assert (await sending).stdout == f"{2000 * len(forged)}\n"
    told = run("ip", "neighbour", "show").stdout.splitlines()
    for address in (his.address, his.address6):
        (line,) = [line for line in told if line.startswith(f"{address} ")]
        assert his.mac in line
    now = entries(own.bridge)
    assert now[own.mac] == own.link and now[his.mac] == his.link


async def test_nothing_comes_from_an_address_that_is_not_the_sandboxes_own(raw: RawEngine, place: str) -> None:
    """Not even to another sandbox of a network on which they are together, which has no firewall in between."""
    await raw.wire.create_network(NetworkSpec("together", isolated=False))
    victim = await raw.create(spec("victim", image=place, network="together"), "")
    liar = await raw.create(spec("liar", image=place, network="together"), "")
    own, his = attachment(raw, liar), attachment(raw, victim)
    assert (await raw.execute(liar.id, ("ping", "-c", "1", "-W", "10", his.address), 20)).exit_code == 0  # by broadcast
    with inside(victim):
        four, six = (socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6))
        four.bind((his.address, 7000))
        six.bind((his.address6, 7000))
    sent = [frame(STRANGER, his.mac, IPV4, udp4(own.address, his.address, 7000, b"forged"))]
    for source in (own.gateway, "192.0.2.1", "0.0.0.0"):
        sent.append(frame(own.mac, his.mac, IPV4, udp4(source, his.address, 7000, b"forged")))
    for source in (own.gateway6, "2001:db8::1", link_local(STRANGER), "::"):
        sent.append(frame(own.mac, his.mac, IPV6, udp6(source, his.address6, 7000, b"forged")))
    sent.append(frame(own.mac, his.mac, IPV4, udp4(own.address, his.address, 7000, b"true")))
    sent.append(frame(own.mac, his.mac, IPV6, udp6(own.address6, his.address6, 7000, b"true")))
    with four, six:
        assert (await raw.execute(liar.id, ("/send", "1", *(one.hex() for one in sent)), 20)).stdout == f"{len(sent)}\n"
        for heard in (four, six):
            heard.settimeout(20)
            assert heard.recv(100) == b"true"


async def test_a_flood_of_macs_leaves_the_bridge_as_it_was(raw: RawEngine, place: str) -> None:
    box = await raw.create(spec(image=place), "")
    own = attachment(raw, box)
    await until(lambda: own.mac in entries(own.bridge))
    assert (await raw.execute(box.id, ("/flood",), 30)).stdout == "5000\n"
    assert [mac for mac in entries(own.bridge) if not mac.startswith("02:74:")] == []
    assert len(entries(own.bridge)) < 10


@pytest.mark.parametrize("killed", [False, True])
async def test_nothing_is_left_of_a_sandbox_that_has_gone(home: Home, compiled: Compile, killed: bool) -> None:
    """``killed``: with its keeper, while there is no worker."""
    image = write_image(home, "liar", {"send": compiled(SEND)})
    engine = home.engine()
    await engine.open(home.changes.append)
    box = await engine.create(spec(image=image), "")
    own = attachment(engine, box)
    assert entries(own.bridge)[own.mac] == own.link
    if killed:
        await engine.close()
        home.kill_keeper()
        os.kill(box.pid, signal.SIGKILL)
        home.start_keeper()
        engine = home.engine()
        await engine.open(home.changes.append)
    await engine.remove(box.id, force=True)
    await engine.close()
    await until(lambda: own.mac not in entries(own.bridge))
    remove_networks(home.tag, str(home.data / "state" / "network.json"))
    assert firewall.table_name(home.tag) not in run("nft", "list", "tables").stdout


async def test_a_sandbox_of_an_earlier_version_is_bound_to_its_address_by_the_next_worker(home: Home, compiled: Compile) -> None:
    image = write_image(home, "liar", {"send": compiled(SEND)})
    engine = home.engine()
    await engine.open(home.changes.append)
    box = await engine.create(spec(image=image), "")
    own = attachment(engine, box)
    await engine.close()
    open_port = ("learning", "on", "flood", "on", "locked", "off", "group_fwd_mask", "0")
    assert run("ip", "link", "set", own.link, "type", "bridge_slave", *open_port).returncode == 0
    assert run("bridge", "fdb", "delete", own.mac, "dev", own.link, "master").returncode == 0
    engine = home.engine()
    await engine.open(home.changes.append)
    try:
        shown = json.loads(run("ip", "-json", "-details", "link", "show", own.link).stdout)
        port = shown[0]["linkinfo"]["info_slave_data"]
        wanted = {"isolated": True, "learning": False, "flood": False, "locked": True, "group_fwd_mask": "0xfffd"}
        assert {name: port[name] for name in wanted} == wanted and entries(own.bridge)[own.mac] == own.link
    finally:
        await engine.remove(box.id, force=True)
        await engine.close()


async def test_the_commands_tell_of_it(raw: RawEngine) -> None:
    (port,) = [line for line in raw.preview(spec()) if "bridge_slave" in line]
    assert "isolated on learning off flood off locked on" in port
    assert [
        line for line in raw.preview(spec()) if line.startswith("bridge fdb replace 02:74:") and line.endswith("master static")
    ]
