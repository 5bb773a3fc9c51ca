"""Histograms: the buckets that the data plane fills, read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftd.metrics import (
    BUCKETS,
    bucket_index,
    bucket_upper_bound,
    difference,
    percentile,
    sparse,
    total,
)

VALUES = st.integers(0, (1 << 64) - 1)


@pytest.mark.parametrize(
    ("value", "index"),
    [(0, 0), (63, 63), (64, 64), (65, 64), (127, 95), (128, 96), (1 << 20, 512), ((1 << 64) - 1, 1919)],
)
def test_buckets_as_the_data_plane_counts(value: int, index: int) -> None:
    assert bucket_index(value) == index


@given(VALUES)
def test_a_bucket_holds_its_values_and_is_narrow(value: int) -> None:
    index = bucket_index(value)
    assert 0 <= index < BUCKETS
    lower = bucket_upper_bound(index - 1) + 1 if index else 0
    assert lower <= value <= bucket_upper_bound(index)
    assert bucket_upper_bound(index) - lower <= value / 32


@given(VALUES, VALUES)
def test_buckets_rise_with_values(a: int, b: int) -> None:
    assert (a <= b) == (bucket_index(a) <= bucket_index(b)) or bucket_index(a) == bucket_index(b)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.sampled_from([1, 50, 90, 99, 100]))
def test_percentile_is_that_of_the_sorted_values(values: list[int], q: int) -> None:
    counts = [0] * BUCKETS
    for value in values:
        counts[bucket_index(value)] += 1
    rank = -(-len(values) * q // 100)
    expected = bucket_upper_bound(bucket_index(sorted(values)[rank - 1]))
    assert percentile(sparse(counts), q) == expected


def test_percentile_of_nothing() -> None:
    assert percentile([], 50) is None
    with pytest.raises(ValueError, match="not in"):
        percentile([(1, 1)], 0)


def test_difference() -> None:
    assert difference([(1, 5), (3, 2)], [(1, 4), (3, 2)]) == [(1, 1)]
    assert difference([(1, 5)], []) == [(1, 5)]
    assert difference([], []) == []


@pytest.mark.parametrize("old", [[(1, 6)], [(2, 1)]])
def test_difference_after_the_counting_began_again(old: list[tuple[int, int]]) -> None:
    assert difference([(1, 5)], old) == [(1, 5)]


def test_total() -> None:
    assert total([(1, 5), (9, 2)]) == 7
