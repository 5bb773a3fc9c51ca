"""Gaps and bins of answers."""

from ftd.drill.tally import binned, longest_gap_s


def test_a_gap_counts_from_the_last_answer_before_the_fault() -> None:
    assert longest_gap_s([0.0, 0.9, 1.5, 1.6, 9.0], 1.0, 2.0) == (1.6, 9.0)
    assert longest_gap_s([0.0, 0.9, 1.5, 1.6, 2.1], 1.0, 2.0) == (0.9, 1.5)


def test_answers_that_stop_for_good_are_a_gap_to_the_end() -> None:
    assert longest_gap_s([0.5, 1.0], 1.2, 5.0) == (1.0, 5.0)


def test_without_an_answer_before_there_is_nothing_to_count_from() -> None:
    assert longest_gap_s([2.0], 1.0, 3.0) is None
    assert longest_gap_s([], 1.0, 3.0) is None


def test_an_answer_at_the_very_end_leaves_no_negative_gap() -> None:
    assert longest_gap_s([1.0, 3.0], 1.0, 3.0) == (1.0, 3.0)


def test_bins() -> None:
    assert binned([0.05, 0.06, 0.19, 0.2, -0.01, 0.31], 0.0, 0.1, 3) == [2, 1, 1]
