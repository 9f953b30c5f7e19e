"""Killed before any step of making or removing a network, the next start finds one whole or none."""

import json
import os
import re
import secrets
import signal
import subprocess

import pytest

from containers_app.kernel import firewall, netlink, networks, syscalls
from tests.kernel.netns import fresh_host, run

STEPS = (
    (netlink, "send"), (os, "write"), (os, "ftruncate"), (syscalls, "exchange"), (subprocess, "run"),
    (firewall, "let_loopback_in"),
)  # fmt: skip


def killed_before(step, action):
    """Fork, do ``action`` and die just before its ``step``-th step; False when it had fewer."""
    pid = os.fork()
    if pid == 0:
        left = step

        def counting(call):
            def counted(*args, **options):
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return call(*args, **options)

            return counted

        try:
            for module, name in STEPS:
                setattr(module, name, counting(getattr(module, name)))
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("action", ["make", "remove"])
def test_a_network_is_whole_or_gone(tmp_path, action):
    tag, step = secrets.token_hex(3), 0
    files = str(tmp_path / "network.json"), str(tmp_path / "forwarding.json")
    seen = set()
    with fresh_host():
        while True:
            first = networks.open_networks(tag, *files)
            if action == "remove":
                first.create("blue")
            first.assert_rules()
            killed = killed_before(step, lambda net=first: net.create("blue") if action == "make" else net.remove("blue"))
            found = networks.open_networks(tag, *files)
            found.assert_rules()
            check(found, files[0])
            seen.add("blue" in found.all)
            networks.remove_networks(tag, *files)
            assert networks.links(tag) == [] and run("nft", "list", "ruleset").stdout == ""
            if not killed:
                break
            step += 1
    assert step > 5 and seen == {True, False}


def check(found, state_file):
    """State file, links and rules name the same bridges."""
    with open(state_file) as file:
        named = {one["bridge"] for one in json.load(file).get("networks", [])}
    bridges = {one.bridge for one in found.all.values()}
    assert bridges == named | {found.default.bridge} == set(networks.links(found.tag))
    rules = run("nft", "list", "table", "inet", firewall.table_name(found.tag)).stdout
    assert set(re.findall(rf'"(tr{found.tag}[^"*]*)"', rules)) == bridges
