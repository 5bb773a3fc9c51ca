"""Checkpoints a second: the rate asked for, its pause, and the most there is."""

from collections.abc import Callable, Iterator
from statistics import median

from bench.model import NotMeasuredError, Row, Side, Target, Workload, median_ratio, row, row_of_pairs
from bench.side_by_side import Bench

LONG_S = 60
LONG_QUICK_S = 5
PAUSE_TURNS = 5
SUSTAINED_SHARE = 0.99
RATE_STEP = 100
RATE_LOW, RATE_HIGH = 1_000, 20_000
PROBE_S = 2


def steady_rate(bench: Bench) -> Iterator[Row]:
    """2,500 checkpoints a second, and the pause they cost."""
    long = Workload(seconds=LONG_QUICK_S if bench.quick else LONG_S)
    pairs, note = bench.alternate(long, turns=1)
    yield row_of_pairs(
        f"acknowledged a second, asked 2,500, {long.seconds} s",
        "/s",
        pairs,
        lambda run: run.acked_per_second,
        target=Target(2490),
        note=note,
    )
    pairs, note = bench.alternate(Workload(seconds=bench.seconds), turns=1 if bench.quick else PAUSE_TURNS)
    p50, p99 = Target(1.2, of_reference=True, at_most=True), Target(2, of_reference=True, at_most=True)
    yield row_of_pairs("pause p50 at 2,500", "µs", pairs, lambda run: run.pause_p50_us, target=p50, note=note)
    yield row_of_pairs("pause p99 at 2,500", "µs", pairs, lambda run: run.pause_p99_us, target=p99, note=note)
    rounds = Target(0.9, of_reference=True)
    yield row_of_pairs(
        "guest rounds a second at 2,500",
        "/s",
        pairs,
        lambda run: run.rounds_per_second,
        target=rounds,
        note=note,
    )


def top_rate(bench: Bench) -> Iterator[Row]:
    """The highest rate that is acknowledged in full while the guest still gets to write."""
    found: list[tuple[float, float]] = []
    note = ""
    for _ in range(bench.turns):
        try:
            found.append((_search(bench, bench.product), _search(bench, bench.floor)))
        except NotMeasuredError as error:
            note = str(error)
    yield row(
        "highest sustained rate",
        "/s",
        median(ours for ours, _ in found) if found else None,
        reference=median(floor for _, floor in found) if found else None,
        ratio=median_ratio(found),
        target=Target(0.9, of_reference=True),
        note=note,
    )


def _search(bench: Bench, side: Side) -> int:
    def sustains(rate: int) -> bool:
        run = bench.run(side, Workload(rate=rate, seconds=PROBE_S))
        return run.acked_per_second >= SUSTAINED_SHARE * rate and run.pages_per_epoch >= 1

    return highest(sustains, RATE_LOW, RATE_HIGH, RATE_STEP)


def highest(sustains: Callable[[int], bool], low: int, high: int, step: int) -> int:
    """The greatest of low, low + step, ... below `high` that holds, by bisection; `low` is taken to hold."""
    below, above = 0, (high - low) // step
    while above - below > 1:
        middle = (below + above) // 2
        if sustains(low + middle * step):
            below = middle
        else:
            above = middle
    return low + below * step
