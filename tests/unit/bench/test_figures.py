"""The search for the highest rate, and that every figure of the table can be asked for."""

from bench.figures import DEFAULT, FIGURES, ON_REQUEST
from bench.figures.rates import highest


def test_search_finds_the_last_rate_that_holds() -> None:
    for limit in range(1000, 11_900, 100):
        assert highest(lambda rate, limit=limit: rate <= limit, 1000, 12_000, 100) == limit  # type: ignore[misc]


def test_search_gives_the_lowest_when_none_holds() -> None:
    assert highest(lambda rate: False, 1000, 12_000, 100) == 1000


def test_search_asks_no_more_often_than_bisection_must() -> None:
    asked: list[int] = []

    def sustains(rate: int) -> bool:
        asked.append(rate)
        return rate <= 5000

    highest(sustains, 1000, 12_000, 100)
    assert len(asked) <= 7


def test_what_is_left_out_by_default_can_be_named() -> None:
    assert set(DEFAULT) | ON_REQUEST == set(FIGURES)
    assert not set(DEFAULT) & ON_REQUEST
