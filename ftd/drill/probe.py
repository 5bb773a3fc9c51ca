"""What every observer outside promises a drill."""

import time
from typing import Final, Protocol

from ftd.drill.tally import Tally

REQUESTS_PER_SECOND: Final = 200.0
FINISH_S: Final = 5.0


def now_s() -> float:
    """CLOCK_BOOTTIME: what the daemons stamp their histories with."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e9


class Probe(Protocol):
    """One observer."""

    tally: Tally
    describe: str

    async def begin(self) -> None:
        """Whether the guest answers at all. Raises ControlError when not: then nothing can be measured."""

    async def run(self) -> None:
        """Asks until `finish`."""

    async def finish(self) -> None:
        """Asks nothing new, waits for what is outstanding for FINISH_S at most, closes the tally."""
