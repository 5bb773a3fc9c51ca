"""Scenarios that end by an AssertionError when disk and memory are not of one instant."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from ftd.dataplane.core import Machine
from tests.kvm.cycle.machines import Joined, until
from tests.kvm.disk.scribblers import Scribbling, counter, scribbling, wrong_units


def stand_still(pair: Joined) -> Machine:
    """The primary ends; its standby has committed all that came."""
    assert pair.primary is not None
    assert pair.standby is not None
    pair.primary.end(release_output=False, resume_guest=False)
    pair.primary = None
    pair.active.kill()
    pair.standby.stop()
    return pair.waiting


def goes_on(pair: Joined, requests: int = 300) -> None:
    """The guest, on the standby's machine, finds its disk as it was left; no request fails."""
    machine = pair.waiting
    goal = counter(machine, 0) + requests
    until(lambda: counter(machine, 0) >= goal or counter(machine, 1) > 0, "the guest goes on with its disk")
    assert not counter(machine, 1), f"unit {counter(machine, 2)}: version {counter(machine, 3)} expected"
    assert not counter(machine, 5), "no request fails"


def one_instant(setup: Scribbling, epochs: int) -> None:
    """The primary ends after so many epochs."""
    with scribbling(setup) as pair:
        until(lambda: counter(pair.active, 0) > 300, "requests before protection")
        pair.protect()
        pair.pass_epochs(epochs)
        waiting = stand_still(pair)
        assert wrong_units(waiting, setup.image("waiting"), setup) == []
        pair.take_over()
        goes_on(pair)


def several(times: int = 4) -> None:
    """In fresh folders: a small disk that is written again and again, a large one right after its copy."""
    for number in range(times):
        for units, epochs in ((64, 20 + 9 * number), (1024, 1)):
            with tempfile.TemporaryDirectory() as folder:
                one_instant(replace(Scribbling(units=units), folder=Path(folder), seed=number + 1), epochs)
