"""Run by test_no_allocation.py under the interposer: protects a guest, says who allocated when, as JSON."""

from __future__ import annotations

import ctypes
import json
import sys

from tests.kvm.cycle import machines
from tests.kvm.cycle.machines import Setup, joined, until

THREADS = ("vcpu", "sender", "io", "heartbeat", "receiver")


def counts(names: tuple[str, ...]) -> dict[str, int]:
    interposer = ctypes.CDLL(None)
    interposer.allocations_of.restype = ctypes.c_ulong
    return {name: interposer.allocations_of(name.encode()) for name in names}


def main() -> None:
    tracker, hot_pages, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    machines.DEADLINE_S = 80.0  # type: ignore[misc]
    setup = Setup(tracker=tracker, hot_pages_max=hot_pages, rate_hz=2500, memory_mib=64)
    with joined(setup) as pair:
        pair.protect()
        pair.pass_epochs(50)  # first-use effects of threads that have just begun
        before, first = counts(("main", *THREADS)), pair.acked()
        until(lambda: pair.acked() >= first + epochs, f"{epochs} epochs")
        after = counts(THREADS)
        passed = pair.acked() - first
    during = {name: after[name] - before[name] for name in THREADS}
    print(json.dumps({"epochs": passed, "before": before, "during": during}))


if __name__ == "__main__":
    main()
