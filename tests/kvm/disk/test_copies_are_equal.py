"""Promise: disk and memory of the standby are of one instant, and the guest goes on with both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ftd.dataplane.core import Machine
from tests.kvm.cycle.machines import Joined, until
from tests.kvm.disk.scribblers import Scribbling, counter, scribbling, wrong_units

SETUPS = {
    "pages": Scribbling(),
    "large": Scribbling(units=64, unit_bytes=65536),
    "one-at-a-time": Scribbling(depth=1, units=64),
    "irqchip": Scribbling(irqchip=True),
    "small-log": Scribbling(units=64, unit_bytes=65536, epoch_disk_bytes=512 << 10, rate_hz=50),
}


def goes_on(pair: Joined, requests: int = 300) -> None:
    machine = pair.waiting
    goal = counter(machine, 0) + requests
    until(lambda: counter(machine, 0) >= goal or counter(machine, 1) > 0, "the guest goes on with its disk")
    assert not counter(machine, 1), f"unit {counter(machine, 2)}: version {counter(machine, 3)} expected"
    assert not counter(machine, 5), "no request fails"


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
    setup = replace(SETUPS[name], folder=tmp_path, seed=epochs)
    with scribbling(setup) as pair:
        until(lambda: counter(pair.active, 0) > 300, "requests before protection")
        pair.protect()
        pair.pass_epochs(epochs)
        waiting = stand_still(pair)
        assert wrong_units(waiting, setup.image("waiting"), setup) == []
        pair.take_over()
        goes_on(pair)


def stand_still(pair: Joined) -> Machine:
    """The primary ends; its standby has committed all that came."""
    assert pair.primary is not None
    assert pair.standby is not None
    pair.primary.end(release_output=False, resume_guest=False)
    pair.primary = None
    pair.active.kill()
    pair.standby.stop()
    return pair.waiting
