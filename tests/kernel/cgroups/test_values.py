"""Conversions between the panel's units and the kernel's."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers_app.errors import InvalidInput
from containers_app.kernel.cgroups import values


@given(st.integers(1, 10_000))
def test_a_weight_survives_the_way_through_shares(weight):
    shares = values.shares(weight)
    assert values.MIN_SHARES <= shares <= values.MAX_SHARES
    assert values.weight(shares) == weight


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (1_000_000, 10_000)])
def test_known_shares_have_their_known_weight(shares, weight):
    assert values.weight(shares) == weight


def test_the_default_weight_is_the_default_number_of_shares():
    assert values.shares(values.DEFAULT_WEIGHT) == values.DEFAULT_SHARES


@given(st.integers(2, 262_143))
def test_more_shares_never_weigh_less(shares):
    assert 1 <= values.weight(shares) <= values.weight(shares + 1) <= 10_000


@given(st.integers(10, 4_096_000).map(lambda thousandths: thousandths / 1000))
def test_cores_survive_the_way_through_a_quota(cores):
    assert values.cores(*values.quota(cores)) == cores


@given(st.floats(0.01, 4096), st.integers(1_000, 1_000_000))
def test_a_quota_is_never_too_small_for_the_kernel(cores, period):
    quota, kept = values.quota(cores, period)
    assert quota >= values.SMALLEST_QUOTA
    assert kept in (period, values.PERIOD)
    read = values.cores(quota, kept)
    assert read is not None
    assert read == pytest.approx(cores, abs=1 / kept + 1e-6)


def test_a_quota_of_minus_one_is_no_limit():
    assert values.cores(-1, 100_000) is None


@given(st.frozensets(st.integers(0, 4096), max_size=60))
def test_a_set_of_cpus_survives_the_way_through_its_text(cpus):
    assert values.cpu_list(values.cpu_text(cpus)) == cpus


def test_a_list_of_cpus_is_written_as_the_kernel_writes_it():
    assert values.cpu_text(frozenset({3, 0, 1, 2, 7, 9, 10})) == "0-3,7,9-10"


def test_a_range_that_runs_backwards_is_refused_with_the_right_one():
    with pytest.raises(InvalidInput) as caught:
        values.cpu_list("3-1")
    assert "1-3" in caught.value.hint


def test_a_hostile_list_of_cpus_is_parsed_at_once():
    started = time.perf_counter()
    assert len(values.cpu_list(",".join(["0-9999"] * 100_000))) == 10_000
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("size", "text"), [(64 << 20, "64 MB"), (3 << 29, "1.5 GB"), (2048, "2 KB"), (100, "100 bytes"), (0, "0 bytes")]
)
def test_sizes_are_written_as_people_read_them(size, text):
    assert values.megabytes(size) == text


@given(st.integers(1 << 20, 1 << 29))
def test_a_size_rounded_up_is_never_below_the_real_one(size):
    number, _, _ = values.megabytes(size, up=True).partition(" ")
    assert float(number) * (1 << 20) >= size
