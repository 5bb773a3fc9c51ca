"""ACPI tables: how Linux learns of vCPUs, interrupt controllers, devices, and of how to switch itself off."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ftd.vm.microvm import aml

TABLES_ADDRESS: Final = 0xE0000
"""The RSDP stands first: guests that are not told its address look for it from here on."""
TABLES_END: Final = 0x100000
LAPIC_ADDRESS: Final = 0xFEE00000
IOAPIC_ADDRESS: Final = 0xFEC00000
VIRTIO_WINDOW_BYTES: Final = 0x1000
SERIAL_PORT: Final = 0x3F8
SERIAL_PORTS: Final = 8
SERIAL_LINE: Final = 4
SCI_LINE: Final = 9
# As in ftd/vm/microvm/devices.h.
PM1_EVENT_PORT: Final = 0x600
PM1_CONTROL_PORT: Final = 0x604
POWER_OFF_TYPE: Final = 5
RESET_PORT: Final = 0xCF9
RESET_VALUE: Final = 6

_OEM: Final = b"FTD   "
_OEM_TABLE: Final = b"MICROVM "
_CREATOR: Final = b"FTD "
_HEADER_BYTES: Final = 36
_RSDP_BYTES: Final = 36
_ALIGNMENT: Final = 64
_DSDT_REVISION: Final = 2
"""From 2 on integers of its machine language have 64 bits."""
_FADT_REVISION: Final = 6
_FADT_BYTES: Final = 276
_MADT_REVISION: Final = 5
_LEGACY_PIC: Final = 1
_IO_SPACE: Final = 1
# IA-PC boot architecture: no VGA, no CMOS clock, no keyboard controller; ISA devices there are.
_BOOT_ARCHITECTURE: Final = 1 << 0 | 1 << 2 | 1 << 5
# WBINVD works, C1 exists, no power and no sleep button that would have to be polled, RESET_REG is there.
_FADT_FLAGS: Final = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 10


@dataclass(frozen=True, slots=True)
class VirtioWindow:
    """A virtio-mmio device: where its registers are, and its interrupt line."""

    address: int
    line: int


def tables(vcpus: int, windows: Sequence[VirtioWindow]) -> bytes:
    """All tables, to be put at TABLES_ADDRESS, which is the RSDP's address as well."""
    placed = _Placed()
    facs = placed.add(_facs())
    dsdt = placed.add(_dsdt(windows))
    fadt = placed.add(_fadt(facs, dsdt))
    madt = placed.add(_madt(vcpus))
    xsdt = placed.add(_table(b"XSDT", 1, struct.pack("<2Q", fadt, madt)))
    return placed.behind(_rsdp(xsdt))


class _Placed:
    """Tables one after the other, with room for the RSDP before them."""

    def __init__(self) -> None:
        self._data = bytearray(_ALIGNMENT)

    def add(self, table: bytes) -> int:
        """Its address."""
        self._data += bytes(-len(self._data) % _ALIGNMENT)
        address = TABLES_ADDRESS + len(self._data)
        self._data += table
        if TABLES_ADDRESS + len(self._data) > TABLES_END:
            raise ValueError("the ACPI tables do not fit below 1 MiB")
        return address

    def behind(self, rsdp: bytes) -> bytes:
        self._data[: len(rsdp)] = rsdp
        return bytes(self._data)


def checksum(data: bytes | bytearray) -> int:
    """The byte that makes the sum of all bytes zero."""
    return -sum(data) & 0xFF


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    head = struct.pack(
        "<4sIBB6s8sI4sI", signature, _HEADER_BYTES + len(body), revision, 0, _OEM, _OEM_TABLE, 1, _CREATOR, 1
    )
    table = bytearray(head + body)
    table[9] = checksum(table)
    return bytes(table)


def _rsdp(xsdt: int) -> bytes:
    rsdp = bytearray(struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, _OEM, 2, 0, _RSDP_BYTES, xsdt, 0))
    rsdp[8] = checksum(rsdp[:20])
    rsdp[32] = checksum(rsdp)
    return bytes(rsdp)


def _facs() -> bytes:
    """Nothing is ever written to it: there is no firmware to share a lock with."""
    return struct.pack("<4sI4sIIIQB31x", b"FACS", 64, bytes(4), 0, 0, 0, 0, 2)


def _port(port: int, bits: int, access: int) -> bytes:
    return struct.pack("<BBBBQ", _IO_SPACE, bits, 0, access, port)


def _fadt(facs: int, dsdt: int) -> bytes:
    """Fields as they follow the common header; what is not set is zero: not there."""
    fadt = bytearray(_FADT_BYTES - _HEADER_BYTES)

    def put(offset: int, form: str, *values: int | bytes) -> None:
        struct.pack_into("<" + form, fadt, offset - _HEADER_BYTES, *values)

    put(36, "II", facs, dsdt)
    put(46, "H", SCI_LINE)
    put(56, "I", PM1_EVENT_PORT)
    put(64, "I", PM1_CONTROL_PORT)
    put(88, "BB", 4, 2)  # bytes of the two blocks
    put(96, "HH", 0xFFFF, 0xFFFF)  # latencies of C2 and C3: not supported
    put(109, "H", _BOOT_ARCHITECTURE)
    put(112, "I", _FADT_FLAGS)
    put(116, "12sB", _port(RESET_PORT, 8, 1), RESET_VALUE)
    put(131, "B", 5)  # minor version of 6.5
    put(140, "Q", dsdt)
    put(148, "12s", _port(PM1_EVENT_PORT, 32, 2))
    put(172, "12s", _port(PM1_CONTROL_PORT, 16, 2))
    return _table(b"FACP", _FADT_REVISION, bytes(fadt))


def _madt(vcpus: int) -> bytes:
    """A LAPIC for each vCPU, numbered like them; the IOAPIC; the PICs are there as well."""
    entries = [struct.pack("<BBBBI", 0, 8, index, index, 1) for index in range(vcpus)]
    entries.append(struct.pack("<BBBBII", 1, 12, 0, 0, IOAPIC_ADDRESS, 0))
    # ISA lines are edge and active high but for the SCI, which is level.
    entries.append(struct.pack("<BBBBIH", 2, 10, 0, SCI_LINE, SCI_LINE, 0b1101))
    entries.append(struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1))  # NMI at LINT1 of all
    return _table(b"APIC", _MADT_REVISION, struct.pack("<II", LAPIC_ADDRESS, _LEGACY_PIC) + b"".join(entries))


def _dsdt(windows: Sequence[VirtioWindow]) -> bytes:
    devices = [_virtio(number, window) for number, window in enumerate(windows)]
    serial = aml.device(
        "COM1",
        aml.name("_HID", aml.eisa_id("PNP0501")),
        aml.name("_UID", aml.integer(0)),
        aml.name("_CRS", aml.resources(aml.io_ports(SERIAL_PORT, SERIAL_PORTS), aml.isa_irq(SERIAL_LINE))),
    )
    off = aml.package(*(aml.integer(value) for value in (POWER_OFF_TYPE, POWER_OFF_TYPE, 0, 0)))
    return _table(b"DSDT", _DSDT_REVISION, aml.scope("\\_SB", *devices, serial) + aml.name("\\_S5", off))


def _virtio(number: int, window: VirtioWindow) -> bytes:
    # _CCA: its accesses to memory are coherent with the vCPUs' caches.
    return aml.device(
        f"VIO{number:X}",
        aml.name("_HID", aml.string("LNRO0005")),
        aml.name("_UID", aml.integer(number)),
        aml.name("_CCA", aml.integer(1)),
        aml.name(
            "_CRS",
            aml.resources(
                aml.memory32_fixed(window.address, VIRTIO_WINDOW_BYTES), aml.level_interrupt(window.line)
            ),
        ),
    )
