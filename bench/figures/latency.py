"""What protection adds to an answer."""

from collections.abc import Iterator
from dataclasses import asdict

from bench.model import NotMeasuredError, Row, Target, percentile, row
from bench.product import measure
from bench.round_trips import round_trips
from bench.side_by_side import Bench

RATES_HZ = (200, 2500)
SECONDS, SECONDS_QUICK = 20.0, 3.0
EPOCHS_MAX = Target(1.5, at_most=True)


def latency(bench: Bench) -> Iterator[Row]:
    """Round trips of one request at a time, beside the same guest unprotected."""
    for rate_hz in RATES_HZ:
        added = f"round trip at {rate_hz:,}: added in the median"
        try:
            took = measure(round_trips, rate_hz, SECONDS_QUICK if bench.quick else SECONDS)
        except NotMeasuredError as error:
            yield row(added, "epochs", None, target=EPOCHS_MAX, note=str(error))
            continue
        bench.keep("product", f"round trips at {rate_hz}", **asdict(took))
        bare_ms, protected_ms = (
            [1e3 * one for one in each] for each in (took.unprotected_s, took.protected_s)
        )
        for q in (50, 99):
            yield row(
                f"round trip p{q} at {rate_hz:,}, to unprotected",
                "ms",
                percentile(protected_ms, q),
                reference=percentile(bare_ms, q),
            )
        added_ms = percentile(protected_ms, 50) - percentile(bare_ms, 50)
        yield row(added, "epochs", added_ms / 1e3 * rate_hz, target=EPOCHS_MAX)
