"""Setting, reading and clearing limits, on the real control groups of this host."""

import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from containers_app.errors import InvalidInput, KernelRefused, NotFound, Unsupported
from containers_app.spec import LIMITS, NET_LIMITS

HOG = "import sys\nhog = bytearray(int(sys.argv[1]))\nprint(len(hog), flush=True)\nsys.stdin.read()"

SIZES = st.integers(1, 4096).map(lambda megabytes: megabytes << 20)


def kernel_values(cgroups, paths):
    return {name: kernel for name, (kernel, _) in cgroups.read(paths).items()}


def settable(cgroups):
    return set(LIMITS) - set(NET_LIMITS) - set(cgroups.locked())


def test_each_limit_is_set_read_back_and_cleared_live(cgroups, group):
    paths = cgroups.create(group, {"memory": 128 << 20})
    values = {"cpu": 0.25, "cpu_weight": 350, "cpuset": "0", "memory_low": 8 << 20, "swap": 0, "pids": 20}
    changes = {name: value for name, value in values.items() if name in settable(cgroups)}
    cgroups.update(paths, changes)
    assert {name: kernel_values(cgroups, paths)[name] for name in changes} == changes
    cgroups.update(paths, dict.fromkeys(LIMITS))
    cleared = kernel_values(cgroups, paths)
    assert [cleared[name] for name in ("cpu", "memory", "memory_low", "swap", "pids")] == [None] * 5
    assert cleared["cpu_weight"] == 100


def test_the_effective_value_is_the_tightest_of_the_groups_above(cgroups, group):
    paths = cgroups.create(group, {"cpu": 1.5, "memory": 64 << 20, "pids": 50})
    above = cgroups.paths(group.split("/")[0])
    cgroups.update(above, {"memory": 32 << 20, "pids": 10})
    read = cgroups.read(paths)
    assert read["memory"] == (64 << 20, 32 << 20)
    assert read["pids"] == (50, 10)
    assert read["cpu"] == (1.5, 1.5)


def test_memory_can_be_lowered_and_raised_with_a_swap_limit_beside_it(cgroups, group):
    if "swap" in cgroups.locked():
        pytest.skip(cgroups.locked()["swap"])
    paths = cgroups.create(group, {"memory": 64 << 20, "swap": 16 << 20})
    for memory in (16 << 20, 256 << 20, 32 << 20):
        cgroups.update(paths, {"memory": memory})
        read = kernel_values(cgroups, paths)
        assert (read["memory"], read["swap"]) == (memory, 16 << 20)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(SIZES, SIZES | st.just(0) | st.none()), min_size=2, max_size=6))
def test_any_sequence_of_memory_and_swap_limits_is_taken(cgroups, group, steps):
    if "swap" in cgroups.locked():
        pytest.skip(cgroups.locked()["swap"])
    paths = cgroups.create(group, {})
    for memory, swap in steps:
        cgroups.update(paths, {"memory": memory, "swap": swap})
        read = kernel_values(cgroups, paths)
        assert (read["memory"], read["swap"]) == (memory, swap)


def test_memory_below_the_use_is_refused_with_the_numbers_and_nothing_changed(cgroups, group, spawn):

    paths = cgroups.create(group, {"memory": 128 << 20, "pids": 20})
    hog = spawn(sys.executable, "-c", HOG, str(40 << 20), paths=paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    hog.stdout.readline()
    before = kernel_values(cgroups, paths)
    with pytest.raises(KernelRefused, match=r"^16 MB is below the [\d.]+ MB in use\.$") as caught:
        cgroups.update(paths, {"pids": 10, "cpu": 0.5, "memory": 16 << 20})
    assert "lower to" in caught.value.hint
    assert kernel_values(cgroups, paths) == before
    assert hog.poll() is None


def test_what_was_written_before_a_refusal_is_put_back(cgroups, group):
    if cgroups.version == "v2":
        pytest.skip("cgroup v2 takes a quota above the parent's; its put-back is tested on a made-up tree")
    paths = cgroups.create(group, {"memory": 64 << 20, "cpu": 0.25, "pids": 10})
    cgroups.update(cgroups.paths(group.split("/")[0]), {"cpu": 0.5})
    before = kernel_values(cgroups, paths)
    with pytest.raises(KernelRefused, match="a group above it allows less"):
        cgroups.update(paths, {"memory": 32 << 20, "swap": 0, "cpu_weight": 7, "pids": 5, "cpu": 1})
    assert kernel_values(cgroups, paths) == before


def test_clearing_memory_under_a_swap_limit_is_refused_with_the_way_out(cgroups, group):
    if cgroups.version == "v2" or "swap" in cgroups.locked():
        pytest.skip("only cgroup v1 counts memory and swap as one sum")
    paths = cgroups.create(group, {"memory": 64 << 20, "swap": 0})
    with pytest.raises(KernelRefused) as caught:
        cgroups.update(paths, {"memory": None})
    assert "clear the swap limit" in caught.value.hint
    cgroups.update(paths, {"memory": None, "swap": None})


def test_cpus_that_are_not_there_are_named(cgroups, group):
    paths = cgroups.create(group, {})
    with pytest.raises(KernelRefused, match="CPU 4000-4001 can't be used here"):
        cgroups.update(paths, {"cpuset": "0,4000-4001"})


def test_a_limit_that_this_host_lacks_is_refused_with_the_reason_but_can_be_cleared(cgroups, group):
    paths = cgroups.create(group, {})
    for name, reason in cgroups.locked().items():
        with pytest.raises(Unsupported) as caught:
            cgroups.update(paths, {name: 1 << 20})
        assert reason in caught.value.message
        cgroups.update(paths, {name: None})


def test_an_unknown_limit_is_refused(cgroups, group):
    with pytest.raises(InvalidInput, match="no limit called"):
        cgroups.update(cgroups.create(group, {}), {"luck": 1})


def test_a_group_that_vanished_is_not_found(cgroups, group):
    paths = cgroups.create(group, {})
    cgroups.remove(paths)
    with pytest.raises(NotFound):
        cgroups.read(paths)
    for name in sorted(settable(cgroups) - {"swap"}):
        with pytest.raises(NotFound):
            cgroups.update(paths, {name: None})
    with pytest.raises(NotFound):
        cgroups.freeze(paths)
    cgroups.kill(paths)
    cgroups.thaw(paths)
    assert cgroups.oom_kills(paths) == 0


def test_a_process_over_its_memory_is_killed_and_counted(cgroups, group, spawn):

    paths = cgroups.create(group, {"memory": 24 << 20} | ({"swap": 0} if "swap" in settable(cgroups) else {}))
    assert cgroups.oom_kills(paths) == 0
    hog = spawn(sys.executable, "-c", HOG, str(64 << 20), paths=paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert hog.wait(20) == -9
    assert cgroups.oom_kills(paths) == 1


def test_the_ends_of_the_sliders_are_the_hosts_size(cgroups):
    maximums = cgroups.maximums()
    assert maximums["cpu"] == os.sysconf("SC_NPROCESSORS_ONLN")
    assert maximums["memory"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < maximums["pids"] <= 1 << 22
