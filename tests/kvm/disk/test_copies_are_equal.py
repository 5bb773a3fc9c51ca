"""Promise: disk and memory of the standby are of one instant, and the guest goes on with both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.kvm.cycle.machines import until
from tests.kvm.disk.scenarios import one_instant
from tests.kvm.disk.scribblers import Scribbling, counter, scribbling

SETUPS = {
    "pages": Scribbling(),
    "large": Scribbling(units=64, unit_bytes=65536),
    "one-at-a-time": Scribbling(depth=1, units=64),
    "irqchip": Scribbling(irqchip=True),
    "small-log": Scribbling(units=64, unit_bytes=65536, epoch_disk_bytes=512 << 10, rate_hz=50),
}


@pytest.mark.parametrize("name", SETUPS)
def test_a_guest_alone_reads_what_it_wrote(tmp_path: Path, name: str) -> None:
    setup = replace(SETUPS[name], folder=tmp_path)
    with scribbling(setup) as pair:
        until(lambda: counter(pair.active, 0) > 2000 or counter(pair.active, 1) > 0, "2000 requests")
        assert not counter(pair.active, 1)
        assert not counter(pair.active, 5)
        assert counter(pair.active, 6) > 50


@pytest.mark.parametrize("epochs", [1, 7, 60])
@pytest.mark.parametrize("name", SETUPS)
def test_a_primary_that_ends_at_any_moment_leaves_disk_and_memory_of_one_instant(
    tmp_path: Path, name: str, epochs: int
) -> None:
    one_instant(replace(SETUPS[name], folder=tmp_path, seed=epochs), epochs)
