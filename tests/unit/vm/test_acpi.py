"""ACPI tables: found the way a guest finds them, and read by ACPI's own disassembler."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from ftd.vm.microvm import acpi, aml
from lab.debian import packages
from lab.errors import MissingError

WINDOWS = [acpi.VirtioWindow(0xD0000000 + 0x1000 * index, 16 + index) for index in range(3)]


def table_at(tables: bytes, address: int) -> bytes:
    offset = address - acpi.TABLES_ADDRESS
    (length,) = struct.unpack_from("<I", tables, offset + 4)
    return tables[offset : offset + length]


def walk(tables: bytes) -> dict[str, bytes]:
    """Every table, by signature, from the RSDP on; all sums are looked at, as firmware's readers do."""
    assert tables[:8] == b"RSD PTR "
    assert sum(tables[:20]) & 0xFF == 0
    assert sum(tables[:36]) & 0xFF == 0
    (xsdt_at,) = struct.unpack_from("<Q", tables, 24)
    xsdt = table_at(tables, xsdt_at)
    found = {"XSDT": xsdt}
    for (address,) in struct.iter_unpack("<Q", xsdt[36:]):
        table = table_at(tables, address)
        found[table[:4].decode()] = table
    fadt = found["FACP"]
    facs, dsdt, dsdt_64 = (*struct.unpack_from("<II", fadt, 36), *struct.unpack_from("<Q", fadt, 140))
    assert dsdt == dsdt_64
    assert facs % 64 == 0
    assert table_at(tables, facs)[:4] == b"FACS"
    found["DSDT"] = table_at(tables, dsdt)
    for signature, table in found.items():
        assert sum(table) & 0xFF == 0, signature
    return found


@pytest.mark.parametrize("vcpus", [1, 4, 8])
def test_each_vcpu_has_a_lapic_of_its_number(vcpus: int) -> None:
    madt = walk(acpi.tables(vcpus, WINDOWS))["APIC"]
    entries, at = [], 44
    while at < len(madt):
        entries.append(madt[at : at + madt[at + 1]])
        at += madt[at + 1]
    assert at == len(madt)
    lapics = [entry for entry in entries if entry[0] == 0]
    assert [(entry[2], entry[3], entry[4]) for entry in lapics] == [
        (index, index, 1) for index in range(vcpus)
    ]
    assert [struct.unpack_from("<I", entry, 4)[0] for entry in entries if entry[0] == 1] == [0xFEC00000]


def disassembled(table: bytes, folder: Path) -> str:
    """What Debian's iasl makes of a table. Skips where it cannot be had."""
    try:
        packages.require(["acpica-tools"], why="reading ACPI tables")
    except MissingError as error:
        pytest.skip(str(error))
    (folder / "table.aml").write_bytes(table)
    done = subprocess.run(
        ["iasl", "-d", "table.aml"], cwd=folder, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not re.search("warning|error|invalid|exception", said, re.IGNORECASE), said
    return re.sub(r"/\*[\s\S]*?\*/|//.*", "", (folder / "table.dsl").read_text())


def test_devices_as_a_disassembler_sees_them(tmp_path: Path) -> None:
    source = " ".join(disassembled(walk(acpi.tables(1, WINDOWS))["DSDT"], tmp_path).split())
    for number, window in enumerate(WINDOWS):
        device = source.partition(f"Device (VIO{number})")[2].partition("Device (")[0]
        assert 'Name (_HID, "LNRO0005")' in device
        assert f"Memory32Fixed (ReadWrite, 0x{window.address:08X}, 0x00001000, )" in device
        assert "Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive, ,, )" in device
        assert f"{{ 0x{window.line:08X}, }}" in device
    serial = source.partition("Device (COM1)")[2]
    assert 'EisaId ("PNP0501")' in serial
    assert "IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08, )" in serial
    assert "IRQNoFlags () {4}" in serial
    assert re.search(r"Name \(\\_S5, Package \(0x04\) \{ 0x05, 0x05, Zero, Zero \}\)", source)


def test_ways_to_end_as_a_disassembler_sees_them(tmp_path: Path) -> None:
    source = disassembled(walk(acpi.tables(1, WINDOWS))["FACP"], tmp_path)

    def field(name: str) -> str:
        found = re.search(rf"{re.escape(name)} : (\S+)", source)
        assert found is not None, source
        return found[1]

    assert field("PM1A Event Block Address") == "00000600"
    assert field("PM1A Control Block Address") == "00000604"
    assert field("PM1 Event Block Length") == "04"
    assert field("PM1 Control Block Length") == "02"
    assert field("Reset Register Supported (V2)") == "1"
    assert field("Value to cause reset") == "06"
    assert field("Hardware Reduced (V5)") == "0"
    assert field("CMOS RTC Not Present (V5)") == "1"


def test_ports_are_those_of_the_device_model() -> None:
    """devices.h and acpi.py name them each for its own side."""
    header = Path(acpi.__file__).with_name("devices.h").read_text()

    def defined(name: str) -> int:
        found = re.search(rf"#define {name} (\w+)", header)
        assert found is not None, name
        return int(found[1], 0)

    assert defined("POWER_PM1_EVENT") == acpi.PM1_EVENT_PORT
    assert defined("POWER_PM1_CONTROL") == acpi.PM1_CONTROL_PORT
    assert defined("POWER_OFF_TYPE") == acpi.POWER_OFF_TYPE
    assert defined("POWER_RESET") == acpi.RESET_PORT
    assert (defined("SERIAL_PORT"), defined("SERIAL_IRQ")) == (acpi.SERIAL_PORT, acpi.SERIAL_LINE)


@pytest.mark.parametrize(
    ("body_bytes", "head"),
    [
        (62, b"\x3f"),
        (63, b"\x41\x04"),
        (4093, b"\x4f\xff"),
        (4094, b"\x81\x00\x01"),
        (1 << 20, b"\xc4\x00\x00\x01"),
    ],
)
def test_package_lengths_count_themselves(body_bytes: int, head: bytes) -> None:
    # "V___" and a body of zeroes behind a scope's opcode: the first four bytes of the body are the name.
    encoded = aml.scope("V", bytes(body_bytes - 4))
    assert encoded[1 : 1 + len(head)] == head
    assert len(encoded) == 1 + len(head) + body_bytes


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit below 1 MiB"):
        acpi.tables(1, [acpi.VirtioWindow(0xD0000000, 16)] * 2000)
