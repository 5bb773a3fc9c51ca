"""A standby that has most of the disk already gets the rest, and no more than that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ftd.dataplane.core import DISK_BLOCK_BYTES
from ftd.dataplane.errors import DataplaneError
from tests.kvm.disk.scenarios import after_a_comparison, compare, write_on
from tests.kvm.disk.scribblers import MIB, Scribbling, scribbling
from tests.kvm.disk.test_copies_are_equal import SETUPS

UNITS_BYTES = 64 * 4096


@pytest.mark.parametrize("epochs", [1, 20])
@pytest.mark.parametrize("name", SETUPS)
def test_disk_and_memory_are_of_one_instant(tmp_path: Path, name: str, epochs: int) -> None:
    after_a_comparison(replace(SETUPS[name], folder=tmp_path, seed=epochs), epochs)


def test_what_is_equal_is_not_sent(tmp_path: Path) -> None:
    """The guest writes a few units of a disk that is full of other things."""
    setup = Scribbling(units=64, folder=tmp_path, disk_bytes=64 * MIB)
    setup.image("active").write_bytes(bytes(UNITS_BYTES) + b"\1" * (setup.disk_bytes - UNITS_BYTES))
    with scribbling(setup) as pair:
        write_on(pair.active)
        setup.image("waiting").write_bytes(setup.image("active").read_bytes())
        write_on(pair.active)
        compare(setup, pair.active, pair.waiting)
        pair.protect()
        assert 0 < pair.active.counter("disk_sync_total") <= UNITS_BYTES


def test_what_the_standby_has_too_much_goes(tmp_path: Path) -> None:
    """Blocks of the last, half one included, where the guest's disk has nothing at all."""
    setup = Scribbling(units=64, folder=tmp_path, disk_bytes=4 * MIB + 512)
    with scribbling(setup) as pair:
        write_on(pair.active)
        setup.image("waiting").write_bytes(b"\1" * setup.disk_bytes)
        compare(setup, pair.active, pair.waiting)
        pair.protect()
        behind = slice(UNITS_BYTES, None)
        assert not any(setup.image("waiting").read_bytes()[behind])
        assert pair.active.counter("disk_sync_total") >= 4 * MIB


def test_watching_ends_with_the_pair_or_before(tmp_path: Path) -> None:
    """Once ended, all of the disk is sent again; while a pair has it, it cannot begin."""
    setup = Scribbling(units=64, folder=tmp_path)
    with scribbling(setup) as pair:
        write_on(pair.active)
        compare(setup, pair.active, pair.waiting)
        pair.active.unwatch_disk()
        pair.protect()
        assert pair.active.counter("disk_sync_total") >= UNITS_BYTES
        with pytest.raises(DataplaneError, match="is being replicated already"):
            pair.active.watch_disk()
        pair.active.unwatch_disk()  # of no effect: the pair has it
        pair.pass_epochs(5)


def test_blocks_that_are_not_the_disks_are_refused(tmp_path: Path) -> None:
    machine = Scribbling(folder=tmp_path).machine_on("active")
    with pytest.raises(DataplaneError, match="the disk is not watched"):
        machine.mark_disk(0, [1])
    machine.watch_disk()
    with pytest.raises(DataplaneError, match="the disk's map has 1 words"):
        machine.mark_disk(64, [64 + 4 * MIB // DISK_BLOCK_BYTES])
    machine.close()
