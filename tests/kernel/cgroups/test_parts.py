"""Limits by disk and by size of huge page, read and written as each version of control groups has them; and really kept to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers_app.errors import InvalidInput, KernelRefused
from containers_app.kernel import block
from containers_app.kernel.cgroups import parts, values
from containers_app.spec import LIMITS

MEGABYTE = 1 << 20
RATE = 4 * MEGABYTE
# Reads and writes past the page cache, all in this one process, and says how long it took.
COPY = """
import mmap, os, sys, time
path, mode, block, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
data = mmap.mmap(-1, block)
disk = os.open(path, os.O_DIRECT | (os.O_RDONLY if mode == "read" else os.O_WRONLY))
begun = time.monotonic()
for place in range(count):
    os.preadv(disk, [data], place * block) if mode == "read" else os.pwritev(disk, [data], place * block)
print(time.monotonic() - begun)
"""
HOG = """
import mmap, sys
pages = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)  # MAP_HUGETLB
for place in range(0, len(pages), 2 << 20):
    pages[place] = 1
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def disk(tmp_path):
    """A disk of our own: a loop device on a file. Its name."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(64 * MEGABYTE)
    device = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True).stdout
    yield device.strip().removeprefix("/dev/")
    subprocess.run(["losetup", "--detach", device.strip()], check=True)


def kernel(cgroups, paths, limit):
    return cgroups.read(paths)[limit][0]


def seconds(spawn, paths, *words):
    copy = spawn(sys.executable, "-c", COPY, *map(str, words), paths=paths, stdout=subprocess.PIPE)
    return float(copy.communicate(timeout=60)[0])


def test_limits_by_disk_are_set_one_by_one_read_back_and_cleared(cgroups, group, disk):
    paths = cgroups.create(group, {"io_read_bytes": {disk: RATE}})
    for step, limit in enumerate(parts.IO):
        cgroups.update(paths, {limit: {disk: 1000 + step}})
    assert [kernel(cgroups, paths, limit) for limit in parts.IO] == [{disk: 1000 + step} for step in range(4)]
    cgroups.update(paths, {"io_write_bytes": {disk: None}, "io_read_ops": None})
    assert [kernel(cgroups, paths, limit) for limit in parts.IO] == [{disk: 1000}, None, None, {disk: 1003}]
    cgroups.update(paths, dict.fromkeys(parts.IO))
    assert [kernel(cgroups, paths, limit) for limit in parts.IO] == [None] * 4


def test_the_tightest_of_the_groups_above_counts_disk_by_disk_where_it_holds_those_inside(cgroups, group, disk):
    paths = cgroups.create(group, {"io_read_bytes": {disk: RATE}})
    cgroups.update(cgroups.paths(group.split("/")[0]), {"io_read_bytes": {disk: RATE // 2}})
    shared = "io_read_bytes" not in cgroups.unshared()  # how it is enforced is seen below
    assert cgroups.read(paths)["io_read_bytes"] == ({disk: RATE}, {disk: RATE // 2 if shared else RATE})


def test_a_refusal_puts_limits_by_disk_back(cgroups, group, disk):
    paths = cgroups.create(group, {"io_read_bytes": {disk: RATE}})
    with pytest.raises(KernelRefused, match="is gone"):
        cgroups.update(paths, {"io_read_bytes": {disk: 1}, "io_write_bytes": {"nodisk0": 1}})
    assert kernel(cgroups, paths, "io_read_bytes") == {disk: RATE}


@pytest.mark.parametrize(("mode", "limit"), [("read", "io_read_bytes"), ("write", "io_write_bytes")])
def test_a_program_copies_no_faster_than_its_rate(cgroups, group, disk, spawn, mode, limit):
    """The kernel lets a rate's first moment through, so what is measured is many times that."""
    paths = cgroups.create(group, {limit: {disk: RATE}})
    took = seconds(spawn, paths, f"/dev/{disk}", mode, 256 << 10, 32)  # 8 MB: 2 seconds
    assert 8 * MEGABYTE / took < RATE * 1.1
    cgroups.update(paths, {limit: None})
    assert seconds(spawn, paths, f"/dev/{disk}", mode, 256 << 10, 32) < took / 2


def test_a_rate_holds_the_groups_inside_unless_the_host_is_said_to_have_no_such_thing(cgroups, group, disk, spawn):
    cgroups.create_parent(group, {"io_write_bytes": {disk: RATE}})
    inside = cgroups.create(f"{group}/inside", {})
    held = 8 * MEGABYTE / seconds(spawn, inside, f"/dev/{disk}", "write", 256 << 10, 32) < RATE * 1.1
    assert held == ("io_write_bytes" not in cgroups.unshared())
    assert cgroups.read(inside)["io_write_bytes"] == (None, {disk: RATE} if held else None)


def test_a_program_makes_no_more_operations_than_allowed(cgroups, group, disk, spawn):
    paths = cgroups.create(group, {"io_read_ops": {disk: 50}})
    took = seconds(spawn, paths, f"/dev/{disk}", "read", 4096, 300)  # the first moment's are let through: a tenth of a second's
    assert 300 / took < 50 * 1.1


def test_the_weight_of_a_disk_waits_for_a_scheduler_that_has_weights(cgroups, group, disk):
    subprocess.run(["modprobe", "-q", "bfq"], check=False)  # a module on Debian; built in elsewhere
    chooser = Path(f"/sys/block/{disk}/queue/scheduler")
    if "bfq" not in chooser.read_text():
        pytest.skip("This kernel has no bfq.")
    if "io_weight" not in cgroups.locked():
        pytest.skip("A disk of this machine has bfq.")
    assert disk in cgroups.locked()["io_weight"]
    chooser.write_text("bfq")
    paths = cgroups.create(group, {"io_weight": 50})
    assert kernel(cgroups, paths, "io_weight") == 50
    cgroups.update(paths, {"io_weight": 10000})
    assert kernel(cgroups, paths, "io_weight") == 10000
    cgroups.update(paths, {"io_weight": None})
    assert kernel(cgroups, paths, "io_weight") == values.DEFAULT_WEIGHT


@pytest.fixture
def huge_pages():
    """Eight free huge pages of 2 MB."""
    if "2M" not in parts.page_sizes():
        pytest.skip("This kernel has no huge pages of 2 MB.")
    pool = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    before = int(pool.read_text())
    pool.write_text(str(before + 8))
    yield int(pool.read_text())
    pool.write_text(str(before))


def test_huge_pages_are_limited_and_what_is_in_use_is_told(cgroups, group, huge_pages, spawn):
    if "hugetlb" in cgroups.locked():
        pytest.skip(cgroups.locked()["hugetlb"])
    paths = cgroups.create(group, {"hugetlb": {"2M": 8 * MEGABYTE}})
    assert cgroups.read(paths)["hugetlb"] == ({"2M": 8 * MEGABYTE}, {"2M": 8 * MEGABYTE})
    hog = spawn(sys.executable, "-c", HOG, str(8 * MEGABYTE), paths=paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert hog.stdout.readline() == b"held\n"
    with pytest.raises(KernelRefused, match=r"^4 MB is below the 8 MB of huge pages in use\.$"):
        cgroups.update(paths, {"hugetlb": {"2M": 4 * MEGABYTE}})
    greedy = spawn(sys.executable, "-c", HOG, str(4 * MEGABYTE), paths=paths, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert greedy.wait(20) == -7  # SIGBUS: its pages are promised at mmap, and refused at first use
    cgroups.update(paths, {"hugetlb": None})
    assert kernel(cgroups, paths, "hugetlb") is None


@pytest.mark.parametrize("written", ["nodisk", "../vda", "0:0", "", "vda\n", "9999999:1"])
def test_a_disk_that_is_not_here_is_refused_with_those_that_are(written):
    with pytest.raises(InvalidInput) as refused:
        block.find_disk(written)
    assert "Disks here are" in refused.value.hint


def test_a_disk_goes_by_name_path_and_number(disk):
    number = block.number_of(disk)
    assert [block.find_disk(word) for word in (disk, f"/dev/{disk}", number)] == [disk] * 3
    assert disk in block.list_disks()


def test_the_disk_below_a_directory_is_a_whole_one(tmp_path):
    assert block.disk_below(str(tmp_path)) in block.list_disks()


def test_a_disk_named_twice_is_refused(cgroups, disk):
    with pytest.raises(InvalidInput, match="named twice"):
        cgroups.resolve({"io_read_ops": {disk: 1, block.number_of(disk): 2}}, "/")


def test_page_sizes_go_by_either_of_their_names(cgroups):
    for size in parts.page_sizes():
        assert cgroups.resolve({"hugetlb": {size + "B": 0}}, "/") == {"hugetlb": {size: 0}}
    with pytest.raises(InvalidInput, match="no size of huge pages"):
        cgroups.resolve({"hugetlb": {"3M": 0}}, "/")


AMOUNTS = st.integers(1, (1 << 53) - 1)


@given(st.sampled_from(sorted(parts.IO)), AMOUNTS | st.none())
def test_what_is_written_for_a_disk_reads_back_in_both_versions(limit, amount):
    disk = block.list_disks()[0]
    first = parts._text(1, limit, disk, amount)
    assert parts.io_limits(1, limit, "" if amount is None else first) == ({} if amount is None else {disk: amount})
    assert parts.io_limits(2, limit, parts._text(2, limit, disk, amount)) == ({} if amount is None else {disk: amount})


@given(st.integers(1, 10000))
def test_a_weight_survives_the_way_through_bfq_to_its_nearest(weight):
    back = values.weight_of_bfq(values.bfq_weight(weight))
    assert abs(back - weight) <= (5 if weight > 100 else 0)
    assert values.bfq_weight(back) == values.bfq_weight(weight)


def test_every_limit_by_part_names_what_it_can_be_set_for(cgroups):
    assert set(cgroups.parts()) == set(parts.PARTED) <= set(LIMITS)
    assert cgroups.parts()["io_read_bytes"] == tuple(block.list_disks())
