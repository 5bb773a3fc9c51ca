"""What an observer outside has seen: when answers came, and how many were lost or came twice. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass
class Tally:
    """Times are seconds of the observer's clock, rising."""

    answer_times_s: list[float] = field(default_factory=list)
    asked: int = 0
    answered: int = 0
    lost: int = 0
    """Asked, and never answered. Known at the end only."""
    repeated: int = 0
    """Done before, asked again because no answer had come, and not done twice."""
    breaches: list[str] = field(default_factory=list)
    """Answers that broke a promise."""


def longest_gap_s(times_s: Sequence[float], since_s: float, until_s: float) -> tuple[float, float] | None:
    """The longest stretch without an answer that touches [since, until], as its two ends.

    An end that has no answer is `until_s` itself: the gap had not ended. None: there is no answer before
    `since_s` to count from.
    """
    before = [at for at in times_s if at <= since_s]
    if not before:
        return None
    marks = [before[-1], *(at for at in times_s if since_s < at <= until_s)]
    after = next((at for at in times_s if at > until_s), until_s)
    marks.append(max(after, marks[-1]))
    begin, end = max(pairwise(marks), key=lambda pair: pair[1] - pair[0])
    return begin, end


def binned(times_s: Sequence[float], origin_s: float, bin_s: float, bins: int) -> list[int]:
    """How many fall into each of `bins` stretches of `bin_s` from `origin_s` on."""
    counts = [0] * bins
    for at in times_s:
        index = int((at - origin_s) // bin_s)
        if 0 <= index < bins:
            counts[index] += 1
    return counts
