"""The same functions where only cgroup v2 is mounted: on a made-up tree, and on this host's own v2 hierarchy."""

import os
import subprocess
from pathlib import Path

import pytest

from containers_app.errors import InvalidInput, KernelRefused, NotFound, Unsupported
from containers_app.kernel.cgroups import choose, files
from containers_app.spec import LIMITS, NET_LIMITS

MEGABYTE = 1 << 20


class Tree:
    """A v2 hierarchy made of plain files: a root, a group handed down by it, and a container's group in that."""

    def __init__(
        self, directory: Path, controllers: str = "cpuset cpu io memory hugetlb pids", root: str = "/", unit: str = ""
    ) -> None:
        self.root = directory / "cgroup"
        self.proc = directory / "proc"
        self.group = self.root / unit / "terrarium-fake/one"
        self.group.mkdir(parents=True)
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self/mountinfo").write_text(
            f"25 1 0:22 / {directory} rw - tmpfs tmpfs rw\n30 25 0:26 {root} {self.root} rw - cgroup2 cgroup2 rw,nsdelegate\n"
        )
        self.put(self.root, "cgroup.controllers", controllers)
        if unit:
            (self.proc / "self/cgroup").write_text(f"0::/{unit}/daemons\n")
            self.put(self.root / unit, "cgroup.controllers", controllers.replace("hugetlb", ""))
        for group in (self.root, self.group.parent):
            self.put(group, "cgroup.subtree_control", controllers)
        for group in (self.group, self.group.parent):
            for name, value in {
                "cpu.max": "max 100000", "cpu.weight": "100", "cpuset.cpus": "", "cpuset.cpus.effective": "0-3",
                "memory.max": "max", "memory.high": "max", "memory.low": "0", "memory.swap.max": "max", "pids.max": "max",
                "io.max": "", "memory.current": str(80 * MEGABYTE), "cgroup.events": "populated 1\nfrozen 0", "cgroup.procs": "",
                "memory.stat": f"anon {70 * MEGABYTE}\nfile {10 * MEGABYTE}\ninactive_file {4 * MEGABYTE}\nactive_file 0\n"
                "slab_reclaimable 0", "memory.events": "low 0\nhigh 3\nmax 9\noom 2\noom_kill 1\noom_group_kill 0",
            }.items():  # fmt: skip
                self.put(group, name, value)
        self.cgroups = choose(str(self.root), str(self.proc))
        self.paths = self.cgroups.paths("terrarium-fake/one")

    def put(self, group: Path, name: str, value: str) -> None:
        (group / name).write_text(value + "\n")

    def get(self, name: str) -> str:
        return (self.group / name).read_text().strip()


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_it_is_seen_as_version_2_with_all_controllers_in_one_place(tree):
    assert tree.cgroups.version == "v2"
    assert set(tree.paths) == {"", "cpu", "cpuset", "io", "memory", "hugetlb", "pids"}
    assert set(tree.paths.values()) == {str(tree.group)}
    assert tree.cgroups.procs_files(tree.paths) == [f"{tree.group}/cgroup.procs"]
    assert set(tree.cgroups.locked()) <= {"io_weight"}  # that goes by the disks of this very host


@pytest.mark.parametrize(
    ("limit", "value", "file", "written", "cleared"),
    [
        ("cpu", 0.5, "cpu.max", "50000 100000", "max 100000"),
        ("cpu_weight", 350, "cpu.weight", "350", "100"),
        ("cpuset", "0,1,2", "cpuset.cpus", "0-2", "0-3"),
        ("memory", 100 * MEGABYTE, "memory.max", "104857600", "max"),
        ("memory_high", 90 * MEGABYTE, "memory.high", "94371840", "max"),
        ("memory_low", 8 * MEGABYTE, "memory.low", "8388608", "0"),
        ("swap", 0, "memory.swap.max", "0", "max"),
        ("pids", 50, "pids.max", "50", "max"),
    ],
)
def test_each_limit_is_written_read_and_cleared(tree, limit, value, file, written, cleared):
    tree.cgroups.update(tree.paths, {limit: value})
    assert tree.get(file) == written
    kernel, _ = tree.cgroups.read(tree.paths)[limit]
    assert kernel == ("0-2" if limit == "cpuset" else value)
    tree.cgroups.update(tree.paths, {limit: None})
    assert tree.get(file) == cleared


def test_a_period_set_by_someone_else_is_kept(tree):
    tree.put(tree.group, "cpu.max", "20000 20000")
    tree.cgroups.update(tree.paths, {"cpu": 0.5})
    assert tree.get("cpu.max") == "10000 20000"


def test_the_tightest_group_above_is_effective(tree):
    tree.put(tree.group, "memory.max", str(64 * MEGABYTE))
    tree.put(tree.group.parent, "memory.max", str(32 * MEGABYTE))
    tree.put(tree.group.parent, "cpu.max", "150000 100000")
    read = tree.cgroups.read(tree.paths)
    assert read["memory"] == (64 * MEGABYTE, 32 * MEGABYTE)
    assert read["cpu"] == (None, 1.5)
    assert read["cpuset"] == (None, "0-3")


def test_protection_that_no_group_above_passes_on_is_shown_as_none_in_effect(tree):
    tree.cgroups.update(tree.paths, {"memory_low": 8 * MEGABYTE})
    assert tree.cgroups.read(tree.paths)["memory_low"] == (8 * MEGABYTE, 8 * MEGABYTE)  # our own group above passes it on
    tree.put(tree.group.parent, "memory.low", "0")
    assert tree.cgroups.read(tree.paths)["memory_low"] == (8 * MEGABYTE, 0)


def test_memory_below_the_use_is_refused_before_anything_is_written(tree):
    with pytest.raises(KernelRefused, match=r"^64 MB is below the 76 MB in use\.$"):
        tree.cgroups.update(tree.paths, {"pids": 5, "memory": 64 * MEGABYTE})
    assert (tree.get("pids.max"), tree.get("memory.max")) == ("max", "max")


def test_memory_above_what_is_left_without_the_file_cache_is_accepted(tree):
    tree.cgroups.update(tree.paths, {"memory": 77 * MEGABYTE})
    assert tree.get("memory.max") == str(77 * MEGABYTE)


def test_the_kernel_is_asked_to_make_room_where_it_can(tree):
    tree.put(tree.group, "memory.reclaim", "")
    with pytest.raises(KernelRefused, match="64 MB is below the 80 MB in use"):
        tree.cgroups.update(tree.paths, {"memory": 64 * MEGABYTE})
    assert tree.get("memory.reclaim") == str(16 * MEGABYTE)


def test_what_was_written_before_a_refusal_is_put_back(tree):
    (tree.group / "pids.max").unlink()
    (tree.group / "pids.max").symlink_to("/proc/sys/kernel/ngroups_max")  # a number that not even root may write
    before = {name: tree.get(name) for name in ("cpu.max", "cpu.weight", "cpuset.cpus", "memory.max")}
    with pytest.raises(Unsupported, match="does not let us use"):
        tree.cgroups.update(tree.paths, {"cpu": 0.5, "cpu_weight": 10, "pids": 5, "cpuset": "0", "memory": 100 * MEGABYTE})
    after = {name: tree.get(name) for name in before}
    assert after == before | {"cpuset.cpus": "0-3"}  # all CPUs: where processes run, old kernels take no empty list


def test_cpus_that_are_not_there_are_refused_in_words(tree):
    with pytest.raises(KernelRefused, match="CPU 4-7 can't be used here"):
        tree.cgroups.update(tree.paths, {"cpuset": "2-7"})
    with pytest.raises(InvalidInput):
        tree.cgroups.update(tree.paths, {"cpuset": "3-1"})


def test_a_controller_that_is_not_handed_down_is_named_with_the_remedy(tree):
    (tree.group / "memory.max").unlink()
    with pytest.raises(Unsupported) as caught:
        tree.cgroups.update(tree.paths, {"memory": 100 * MEGABYTE})
    assert caught.value.hint == f"Run: echo +memory > {tree.group.parent}/cgroup.subtree_control"


def test_a_host_without_some_controllers_locks_their_limits(tmp_path):
    locked = Tree(tmp_path, controllers="cpu pids").cgroups.locked()
    assert set(LIMITS) - set(locked) == {"cpu", "cpu_weight", "pids", *NET_LIMITS}
    assert locked["memory"] == "The memory controller of control groups is not available on this host."


def test_a_kernel_that_does_not_count_swap_locks_it(tmp_path):
    tree = Tree(tmp_path)
    for group in (tree.group, tree.group.parent):
        (group / "memory.swap.max").unlink()
    assert set(choose(str(tree.root), str(tree.proc)).locked()) - {"io_weight"} == {"swap"}


def test_events_are_counted(tree):
    assert tree.cgroups.oom_kills(tree.paths) == 1
    assert tree.cgroups.populated(tree.paths)
    assert not tree.cgroups.frozen(tree.paths)


def test_a_group_that_vanished_is_not_found(tree):
    tree.group.rename(tree.root / "elsewhere")
    with pytest.raises(NotFound):
        tree.cgroups.read(tree.paths)
    with pytest.raises(NotFound):
        tree.cgroups.update(tree.paths, {"pids": 5})
    assert tree.cgroups.pids(tree.paths) == []
    assert not tree.cgroups.populated(tree.paths)


def test_a_process_is_found_below_the_part_of_the_hierarchy_that_is_mounted(tmp_path):
    tree = Tree(tmp_path, root="/docker/abc")
    (tree.proc / "7").mkdir()
    (tree.proc / "7/cgroup").write_text("0::/docker/abc/terrarium-fake/one\n")
    assert tree.cgroups.paths_of(7) == tree.paths
    (tree.proc / "7/cgroup").write_text("0::/elsewhere\n")
    assert tree.cgroups.paths_of(7) == {}


def test_the_shell_commands_hand_the_controllers_down_first(tree):
    commands = tree.cgroups.describe("terrarium-fake/two", {"memory": 64 * MEGABYTE, "cpu": 0.5})
    top = f"{tree.root}/terrarium-fake"
    assert commands == [
        f"mkdir -p {top}",
        f'echo "+cpuset +cpu +io +memory +hugetlb +pids" > {tree.root}/cgroup.subtree_control',
        f'echo "+cpuset +cpu +io +memory +hugetlb +pids" > {top}/cgroup.subtree_control',
        f"mkdir {top}/two",
        f"echo '50000 100000' > {top}/two/cpu.max",
        f"echo 67108864 > {top}/two/memory.max",
    ]


def test_in_a_unit_of_systemds_groups_lie_below_it_with_the_controllers_that_it_hands_down(tmp_path):
    tree = Tree(tmp_path, unit="terrarium-0123ab.scope")
    unit = tree.root / "terrarium-0123ab.scope"
    assert set(tree.paths.values()) == {f"{unit}/terrarium-fake/one"} and tree.cgroups.above() == "/terrarium-0123ab.scope"
    assert tree.cgroups.describe("terrarium-fake/two", {})[:2] == [
        f"mkdir -p {unit}/terrarium-fake",
        f'echo "+cpuset +cpu +io +memory +pids" > {unit}/cgroup.subtree_control',
    ]
    assert tree.cgroups.locked()["hugetlb"] == (
        "systemd, which manages the control groups here, does not hand the hugetlb controller down to the panel."
    )
    tree.put(unit, "memory.max", str(32 * MEGABYTE))
    assert tree.cgroups.read(tree.paths)["memory"] == (None, 32 * MEGABYTE)


@pytest.mark.parametrize("group", ["/user.slice/session-1.scope", "/terrarium-tag.scope/daemons", "/x-terrarium-0123ab.scope"])
def test_another_unit_is_not_ours_to_make_groups_in(tmp_path, group):
    tree = Tree(tmp_path)
    (tree.proc / "self/cgroup").write_text(f"0::{group}\n")
    assert choose(str(tree.root), str(tree.proc)).paths("terrarium-fake/one") == tree.paths


def test_a_group_made_before_there_was_a_unit_is_found_where_it_is(tmp_path):
    tree = Tree(tmp_path, unit="terrarium-0123ab.scope")
    former = tree.root / "terrarium-fake/old"
    former.mkdir(parents=True)
    assert set(tree.cgroups.find("terrarium-fake/old").values()) == {str(former)}
    assert tree.cgroups.find("terrarium-fake/one") == tree.paths
    assert tree.cgroups.find("terrarium-fake/new") == tree.cgroups.paths("terrarium-fake/new")


@pytest.fixture
def real(tmp_path):
    """This host's v2 hierarchy as if it were the only one."""
    for mount in files.mounts("/sys/fs/cgroup", "/proc"):
        if mount.version == 2:
            (tmp_path / "self").mkdir()
            (tmp_path / "self/mountinfo").write_text(f"30 25 0:26 {mount.root} {mount.directory} rw - cgroup2 cgroup2 rw\n")
            return choose(proc=str(tmp_path))
    pytest.skip("this host has no cgroup v2 hierarchy mounted")


def test_a_real_group_is_made_joined_paused_killed_and_removed(real):
    top = f"terrarium-t{os.getpid():x}v2"
    paths = real.create(f"{top}/one", {})
    [procs] = real.procs_files(paths)

    def join():
        Path(procs).write_text("0")

    with subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], preexec_fn=join, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert process.pid in real.pids(paths)
        assert real.populated(paths)
        real.freeze(paths)
        assert real.frozen(paths)
        real.kill(paths)
        assert process.wait(30) == -9
    real.remove(paths)
    real.remove(real.paths(top))
    assert not os.path.exists(paths[""])
