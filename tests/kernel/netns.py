"""Network namespaces of a test's own: a stand-in for the host, sandboxes in it, and the world behind its uplink.

The thread itself enters the namespace, so that what runs in the test, and the programs it starts, take the stand-in
for their host. Leaving it (and the end of the processes in it) takes every link, rule and setting away.
"""

import os
import struct
import subprocess
from contextlib import contextmanager

from containers_app.kernel import netlink, network, syscalls

THREAD = "/proc/thread-self/ns/net"


@contextmanager
def fresh_host():
    before = os.open(THREAD, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("0")  # a new one begins with what the real host has, which may be a router
        netlink.send(network.loopback_messages())
        yield
    finally:
        syscalls.setns(before, syscalls.CLONE_NEWNET)
        os.close(before)


@contextmanager
def inside(process):
    """The body runs in the network namespace of ``process``."""
    before = os.open(THREAD, os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(there, syscalls.CLONE_NEWNET)
        yield
    finally:
        syscalls.setns(before, syscalls.CLONE_NEWNET)
        os.close(before)
        os.close(there)


def start_namespace(spawn):
    """A process in a network namespace of its own; returns when it is there."""
    process = spawn("unshare", "--net", "sh", "-c", "echo ready; exec sleep 120", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def attach(process, attachment):
    """What the keeper and the sandbox's first process do."""
    message, offset = network.link_message(attachment)
    patched = bytearray(message)
    struct.pack_into("=I", patched, offset, process.pid)
    netlink.send([bytes(patched)])
    with inside(process):
        netlink.send(network.inside_messages(attachment))


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)


def pings(address):
    return run("busybox", "ping", "-c", "1", "-W", "1", str(address)).returncode == 0


def setting(link):
    with open(f"/proc/sys/net/ipv4/conf/{link}/forwarding") as file:
        return file.read().strip()


def setting6(link, name):
    with open(f"/proc/sys/net/ipv6/conf/{link}/{name}") as file:
        return file.read().strip()
