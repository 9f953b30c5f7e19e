"""The messages that are built by hand, held against pyroute2's reading of them and of what they did."""

import errno
import socket
import struct
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pyroute2 import IPRoute
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
    from pyroute2.netlink.rtnl.ndmsg import ndmsg
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

from containers_app.kernel import netlink, network, subnets
from tests.kernel.netns import fresh_host, run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def host():
    with fresh_host():
        yield


def decode(kind, message):
    decoded = kind(message)
    decoded.decode()
    return decoded


def test_the_pids_place_is_where_the_message_says(host):
    message, offset = netlink.new_veth("trx-1", 7, "eth0", "02:74:0a:00:00:05")
    patched = bytearray(message)
    struct.pack_into("=I", patched, offset, 4321)
    create, quiet, guard, entry = netlink.split(bytes(patched))
    link = decode(ifinfmsg, create)
    assert (link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MASTER")) == ("trx-1", 7)
    peer = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert peer.get_attr("IFLA_NET_NS_PID") == 4321
    assert (peer.get_attr("IFLA_IFNAME"), peer.get_attr("IFLA_ADDRESS")) == ("eth0", "02:74:0a:00:00:05")
    assert decode(ifinfmsg, quiet).get_nested("IFLA_AF_SPEC", "AF_INET6").get_attr("IFLA_INET6_ADDR_GEN_MODE") == 1
    port = decode(ifinfmsg, guard).get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA")
    assert port.get_attr("IFLA_BRPORT_ISOLATED") == 1
    assert (port.get_attr("IFLA_BRPORT_LEARNING"), port.get_attr("IFLA_BRPORT_UNICAST_FLOOD")) == (0, 0)
    own = decode(ndmsg, entry)
    assert (own["family"], own["ifindex"], own["state"], own["flags"]) == (socket.AF_BRIDGE, 0, 0x40, 0x04)
    assert own.get_attr("NDA_LLADDR") == "02:74:0a:00:00:05"


def test_a_default_route_reads_as_one():
    route = decode(rtmsg, netlink.default_route("10.9.0.1"))
    assert (route["dst_len"], route["table"], route.get_attr("RTA_GATEWAY")) == (0, 254, "10.9.0.1")


def test_every_message_asks_for_an_acknowledgement():
    attachment = network.Attachment("10.9.0.2", 20, "10.9.0.1", "02:74:0a:09:00:02", "tr0000aa-2", "tr0000aa")
    for message in [*network.inside_messages(attachment), *netlink.split(netlink.new_veth("a", 1, "b", attachment.mac)[0])]:
        assert struct.unpack_from("=H", message, 6)[0] & 0x5 == 0x5


def test_links_addresses_and_routes_are_read_as_pyroute2_reads_them(host):
    netlink.send([
        netlink.new_bridge("trx", "02:74:0a:09:00:01"),
        netlink.new_address("trx", "10.9.0.1", 20),
        netlink.link_up("trx"),
        netlink.default_route("10.9.0.2"),
    ])  # fmt: skip
    assert run("ip", "link", "add", "va", "master", "trx", "type", "veth", "peer", "name", "vb").returncode == 0
    with IPRoute() as oracle:
        links = {
            link["index"]: (link.get_attr("IFLA_IFNAME"), link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "")
            for link in oracle.get_links()
        }
        addresses = {(one["index"], one.get_attr("IFA_ADDRESS"), one["prefixlen"]) for one in oracle.get_addr(family=2)}
        routes = {(one.get_attr("RTA_DST"), one["dst_len"]) for one in oracle.get_routes(family=2) if one["dst_len"] >= 8}
    found = subnets.read_links()
    assert {index: (link.name, link.kind) for index, link in found.items()} == links
    assert {(index, str(address), prefix) for index, address, prefix in subnets.read_addresses()} == addresses
    assert {(str(one.network_address), one.prefixlen) for one in subnets.taken_networks(())} >= routes
    assert {link.master for link in found.values() if link.name == "va"} == {found[2].index}
    assert subnets.uplinks(found) == ["trx"]


def test_a_refusal_raises_with_the_kernels_errno_and_stops(host):
    bridge = netlink.new_bridge("trx", "02:74:0a:09:00:01")
    netlink.send([bridge])
    with pytest.raises(OSError, match="set up a link") as refused:
        netlink.send([bridge, netlink.delete_link("trx")])
    assert refused.value.errno == errno.EEXIST
    assert "trx" in {link.name for link in subnets.read_links().values()}


def test_a_link_is_not_touched_when_its_creation_was_refused(host):
    netlink.send([netlink.new_bridge("trx", "02:74:0a:09:00:01")])
    message, _ = netlink.new_veth("trx", 1, "eth0", "02:74:0a:09:00:02")
    with pytest.raises(OSError, match="set up a link"):
        netlink.send([message])
    assert "UP" not in run("ip", "-brief", "link", "show", "trx").stdout.split()[2]


def test_a_message_cut_short_is_refused(host):
    with pytest.raises(OSError, match="cut short"):
        netlink.send([netlink.link_up("lo")[:-4]])


def test_the_module_imports_the_standard_library_only():
    script = "import sys; import containers_app.kernel.netlink; print(*sys.modules)"
    loaded = run("python3", "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}").stdout.split()
    assert "containers_app.kernel.netlink" in loaded
    assert not {"pyroute2", "msgspec", "asyncio", "ctypes"} & set(loaded)
