"""The numbers of containers and of the host, from real control groups and from a made-up cgroup v2 tree."""

import os
import subprocess
import sys
import time

import pytest

from containers_app.kernel import block
from containers_app.kernel.cgroups import choose
from containers_app.worker.sampler import Sampler, each_byte_once, net_counters, raise_file_limit

BURN = "while True: pass"
TRAFFIC = """
import socket, sys
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(flush=True)
for line in sys.stdin:
    for _ in range(100):
        sender.sendto(bytes(1000), ("10.99.0.2", 9))
    print(flush=True)
"""


@pytest.fixture
def top(cgroups):
    name = f"terrarium-t{os.getpid():x}s"
    yield name
    for inner in ("one", "two", "three"):
        cgroups.kill(cgroups.paths(f"{name}/{inner}"))
    cgroups.remove(cgroups.paths(name))


@pytest.fixture
def sampler(cgroups):
    sampler = Sampler(cgroups)
    yield sampler
    sampler.close()


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_the_first_sample_knows_amounts_but_no_rates(cgroups, top, sampler, spawn):
    paths = cgroups.create(f"{top}/one", {"memory": 64 << 20, "pids": 50})
    process = spawn(sys.executable, "-c", "input()", paths=paths, stdin=subprocess.PIPE)
    sampler.track("one", paths, process.pid, {"memory": 64 << 20, "pids": 50, "cpu": None})
    stats = sampler.sample().rows["one"]
    assert (stats.pids, stats.memory_limit, stats.pids_limit, stats.cpu_limit) == (1, 64 << 20, 50, None)
    assert stats.memory is not None
    assert (stats.cpu, stats.throttled, stats.io_read, stats.net_in) == (None, None, None, None)


def test_cpu_is_in_cores_and_the_share_of_throttled_periods_is_seen(cgroups, top, sampler, spawn):
    paths = cgroups.create(f"{top}/one", {"cpu": 0.1})  # less than a busy machine leaves it
    spawn(sys.executable, "-c", BURN, paths=paths)
    sampler.track("one", paths, 0, {"cpu": 0.1})
    time.sleep(0.3)  # past the interpreter's start
    sampler.sample()
    time.sleep(1)
    stats = sampler.sample().rows["one"]
    assert stats.cpu == pytest.approx(0.1, abs=0.03)
    assert stats.throttled > 0.5
    assert stats.cpu_limit == 0.1


def test_who_is_held_back_by_the_limit_of_a_group_above_is_not_told_as_free(cgroups, top, sampler, spawn):
    cgroups.create_parent(top, {"cpu": 0.1})
    paths = cgroups.create(f"{top}/one", {})
    spawn(sys.executable, "-c", BURN, paths=paths)
    sampler.track("one", paths, 0, {"cpu": 0.1})
    time.sleep(0.3)
    sampler.sample()
    time.sleep(1)
    stats = sampler.sample().rows["one"]
    assert stats.cpu == pytest.approx(0.1, abs=0.03) and stats.throttled is None
    sampler.track("one", paths, 0, {})
    time.sleep(0.3)
    assert sampler.sample().rows["one"].throttled == 0.0, "without any limit nothing holds it back"


def test_memory_does_not_count_inactive_file_cache(cgroups, top, sampler, spawn, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(32 << 20))
    paths = cgroups.create(f"{top}/one", {})
    with open(file, "rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    reader = spawn("sh", "-c", f"cat {file} > /dev/null; echo; exec sleep 60", paths=paths, stdout=subprocess.PIPE)
    reader.stdout.readline()
    sampler.track("one", paths, reader.pid)
    assert sampler.sample().rows["one"].memory < 16 << 20


def test_network_is_counted_once_for_each_namespace_and_never_for_the_hosts(cgroups, top, sampler, spawn):
    script = "ip link set lo up; ip link add d0 type veth peer name d1; ip addr add 10.99.0.1/24 dev d0; "
    script += "ip link set d0 up; ip link set d1 up; ip neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev d0; "
    script += f'exec {sys.executable} -c "$0"'
    first, second, third = (cgroups.create(f"{top}/{name}", {}) for name in ("one", "two", "three"))
    owner = spawn(
        "unshare", "-n", "sh", "-c", script, TRAFFIC, paths=first, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    owner.stdout.readline()
    share = ("nsenter", f"--net=/proc/{owner.pid}/ns/net", "sh", "-c", "echo; exec sleep 60")
    sharer = spawn(*share, paths=second, stdout=subprocess.PIPE)
    sharer.stdout.readline()
    host = spawn("sleep", "60", paths=third)
    for name, paths, process in (("one", first, owner), ("two", second, sharer), ("three", third, host)):
        sampler.track(name, paths, process.pid)
    sampler.sample()
    owner.stdin.write("go\n")
    owner.stdin.flush()
    owner.stdout.readline()
    time.sleep(0.05)
    rows = sampler.sample().rows
    assert rows["one"].net_out > 100_000
    assert rows["one"].net_in is not None
    assert (rows["two"].net_out, rows["three"].net_out) == (None, None)
    sampler.forget("one")
    sampler.sample()
    time.sleep(0.05)
    assert sampler.sample().rows["two"].net_out is not None


def test_what_goes_on_between_links_inside_is_not_counted_and_a_long_list_is_read_to_its_end(tmp_path):
    def line(name, received, sent):
        return f"{name:>6}: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n"

    inner = [line(name, 500, 500) for name in ("lo", "docker0", "br-0a1b2c", "veth1a2b", "tun0", "wg0", "cni0")]
    many = [line(f"eth{number}", 10, 1) for number in range(200)]
    (tmp_path / "dev").write_text("Inter-|\n face |\n" + "".join(inner + many + [line("lower0", 7, 0)]))
    assert net_counters(str(tmp_path / "dev"))[1:] == (2007, 200)


def test_bytes_that_go_through_devices_on_top_of_each_other_are_counted_once(tmp_path, monkeypatch):
    """An encrypted disk on a partition: sda has a line too. sdb stands for itself."""
    for place in ("dev/block/8:0/sda2/holders/dm-0", "dev/block/8:16/holders", "dev/block/253:0/holders", "block/dm-0"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "block/dm-0/dev").write_text("253:0\n")
    monkeypatch.setattr(block, "_SYS", str(tmp_path))
    both = b"8:0 rbytes=1000 wbytes=10\n253:0 rbytes=900 wbytes=9\n8:16 rbytes=5 wbytes=0\n"
    assert each_byte_once(both) == b"253:0 rbytes=900 wbytes=9\n8:16 rbytes=5 wbytes=0\n"
    assert each_byte_once(b"8:0 Read 4\n8:0 Write 1\nTotal 5\n") == b"8:0 Read 4\n8:0 Write 1\nTotal 5\n"


def test_a_group_that_vanished_is_left_out_and_seen_again_when_it_is_back(cgroups, top, sampler, spawn):
    paths = cgroups.create(f"{top}/one", {})
    sampler.track("one", paths, 0)
    assert "one" in sampler.sample().rows
    cgroups.remove(paths)
    before = open_files()
    assert "one" not in sampler.sample().rows
    assert open_files() < before
    cgroups.create(f"{top}/one", {})
    spawn("sleep", "60", paths=paths)
    stats = sampler.sample().rows["one"]
    assert (stats.pids, stats.cpu) == (1, None)


def test_forgetting_and_closing_leave_no_file_open(cgroups, top, sampler):
    before = open_files()
    for name in ("one", "two"):
        sampler.track(name, cgroups.create(f"{top}/{name}", {}), 0)
    sampler.sample()
    assert open_files() > before
    sampler.forget("one")
    sampler.forget("one")
    assert list(sampler.sample().rows) == ["two"]
    sampler.close()
    assert open_files() == before


def test_tracking_again_takes_new_limits_and_keeps_the_rates(cgroups, top, sampler):
    paths = cgroups.create(f"{top}/one", {})
    sampler.track("one", paths, 0)
    sampler.sample()
    sampler.track("one", paths, 0, {"memory": 1 << 20})
    time.sleep(0.02)
    stats = sampler.sample().rows["one"]
    assert (stats.memory_limit, stats.cpu) == (1 << 20, 0.0)


def test_with_few_files_the_busiest_keep_theirs_and_all_are_sampled(cgroups, top, spawn):
    sampler = Sampler(cgroups, file_budget=6)
    try:
        for name in ("one", "two", "three"):
            sampler.track(name, cgroups.create(f"{top}/{name}", {}), 0)
        spawn(sys.executable, "-c", BURN, paths=cgroups.paths(f"{top}/three"))
        before = open_files()
        for _ in range(12):
            time.sleep(0.02)
            assert set(sampler.sample().rows) == {"one", "two", "three"}
            assert open_files() <= before + 6
        assert sampler._tracked["three"].fds is not None
    finally:
        sampler.close()


def test_the_host_is_sampled_too(sampler):
    first = sampler.sample().host
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        pass
    host = sampler.sample().host
    assert first.cpu is None
    assert 0 < host.cpu <= host.cpus
    assert 0 < host.memory < host.memory_total
    assert abs(sampler.sample().time - time.time()) < 5


def test_the_file_limit_is_raised_to_what_is_allowed():
    import resource

    limit = raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(limit, 1 << 20)


def test_a_version_2_group_is_read_from_its_own_files(tmp_path):
    group = tmp_path / "cgroup/terrarium-fake/one"
    group.mkdir(parents=True)
    (tmp_path / "cgroup/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    for process in ("self", "1"):
        (tmp_path / process).mkdir()
    (tmp_path / "self/mountinfo").write_text(f"30 25 0:26 / {tmp_path}/cgroup rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "stat").write_text("cpu  10 0 10 80 0 0 0 0 0 0\n")

    def put(usec, periods, throttled, read):
        (group / "cpu.stat").write_text(
            f"usage_usec {usec}\nuser_usec 1\nsystem_usec 1\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec 9\n"
        )
        (group / "io.stat").write_text(
            f"8:0 rbytes={read} wbytes=500 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n"
        )

    (group / "memory.current").write_text("1000000\n")
    (group / "memory.stat").write_text("anon 5\nfile 6\ninactive_anon 7\nactive_anon 8\ninactive_file 400000\nactive_file 1\n")
    (group / "pids.current").write_text("4\n")
    put(1_000_000, 10, 0, 1000)
    cgroups = choose(str(tmp_path / "cgroup"), str(tmp_path))
    sampler = Sampler(cgroups, proc=str(tmp_path))
    try:
        sampler.track("one", cgroups.paths("terrarium-fake/one"), 0)
        first = sampler.sample().rows["one"]
        assert (first.memory, first.pids, first.cpu) == (600_000, 4, None)
        time.sleep(0.1)
        put(1_100_000, 20, 5, 2000)
        second = sampler.sample().rows["one"]
        assert 0 < second.cpu <= 1.0
        assert second.throttled == 0.5
        assert 0 < second.io_read <= 10_000
        assert second.io_write == 0.0
    finally:
        sampler.close()
