"""Scenarios that end by an AssertionError when disk and memory are not of one instant."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from ftd.dataplane.core import Machine
from ftd.worker.disk_compare import Image, Wire, find_differences, tell
from tests.kvm.cycle.machines import VM_ID, Joined, until
from tests.kvm.dataplane.relay import tcp_pair
from tests.kvm.disk.scribblers import UNITS_MAX, Scribbling, counter, scribbling, wrong_units


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


def after_a_comparison(setup: Scribbling, epochs: int) -> int:
    """The same with a standby that has an older copy. Returns the bytes that were found to differ."""
    with scribbling(setup) as pair:
        write_on(pair.active)
        # While the guest writes: a copy of no instant.
        setup.image("waiting").write_bytes(setup.image("active").read_bytes())
        write_on(pair.active)
        compare(setup, pair.active, pair.waiting)
        write_on(pair.active)
        pair.protect()
        differed = pair.active.counter("disk_sync_total")
        pair.pass_epochs(epochs)
        waiting = stand_still(pair)
        assert wrong_units(waiting, setup.image("waiting"), setup) == []
        pair.take_over()
        goes_on(pair)
        return differed


def write_on(machine: Machine, requests: int = 300) -> None:
    """Until the guest has made so many more."""
    goal = counter(machine, 0) + requests
    until(lambda: counter(machine, 0) >= goal, "requests before protection")


def compare(setup: Scribbling, active: Machine, waiting: Machine) -> None:
    """As both workers do before a pair begins."""
    near, far = tcp_pair()
    assert active.disk is not None
    assert waiting.disk is not None
    ours, theirs = (Image(disk.fd, disk.size_bytes, bytes(16)) for disk in (active.disk, waiting.disk))
    active.watch_disk()
    with near, far:
        telling = threading.Thread(target=tell, args=(Wire(far, VM_ID, 1, 1), theirs))
        telling.start()
        find_differences(Wire(near, VM_ID, 1, 1), ours, active, lambda _bytes: None)
        telling.join()


def several(times: int = 4) -> None:
    """In fresh folders: a small disk that is written again and again, a large one right after its copy.

    And a disk of many blocks, few of which are written, with a standby that has most of it.
    """
    for number in range(times):
        for units, epochs in ((64, 20 + 9 * number), (1024, 1)):
            with tempfile.TemporaryDirectory() as folder:
                one_instant(replace(Scribbling(units=units), folder=Path(folder), seed=number + 1), epochs)
        with tempfile.TemporaryDirectory() as folder:
            many = Scribbling(units=UNITS_MAX, disk_bytes=4096 * UNITS_MAX)
            after_a_comparison(replace(many, folder=Path(folder), seed=number + 1), 1)
