"""Ratios, medians, percentiles and verdicts of the bench."""

import pytest

from bench.model import (
    Pair,
    Run,
    Target,
    Workload,
    median_ratio,
    percentile,
    row,
    row_of_pairs,
    step,
)


def rounds(run: Run) -> float:
    return run.rounds_per_second


def pair(product: float, reference: float) -> Pair:
    return Pair(Run(rounds_per_second=product), Run(rounds_per_second=reference))


def test_ratio_is_taken_pair_by_pair() -> None:
    # The machine became ten times slower half-way: the ratio of the medians would be 90 / 50.
    pairs = [pair(90, 100), pair(9, 10), pair(180, 50)]
    result = row_of_pairs("rounds", "/s", pairs, rounds)
    assert (result.product, result.reference, result.ratio) == (90, 50, 0.9)


def test_pairs_without_a_reference_count_in_no_ratio() -> None:
    assert median_ratio([(5, 0), (6, 3)]) == 2
    assert median_ratio([(5, 0)]) is None


def test_figure_that_was_not_measured_fails_its_target_and_says_why() -> None:
    result = row_of_pairs("rounds", "/s", [], rounds, target=Target(1), note="no KVM")
    assert result.passed is False
    assert result.note == "no KVM"


def test_figure_without_target_is_not_judged() -> None:
    assert row_of_pairs("rounds", "/s", [], rounds).passed is None


@pytest.mark.parametrize(
    ("target", "value", "reference", "met"),
    [
        (Target(2490), 2490, None, True),
        (Target(2490), 2489, None, False),
        (Target(60, at_most=True), 60, None, True),
        (Target(60, at_most=True), 61, None, False),
        (Target(0.9, of_reference=True), 90, 100, True),
        (Target(0.9, of_reference=True), 89, 100, False),
        (Target(1.2, of_reference=True, at_most=True), 120, 100, True),
        (Target(1.2, of_reference=True, at_most=True), 121, 100, False),
        # A reference of zero is no reference: nothing is met by dividing by it.
        (Target(0.9, of_reference=True), 90, 0, False),
    ],
)
def test_verdict(target: Target, value: float, reference: float | None, met: bool) -> None:
    assert row("figure", "", value, reference=reference, target=target).passed is met


def test_target_reads_as_in_the_table() -> None:
    assert str(Target(2490)) == "≥ 2490"
    assert str(Target(1.2, of_reference=True, at_most=True)) == "≤ 1.2 times"


@pytest.mark.parametrize(
    ("count", "q", "expected"), [(100, 99, 99), (50, 99, 50), (50, 50, 25), (1, 99, 1), (3, 50, 2)]
)
def test_percentile_of_one_to_count(count: int, q: float, expected: float) -> None:
    values = [float(value) for value in range(count, 0, -1)]
    assert percentile(values, q) == expected


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_step_reads_one_step() -> None:
    assert step("harvest")(Run(rounds_per_second=0, steps_us={"harvest": 1.5, "copy": 2})) == 1.5


@pytest.mark.parametrize("pages", [10, 100, 1000])
def test_rounds_of_all_sizes_spin_as_long(pages: int) -> None:
    wanted_pages, spin, _ = Workload(pages=pages).guest_args
    assert wanted_pages * spin == Workload().spin_per_round
