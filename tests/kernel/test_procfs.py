"""Reading processes and the host, from the real /proc and from made-up ones."""

import os
import subprocess
import time

from containers_app.kernel import procfs


def test_a_process_is_read_with_its_numbers():
    found = procfs.process(os.getpid())
    assert (found.pid, found.ppid, found.ns_pid, found.uid) == (os.getpid(), os.getppid(), os.getpid(), os.getuid())
    assert found.state == "running"
    assert found.argv
    assert found.rss > 1 << 20
    assert found.cpu_seconds > 0
    assert abs(found.started_at - time.time()) < 3600


def test_a_name_with_brackets_spaces_and_newlines_is_read_whole(tmp_path):
    folder = tmp_path / "7"
    folder.mkdir()
    fields = ["S", "1", *["0"] * 9, "250", "50", *["0"] * 4, "3", "0", "4200", "0", "10", *["0"] * 20]
    (folder / "stat").write_text("7 (a) (b\n)) " + " ".join(fields))
    (folder / "status").write_text("Name:\ta\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t7\t1\n")
    (folder / "cmdline").write_bytes(b"a\0\xff\0")
    (tmp_path / "stat").write_text("cpu 0\nbtime 1000\n")
    found = procfs.process(7, str(tmp_path))
    assert (found.name, found.state, found.ppid, found.ns_pid, found.uid) == ("a) (b\n)", "sleeping", 1, 1, 1000)
    assert (found.cpu_seconds, found.threads, found.rss) == (300 / procfs.TICKS, 3, 10 * procfs.PAGE)
    assert found.started_at == 1000 + 4200 / procfs.TICKS
    assert found.argv == ("a", "\ufffd")
    assert procfs.start_time(7, str(tmp_path)) == 4200


def test_of_arguments_without_end_the_first_are_told(tmp_path):
    """A program may declare any memory to be its arguments (PR_SET_MM): gigabytes of zeros that cost it nothing."""
    folder = tmp_path / "7"
    folder.mkdir()
    with open(folder / "cmdline", "wb") as file:
        file.write(b"a\0\0b\0")
        file.truncate(1 << 40)
    assert procfs.arguments(7, str(tmp_path)) == ("a", "", "b", *[""] * (procfs.MAX_ARGUMENTS - 5))
    (folder / "cmdline").write_bytes(b"title without an end")
    assert procfs.arguments(7, str(tmp_path)) == ("title without an end",)


def test_processes_that_are_gone_are_left_out(spawn):
    process = spawn("true")
    process.wait()
    assert procfs.process(process.pid) is None
    assert procfs.start_time(process.pid) is None
    assert [one.pid for one in procfs.processes([process.pid, os.getpid()])] == [os.getpid()]
    assert procfs.descendants(process.pid) == []


def test_a_zombie_is_told_as_one(spawn):
    process = spawn("true")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    found = procfs.process(process.pid)
    assert (found.state, found.argv, found.rss) == ("zombie", (), 0)


def test_a_family_is_found_parents_first(spawn):
    process = spawn("sh", "-c", "sleep 60 & echo; wait", stdout=subprocess.PIPE)
    process.stdout.readline()
    family = procfs.descendants(process.pid)
    try:
        assert family[0] == process.pid
        assert len(family) == 2
    finally:
        for pid in family[1:]:
            os.kill(pid, 9)


def test_the_host_is_read():
    memory = procfs.memory()
    assert 0 < memory.available < memory.total
    assert procfs.cpus() >= 1
    assert procfs.load() >= 0
    assert procfs.boot_time() < time.time()
    assert len(procfs.boot_id()) == 36


def test_a_host_without_pressure_has_none_and_a_kernel_without_a_configuration_says_so(tmp_path):
    assert procfs.pressure(str(tmp_path)) == {}
    assert procfs.kernel_config(str(tmp_path), str(tmp_path)) is None


def test_pressure_is_the_share_of_the_last_ten_seconds(tmp_path):
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/cpu").write_text("some avg10=1.53 avg60=0.87 total=12\nfull avg10=0.00 avg60=0 total=0\n")
    assert procfs.pressure(str(tmp_path)) == {"cpu": 1.53}
