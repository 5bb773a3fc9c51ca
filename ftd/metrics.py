"""Histograms as the data plane counts them: log-linear, 32 steps per power of two, in nanoseconds.

The data plane and this module agree on the bucket of a value v: below 64 it is v itself; above, with
e = bit_length(v) - 6, it is 32 * e + (v >> e). A bucket is at most 1/32 of its value wide.
"""

from collections.abc import Iterable
from typing import Final

SUB_BUCKETS: Final = 32
BUCKETS: Final = 64 * SUB_BUCKETS

SparseHistogram = list[tuple[int, int]]
"""[bucket index, count] of the buckets that are not empty, by rising index."""


def bucket_index(value: int) -> int:
    """The bucket that counts `value` (0 to 2**64 - 1)."""
    if value < 2 * SUB_BUCKETS:
        return value
    exponent = value.bit_length() - 6
    return SUB_BUCKETS * exponent + (value >> exponent)


def bucket_upper_bound(index: int) -> int:
    """The greatest value that falls into the bucket."""
    if index < 2 * SUB_BUCKETS:
        return index
    exponent = index // SUB_BUCKETS - 1
    return ((index - SUB_BUCKETS * exponent + 1) << exponent) - 1


def sparse(counts: Iterable[int]) -> SparseHistogram:
    """The buckets that are not empty, of a full array of counts."""
    return [(index, count) for index, count in enumerate(counts) if count]


def total(histogram: SparseHistogram) -> int:
    """How many values were counted."""
    return sum(count for _, count in histogram)


def percentile(histogram: SparseHistogram, q: float) -> int | None:
    """Upper bound of the bucket that holds the q-th percentile (0 < q <= 100); None of an empty histogram."""
    if not 0 < q <= 100:
        raise ValueError(f"percentile {q} is not in (0, 100]")
    wanted = total(histogram) * q / 100
    seen = 0
    for index, count in sorted(histogram):
        seen += count
        if seen >= wanted:
            return bucket_upper_bound(index)
    return None


def difference(new: SparseHistogram, old: SparseHistogram) -> SparseHistogram:
    """What was counted between two samples of one histogram.

    A count that went back belongs to a new worker whose counting began again: then `new` is the difference.
    """
    before = dict(old)
    if any(count < before.get(index, 0) for index, count in new) or set(before) - {index for index, _ in new}:
        return list(new)
    changes = ((index, count - before.get(index, 0)) for index, count in new)
    return [(index, count) for index, count in changes if count]
