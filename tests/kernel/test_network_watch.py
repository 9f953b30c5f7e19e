"""What somebody else takes of the networks' rules and bridges comes back."""

import secrets

import pytest

from containers_app.kernel import firewall, networks, nftables
from tests.kernel.netns import fresh_host, run


@pytest.fixture
def opened(tmp_path):
    with fresh_host():
        found = networks.open_networks(secrets.token_hex(3), str(tmp_path / "network.json"), str(tmp_path / "forwarding.json"))
        found.assert_rules()
        while found.look_after():
            pass
        yield found


def rules(net):
    tables = [("inet", firewall.table_name(net.tag)), ("bridge", firewall.table_name(net.tag))]
    return "".join(run("nft", "list", "table", *table).stdout for table in tables)


def test_nothing_is_done_while_nothing_changes(opened):
    before = nftables.generation()
    assert not opened.look_after()
    assert nftables.generation() == before


@pytest.mark.parametrize(
    "command",
    [
        "flush ruleset", "flush table inet {}", "delete table inet {}", "flush chain inet {} forward",
        "flush table bridge {}", "delete table bridge {}", "flush chain bridge {} port",
    ],
)  # fmt: skip
def test_rules_that_somebody_took_come_back(opened, command):
    whole = rules(opened)
    assert run("nft", *command.format(firewall.table_name(opened.tag)).split()).returncode == 0
    assert rules(opened) != whole
    assert opened.look_after()
    assert rules(opened) == whole
    assert not opened.look_after()


def test_the_set_that_the_rules_look_into_cannot_be_changed(opened):
    assert run("nft", "flush", "set", "bridge", firewall.table_name(opened.tag), "same").returncode != 0


def test_a_bridge_that_somebody_deleted_comes_back(opened):
    assert run("ip", "link", "delete", opened.default.bridge).returncode == 0
    assert opened.look_after()
    assert run("ip", "link", "show", opened.default.bridge).returncode == 0
    assert not opened.look_after()


def test_rules_past_a_closed_forward_chain_come_back(opened):
    assert run("iptables", "-P", "FORWARD", "DROP").returncode == 0
    opened.look_after()
    before = run("iptables", "-S", "FORWARD").stdout
    assert before.count(f"terrarium-{opened.tag}") == 2
    assert run("iptables", "-F", "FORWARD").returncode == 0
    opened.look_after()
    assert run("iptables", "-S", "FORWARD").stdout == before


def test_two_instances_do_not_keep_each_other_busy(opened, tmp_path):
    other = networks.open_networks("00aa00", str(tmp_path / "other.json"), opened.note)
    other.assert_rules()
    assert not opened.look_after() and not other.look_after()
    before = nftables.generation()
    assert not opened.look_after() and not other.look_after()
    assert nftables.generation() == before
