"""What protection adds to an answer."""

from collections.abc import Iterator
from dataclasses import asdict

from bench.model import NotMeasuredError, Row, row
from bench.product import measure
from bench.round_trip_rows import EPOCHS_MAX, added_name, rows_of
from bench.round_trips import round_trips
from bench.side_by_side import Bench

RATES_HZ = (200, 2500)
SECONDS, SECONDS_QUICK = 20.0, 3.0


def latency(bench: Bench) -> Iterator[Row]:
    """Round trips of one request at a time, beside the same guest unprotected."""
    for rate_hz in RATES_HZ:
        try:
            took = measure(round_trips, rate_hz, SECONDS_QUICK if bench.quick else SECONDS)
        except NotMeasuredError as error:
            yield row(added_name(rate_hz), "epochs", None, target=EPOCHS_MAX, note=str(error))
            continue
        bench.keep("product", f"round trips at {rate_hz}", **asdict(took))
        unprotected_ms, protected_ms = (
            [1e3 * one_s for one_s in each] for each in (took.unprotected_s, took.protected_s)
        )
        yield from rows_of(rate_hz, unprotected_ms, protected_ms)
