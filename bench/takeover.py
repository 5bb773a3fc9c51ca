"""How a takeover's time is spent, from the standby's own history."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.model import NotMeasuredError
from ftd.protocol.control import GUEST_RUNS, LOSS_SEEN, StateChange

NS_PER_S = 1e9
WON = "ClaimWon"


@dataclass(frozen=True)
class Takeover:
    """Of one death."""

    detected_s: float
    """From the death to the loss that the standby's decisions heard of."""
    activated_s: float
    """From the arbiter's yes to the guest's first instruction: close, outwait, restore."""


def takeover(history: Sequence[StateChange], died_boottime_ns: int) -> Takeover:
    """Of the newest one in `history`. Raises NotMeasuredError when it has none since that time."""
    times = {entry.on: entry.boottime_ns for entry in history if entry.boottime_ns >= died_boottime_ns}
    missing = [step for step in (LOSS_SEEN, WON, GUEST_RUNS) if step not in times]
    if missing:
        raise NotMeasuredError(f"the standby's history lacks {', '.join(missing)}")
    return Takeover(
        detected_s=(times[LOSS_SEEN] - died_boottime_ns) / NS_PER_S,
        activated_s=(times[GUEST_RUNS] - times[WON]) / NS_PER_S,
    )
