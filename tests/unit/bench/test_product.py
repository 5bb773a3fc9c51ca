"""What is made of two samples of a worker's status, and of its memory map."""

import pytest

from bench.model import NotMeasuredError
from bench.product import STEPS, run_between
from bench.resident import arena_bytes, resident_bytes
from ftd.protocol.control import WorkerStatus

SMAPS = """\
7f0000000000-7f0010000000 rw-s 00000000 00:01 42                         /memfd:ftd-guest (deleted)
Size:             262144 kB
Rss:                1024 kB
Pss:                1024 kB
7f0020000000-7f0020400000 rw-p 00000000 00:00 0
Size:               4096 kB
Rss:                4096 kB
555500000000-555500001000 r-xp 00000000 fe:00 7                          /usr/bin/python3.11
Rss:                   4 kB
"""


def status(at_s: float, epochs: int, pauses: list[tuple[int, int]]) -> WorkerStatus:
    steps = {f"{name}_ns": 2000 * epochs for name in STEPS}
    counters = {"epochs_sealed": epochs, "epochs_acked": epochs, "pages": 10 * epochs, "stalls": 3, **steps}
    return WorkerStatus(
        vm="guest", vm_id="", host="alpha", pid=1, role="active", state="protected", generation=1,
        epoch=epochs, tracker="ring", memory_bytes=0, vcpus=1, stamp_ns=int(at_s * 1e9),
        counters=counters, histograms={"pause_ns": pauses},
    )  # fmt: skip


def test_figures_are_of_the_time_between_the_samples_only() -> None:
    run = run_between(status(10, 1000, [(50, 1000)]), status(12, 6000, [(50, 1000), (60, 5000)]), 7.0)
    assert run.acked_per_second == 2500
    assert run.pages_per_epoch == 10
    assert run.pause_p50_us == pytest.approx(0.06)
    assert run.stalls == 0
    assert run.steps_us == dict.fromkeys(STEPS, 2.0)
    assert run.rounds_per_second == 7.0


def test_a_guest_that_seals_nothing_is_not_measured() -> None:
    with pytest.raises(NotMeasuredError, match="no epoch"):
        run_between(status(10, 1000, []), status(12, 1000, []), 0.0)


def test_guest_memory_is_told_from_the_rest() -> None:
    assert resident_bytes(SMAPS) == ((1024 + 4096 + 4) << 10, 1024 << 10)


def test_arenas_hold_pages_and_their_list() -> None:
    assert arena_bytes(4) == 4 * 4096 * (4096 + 8)
