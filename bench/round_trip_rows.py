"""Rows about round trips, of one request at a time, of a guest on this machine or in the lab."""

from collections.abc import Sequence
from typing import Final

from bench.model import Row, Target, percentile, row

REQUESTS_PER_SECOND: Final = 41.3
"""No multiple of any rate of checkpoints, so that requests come at any moment of an epoch."""
EPOCHS_MAX: Final = Target(1.5, at_most=True)


def added_name(rate_hz: int) -> str:
    """Of the row that has a target."""
    return f"round trip at {rate_hz:,}: added in the median"


def rows_of(rate_hz: int, unprotected_ms: Sequence[float], protected_ms: Sequence[float]) -> list[Row]:
    """Median and 99th percentile beside those of the same guest unprotected, and what protection adds."""
    rows = [
        row(
            f"round trip p{q} at {rate_hz:,}, to unprotected",
            "ms",
            percentile(protected_ms, q),
            reference=percentile(unprotected_ms, q),
        )
        for q in (50, 99)
    ]
    added_ms = percentile(protected_ms, 50) - percentile(unprotected_ms, 50)
    return [*rows, row(added_name(rate_hz), "epochs", added_ms / 1000 * rate_hz, target=EPOCHS_MAX)]
