"""Times of a takeover are read from the history of the copy that took over."""

import pytest

from bench.model import NotMeasuredError
from bench.takeover import Takeover, takeover
from ftd.protocol.control import GUEST_RUNS, LOSS_SEEN, StateChange

DIED_NS = 1_000_000_000


def entry(on: str, boottime_ms: int) -> StateChange:
    return StateChange(on=on, before="", after="", realtime_ns=0, boottime_ns=boottime_ms * 1_000_000)


TAKEN_OVER = [
    entry(LOSS_SEEN, 1105),
    entry("PeerLost", 1107),
    entry("ClaimWon", 1110),
    entry(GUEST_RUNS, 1114),
]


def test_times_are_those_since_the_death() -> None:
    earlier = [entry(LOSS_SEEN, 500), entry("ClaimWon", 501), entry(GUEST_RUNS, 900)]
    found = takeover([*earlier, *TAKEN_OVER], DIED_NS)
    assert found == Takeover(detected_s=0.105, activated_s=0.004)


def test_a_history_that_was_forgotten_measures_nothing() -> None:
    with pytest.raises(NotMeasuredError, match="lacks loss seen"):
        takeover(TAKEN_OVER[1:], DIED_NS)
