"""Runs the product: two workers on this machine, joined over loopback.

Each function starts what it needs, measures, and stops it again, whatever happens in between. They are the
only place in the bench that knows how the product is driven.
"""

import signal
from pathlib import Path

from bench.model import NotMeasuredError, Run, Workload


class Product:
    """The product, as a side of the bench."""

    def __init__(self, image: Path) -> None:
        self._image = image

    def run(self, workload: Workload) -> Run:
        """A toucher guest under protection for `workload.seconds`; figures from the data plane's counters."""
        raise NotMeasuredError("the bench does not drive the workers yet")


def first_sync_bytes_per_second(memory_mib: int) -> float:
    """Guest memory divided by the time from enter to protected, of a guest whose memory is full of data."""
    raise NotMeasuredError("the bench does not drive the workers yet")


def blackouts_s(kill_signal: signal.Signals, count: int, heartbeat_timeout_ms: int) -> list[float]:
    """What a ledger client outside saw at each of `count` deaths of the primary, at random moments."""
    raise NotMeasuredError("the bench does not drive the workers yet")


def resident_beside_guest_mib() -> float:
    """Resident memory of the primary's worker under protection, less guest memory and arenas."""
    raise NotMeasuredError("the bench does not drive the workers yet")
