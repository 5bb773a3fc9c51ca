"""What protection leaves of the guest's work."""

from collections.abc import Iterator

from bench.model import Row, Run, Target, Workload, row_of_pairs
from bench.side_by_side import Bench

PLAIN_TURNS = 5
HOT_SHARES = {1000: 0.75, 2500: 0.5}


def rounds(run: Run) -> float:
    """The figure of all rows here."""
    return run.rounds_per_second


def guest_work(bench: Bench) -> Iterator[Row]:
    """Without hot set, held to the floor. At 2,500 the pause is measured in the same runs: see `rate`."""
    workload = Workload(rate=1000, seconds=bench.seconds)
    pairs, note = bench.alternate(workload, turns=1 if bench.quick else PLAIN_TURNS)
    target = Target(0.9, of_reference=True)
    yield row_of_pairs("guest rounds a second at 1,000", "/s", pairs, rounds, target=target, note=note)


def guest_work_hot(bench: Bench) -> Iterator[Row]:
    """With hot set, held to the unprotected guest."""
    for pages in (10, 100):
        for rate, share in HOT_SHARES.items():
            workload = Workload(rate=rate, seconds=bench.seconds, pages=pages, tracker="bitmap", hot_set=True)
            pairs, note = bench.against_unprotected(workload)
            yield row_of_pairs(
                f"rounds with hot set, {pages} pages at {rate:,}, to unprotected",
                "/s",
                pairs,
                rounds,
                target=Target(share, of_reference=True),
                note=note,
            )
