"""Many times in few figures."""

from collections.abc import Sequence
from math import ceil


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of them do not exceed. Raises ValueError without any."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * percent / 100) - 1, 0)]


def histogram(values_s: Sequence[float]) -> list[tuple[float, int]]:
    """For each power of two of microseconds, in ms: how many lie below it and not below the one before."""
    counts: dict[int, int] = {}
    for value_s in values_s:
        power = max(int(value_s * 1_000_000), 0).bit_length()
        counts[power] = counts.get(power, 0) + 1
    powers = range(min(counts), max(counts) + 1) if counts else ()
    return [(2**power / 1000, counts.get(power, 0)) for power in powers]
