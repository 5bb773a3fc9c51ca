"""A guest that hardly gets a processor is not starved by its checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ftd.dataplane.events import EventKind
from tests.kvm.dataplane.pairs import Pair, Setup, assert_goes_on, wait_until
from tests.kvm.dataplane.relay import tcp_pair
from tests.kvm.dataplane.scenarios import VERIFYING_TOUCHER

PERIOD_NS: Final = 1_000_000
SETUP: Final = Setup(rate_hz=10**9 // PERIOD_NS, heartbeat_interval_ms=20, heartbeat_timeout_ms=20_000)
COMPETITORS: Final = 6
SPIN: Final = "while True: pass"


def test_checkpoints_become_rarer_while_vcpus_starve() -> None:
    pair = Pair(SETUP, SETUP.booted("toucher", VERIFYING_TOUCHER), tcp_pair())
    try:
        pair.wait_for(EventKind.PROTECTED)
        pair.wait_for_epochs(10)
        processor = min(os.sched_getaffinity(0))
        for thread in vcpu_threads():
            os.sched_setaffinity(thread, {processor})
        with competitors(processor):
            wait_until(lambda: pair.active.counter("period_ns") >= 4 * PERIOD_NS, "they become rarer")
            assert_goes_on(pair.active)
        wait_until(lambda: pair.active.counter("period_ns") == PERIOD_NS, "and as frequent as before")
        pair.wait_for_epochs(10)
    finally:
        pair.close()


def vcpu_threads() -> list[int]:
    """Of the machine that runs in this process."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(task.name) for task in tasks if (task / "comm").read_text().startswith("vcpu")]


@contextmanager
def competitors(processor: int) -> Iterator[None]:
    """Processes that never sleep, on this processor only."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(COMPETITORS)]
    try:
        for process in spinning:
            os.sched_setaffinity(process.pid, {processor})
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
