"""The kernel's totals: networks are counted once, disks by device, and what ends meanwhile is left out."""

import os
import subprocess

import pytest

from containers_app.engines.base import Container, NamespaceView
from containers_app.kernel.cgroups import choose
from containers_app.worker import metrics
from tests.groups import joining


@pytest.fixture
def run():
    """In control groups of their own; removed afterwards."""
    cgroups, started, groups = choose(), [], []

    def start(name, *argv, joined=False):
        paths = cgroups.create(f"terrarium-t{os.getpid():x}{name}", {})
        groups.append(paths)
        process = subprocess.Popen(argv, preexec_fn=joining(cgroups, paths), stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()
        views = {"net": NamespaceView(1, "container:other" if joined else "private")}
        facts = {"node": "here", "engine": "raw", "state": "running", "image": "busybox", "started_at": 100.0 - len(started)}
        return Container(id=name, name=name, pid=process.pid, cgroups=paths, namespaces=views, **facts)

    yield cgroups, start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    for paths in groups:
        cgroups.kill(paths)
        cgroups.remove(paths)


def test_a_shared_network_is_counted_for_its_owner_and_the_hosts_for_the_host(run):
    cgroups, start = run
    script = "ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up; echo; exec sleep 60"
    owner = start("owner", "unshare", "-n", "sh", "-c", script)
    share = ("nsenter", f"--net=/proc/{owner.pid}/ns/net", "sh", "-c", "echo; exec sleep 60")
    sharer = start("sharer", *share, joined=True)  # it says that it started earlier
    host = start("host", "sh", "-c", "echo; exec sleep 60")
    found = {one.name: one for one in metrics.read([sharer, host, owner], cgroups).groups}
    assert {network.interface for network in found["owner"].networks} == {"d0", "d1"}
    assert found["sharer"].networks == found["host"].networks == ()
    assert {network.interface for network in found[""].networks}.isdisjoint({"lo", "d0"})
    left = {one.name: one for one in metrics.read([sharer, host], cgroups).groups}
    assert {network.interface for network in left["sharer"].networks} == {"d0", "d1"}


def test_what_ended_is_left_out(run):
    cgroups, start = run
    gone = start("gone", "sh", "-c", "echo; exec sleep 60")
    cgroups.kill(gone.cgroups)
    cgroups.remove(gone.cgroups)
    assert [one.group for one in metrics.read([gone], cgroups).groups] == ["/"]


def test_totals_of_a_version_2_group(tmp_path):
    group = tmp_path / "cgroup/terrarium-fake/one"
    group.mkdir(parents=True)
    (tmp_path / "cgroup/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    for process in ("self", "1"):
        (tmp_path / process).mkdir()
    (tmp_path / "self/mountinfo").write_text(f"30 25 0:26 / {tmp_path}/cgroup rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "stat").write_text("cpu  100 0 100 80 7 0 0 0 0 0\nbtime 1700000000\n")
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 400 kB\nSwapTotal: 5 kB\nSwapFree: 5 kB\n")
    for name, text in {
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\nsystem_usec 1\nnr_periods 10\nnr_throttled 3\nthrottled_usec 250000\n",
        "memory.current": "1000000\n",
        "memory.stat": "anon 500000\nfile 450000\ninactive_anon 7\nactive_anon 8\ninactive_file 400000\nactive_file 1\n",
        "memory.events": "low 0\nhigh 0\nmax 4\noom 2\noom_kill 2\noom_group_kill 0\n",
        "pids.current": "4\n",
        "cgroup.procs": "11\n12\n",
        "io.stat": "254:9999 rbytes=1000 wbytes=500 rios=1 wios=1 dbytes=0 dios=0\n254:9998 rbytes=1 wbytes=0 rios=1 wios=0\n",
    }.items():
        (group / name).write_text(text)
    cgroups = choose(str(tmp_path / "cgroup"), str(tmp_path))
    container = Container(
        id="one", node="here", engine="raw", name="one", state="running", image="x", cgroups=cgroups.paths("terrarium-fake/one")
    )
    host, one = metrics.read([container], cgroups, str(tmp_path)).groups
    assert (host.cpu, host.memory, host.started_at) == (200 / os.sysconf("SC_CLK_TCK"), 600 * 1024, 1700000000)
    assert one.group == "/terrarium-fake/one"
    assert (one.cpu, one.periods, one.throttled_periods, one.throttled) == (1.5, 10, 3, 0.25)
    assert (one.memory, one.working_set, one.anonymous, one.files) == (1_000_000, 600_000, 500_000, 450_000)
    assert (one.oom_kills, one.processes, one.threads) == (2, 2, 4)
    assert [(disk.device, disk.read, disk.written) for disk in one.disks] == [("254:9999", 1000, 500), ("254:9998", 1, 0)]
