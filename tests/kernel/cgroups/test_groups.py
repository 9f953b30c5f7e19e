"""Making, joining, freezing, killing and removing groups, on the real control groups of this host."""

import os
import subprocess

import pytest

from containers_app.errors import Conflict, InvalidInput, NotFound, Unsupported
from containers_app.kernel.cgroups import choose

LIMITS = {"cpu": 0.5, "memory": 64 << 20, "pids": 50}


def test_a_group_is_made_in_every_hierarchy_that_is_of_use_with_its_limits(cgroups, group):
    paths = cgroups.create(group, LIMITS)
    assert all(os.path.isdir(path) for path in paths.values())
    assert set(cgroups.controllers) - {"devices", "freezer", "cpuacct"} <= set(paths)
    assert ("freezer" in paths) == (cgroups.version == "v1") and "devices" not in paths
    assert not any(os.path.isdir(f"{root}/{group}") for root in cgroups.elsewhere)
    read = cgroups.read(paths)
    assert (read["cpu"], read["memory"], read["pids"]) == ((0.5, 0.5), (64 << 20, 64 << 20), (50, 50))


def test_a_process_that_joins_is_found_by_its_group_and_the_group_by_it(cgroups, group, spawn):
    paths = cgroups.create(group, {})
    assert not cgroups.populated(paths)
    process = spawn("sleep", "60", paths=paths)
    assert cgroups.pids(paths) == [process.pid]
    assert cgroups.populated(paths)
    assert cgroups.paths_of(process.pid).items() >= paths.items()


def test_all_are_killed_at_once_and_the_group_can_go(cgroups, group, spawn):
    paths = cgroups.create(group, {})
    process = spawn("sh", "-c", "sleep 60 & sleep 60 & echo; wait", paths=paths, stdout=subprocess.PIPE)
    process.stdout.readline()
    assert len(cgroups.pids(paths)) == 3
    cgroups.kill(paths)
    assert process.wait(30) == -9
    cgroups.remove(paths)
    assert not any(os.path.exists(path) for path in paths.values())
    assert cgroups.pids(paths) == []
    assert not cgroups.populated(paths)


def test_a_paused_group_can_be_killed(cgroups, group, spawn):
    paths = cgroups.create(group, {})
    process = spawn("sleep", "60", paths=paths)
    cgroups.freeze(paths)
    cgroups.kill(paths)
    assert process.wait(30) == -9


def test_a_paused_group_stands_still_and_goes_on(cgroups, group, spawn):
    paths = cgroups.create(group, {})
    spawn("sh", "-c", "while :; do :; done", paths=paths)
    cgroups.freeze(paths)
    assert cgroups.frozen(paths)
    cgroups.freeze(paths)  # again is fine
    cgroups.thaw(paths)
    assert not cgroups.frozen(paths)


def test_groups_made_inside_are_counted_killed_and_removed_too(cgroups, group, spawn):
    paths = cgroups.create(group, {})
    inner = {name: path + "/inner" for name, path in paths.items()}
    for path in dict.fromkeys(inner.values()):
        os.mkdir(path)
    process = spawn("sleep", "60", paths=inner)
    assert cgroups.pids(paths) == [process.pid]
    cgroups.kill(paths)
    process.wait(30)
    cgroups.remove(paths)
    assert not os.path.exists(paths["memory"])


def test_an_empty_left_over_is_replaced_by_a_fresh_group(cgroups, group):
    cgroups.create(group, {"pids": 7})
    paths = cgroups.create(group, {})
    assert cgroups.read(paths)["pids"] == (None, None)


def test_a_group_in_use_is_not_replaced(cgroups, group, spawn):
    paths = cgroups.create(group, {"pids": 7})
    process = spawn("sleep", "60", paths=paths)
    with pytest.raises(Conflict, match="in use"):
        cgroups.create(group, {})
    assert process.poll() is None
    assert cgroups.read(paths)["pids"] == (7, 7)


def test_a_group_with_a_limit_that_the_kernel_refuses_is_not_made(cgroups, group):
    with pytest.raises(Exception, match="CPU 4000 can't be used here"):
        cgroups.create(group, {"cpuset": "4000"})
    assert not any(os.path.exists(path) for path in cgroups.paths(group).values())


def test_removing_twice_is_fine_and_removing_a_busy_one_is_refused(cgroups, group, spawn):
    paths = cgroups.create(group, {})
    process = spawn("sleep", "60", paths=paths)
    with pytest.raises(Conflict, match="still has processes"):
        cgroups.remove(paths)
    process.kill()
    process.wait()
    cgroups.remove(paths)
    cgroups.remove(paths)


def test_the_roots_of_hierarchies_are_never_killed_frozen_counted_or_removed(cgroups):
    roots = dict(cgroups.controllers)
    assert cgroups.pids(roots) == []
    cgroups.kill(roots)
    cgroups.remove(roots)
    assert not cgroups.populated(roots)
    with pytest.raises(NotFound):
        cgroups.freeze(roots)


@pytest.mark.parametrize("name", ["", "../up", "/abs", "a//b", "a/../b", "a b", "a\n", ".hidden", "a/"])
def test_a_name_that_could_leave_the_hierarchy_is_refused(cgroups, name):
    with pytest.raises(InvalidInput):
        cgroups.paths(name)


def test_a_process_that_is_gone_has_no_groups(cgroups, spawn):
    process = spawn("true")
    process.wait()
    with pytest.raises(NotFound):
        cgroups.paths_of(process.pid)


def test_the_shell_commands_make_the_same_group(cgroups, group):
    for command in cgroups.describe(group, LIMITS | {"cpuset": "0"}):
        subprocess.run(["sh", "-ec", command], check=True)
    read = cgroups.read(cgroups.paths(group))
    assert [read[name][0] for name in ("cpu", "memory", "pids", "cpuset")] == [0.5, 64 << 20, 50, "0"]


def test_a_host_without_control_groups_is_told_what_to_do(tmp_path):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    with pytest.raises(Unsupported) as caught:
        choose(proc=str(tmp_path))
    assert "mount -t cgroup2" in caught.value.hint
