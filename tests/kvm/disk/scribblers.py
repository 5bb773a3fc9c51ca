"""A scribbler on a disk, its standby with another, and what both disks must hold."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ftd.dataplane.core import Disk, LinkConfig, Machine
from ftd.vm.microvm import machine as microvm
from ftd.vm.microvm.guests import image_path
from tests.kvm.cycle.machines import Joined, Setup

MIB: Final = 1 << 20
KNOWN: Final = 0x400000
UNITS_MAX: Final = 16384
UNKNOWN: Final = (1 << 64) - 1
SECTOR_WORDS: Final = 64
COUNTERS: Final = 0x6000
ALL, WRITES, READS, DURABLE = range(4)


@dataclass(frozen=True, kw_only=True)
class Scribbling(Setup):
    """A machine with a disk whose guest scribbles; ``args`` follow from the other fields."""

    guest: str = "scribbler"
    units: int = 256
    mode: int = ALL
    unit_bytes: int = 4096
    depth: int = 4
    seed: int = 0
    spin: int = 0
    disk_bytes: int = 4 * MIB
    epoch_disk_bytes: int = 1 * MIB
    folder: Path = Path()

    def booted_args(self) -> tuple[int, ...]:
        return (self.units, self.mode, self.unit_bytes, self.depth, self.spin, self.seed)

    def image(self, name: str) -> Path:
        return self.folder / f"{name}.img"

    def machine_on(self, name: str) -> Machine:
        """With the disk of that name, which is made if it is not there."""
        path = self.image(name)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, self.disk_bytes)
        return microvm.make(
            memory_bytes=self.memory_mib << 20,
            vcpus=self.vcpus,
            irqchip=self.irqchip,
            tracker=self.tracker,
            epoch_pages_max=self.epoch_pages_max,
            disk=Disk(fd, self.disk_bytes, "scribbler"),
        )

    def link(self, data, heartbeat) -> LinkConfig:  # type: ignore[no-untyped-def]
        return replace(super().link(data, heartbeat), epoch_disk_bytes=self.epoch_disk_bytes)


def words_at(machine: Machine, address: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}Q", machine.memory, address)


def counter(machine: Machine, index: int) -> int:
    return words_at(machine, COUNTERS, 8)[index]


def expected_unit(unit: int, version: int, unit_bytes: int) -> bytes:
    """What the guest writes in mode ALL."""
    if version == 0:
        return bytes(unit_bytes)
    words = [
        (version, unit)[index % SECTOR_WORDS]
        if index % SECTOR_WORDS < 2
        else (version * 31 + unit + index) % (1 << 64)
        for index in range(unit_bytes // 8)
    ]
    return struct.pack(f"<{len(words)}Q", *words)


def wrong_units(machine: Machine, image: Path, setup: Scribbling) -> list[str]:
    """Units of an image that are neither what memory knows to be there nor what it asked for last."""
    known = words_at(machine, KNOWN, setup.units)
    asked = words_at(machine, KNOWN + 8 * UNITS_MAX, setup.units)
    wrong = []
    with image.open("rb") as file:
        for unit in range(setup.units):
            held = file.read(setup.unit_bytes)
            allowed = {known[unit], asked[unit]}
            if UNKNOWN not in allowed and not any(
                held == expected_unit(unit, version, setup.unit_bytes) for version in allowed
            ):
                wrong.append(f"unit {unit}: has {held[:24].hex()}, known {known[unit]}, asked {asked[unit]}")
        if any(file.read()):
            wrong.append("behind the units, where the guest never wrote")
    return wrong


@contextmanager
def scribbling(setup: Scribbling, active: Machine | None = None) -> Iterator[Joined]:
    """The guest runs on the disk ``active``, unprotected; its standby has the disk ``waiting``."""
    machine = active or setup.machine_on("active")
    if not setup.image("waiting").exists():
        setup.image("waiting").write_bytes(b"old contents" * (setup.disk_bytes // 12))
    pair = Joined(setup, machine, setup.machine_on("waiting"))
    try:
        if active is None:
            microvm.load(machine, image_path(setup.guest).read_bytes(), setup.booted_args())
            machine.run()
        yield pair
    finally:
        pair.close()
