"""Percentiles, histograms, and what the guest and its tools say."""

import pytest

from lab.errors import LabError
from lab.outside.disk_probe import parse
from lab.outside.figures import histogram, percentile
from lab.outside.file_system import verdict


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([float(n) for n in range(1, 101)], 99) == 99.0
    assert percentile([7.0], 1) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_a_histogram_counts_each_value_once_below_its_bound() -> None:
    counted = histogram([0.0009, 0.001, 0.0011, 0.009])
    assert counted == [(1.024, 2), (2.048, 1), (4.096, 0), (8.192, 0), (16.384, 1)]
    assert histogram([]) == []


def test_the_rate_is_read_from_among_other_words() -> None:
    assert parse("noise\n16777216 bytes 134534250 ns\n").mb_per_s == pytest.approx(124.7, abs=0.1)


@pytest.mark.parametrize("output", ["", "diskwrite: cannot open x", "5 bytes 0 ns"])
def test_no_rate_is_an_error(output: str) -> None:
    with pytest.raises(LabError, match="no rate"):
        parse(output)


def test_only_a_check_that_found_nothing_is_clean() -> None:
    assert verdict("Pass 1\ne2fsck: journal 0, check 0\n").clean
    assert verdict("recovering journal\ne2fsck: journal 1, check 0\n").clean
    assert not verdict("e2fsck: journal 0, check 4\n").clean
    assert not verdict("e2fsck: journal 4, check 0\n").clean


@pytest.mark.parametrize("output", ["", "cp: no such file\n", "e2fsck: journal 127, check 127\n"])
def test_a_check_that_did_not_happen_is_an_error(output: str) -> None:
    with pytest.raises(LabError, match="was not checked"):
        verdict(output)
