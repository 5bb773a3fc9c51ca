"""Linux's boot protocol: what is put where, and which images are refused with which sentence."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import pytest

from ftd.vm.microvm import acpi, linux
from ftd.vm.microvm.boot import BootError

MIB = 1 << 20
GIB = 1 << 30
SETUP_SECTORS = 7
PAYLOAD = bytes(range(256)) * 64
LOAD_ADDRESS = 16 * MIB
INIT_BYTES = 8 * MIB


def bzimage(change: Callable[[bytearray], object] = lambda image: None) -> bytes:
    """A kernel as the build makes it, as far as a boot loader looks at it."""
    setup = bytearray((SETUP_SECTORS + 1) * 512)
    setup[0x1F1] = SETUP_SECTORS
    struct.pack_into("<I", setup, 0x1F4, len(PAYLOAD) // 16)
    struct.pack_into("<H", setup, 0x1FE, 0xAA55)
    setup[0x200:0x202] = b"\xeb\x6a"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, 0x020F)
    setup[0x211] = 1
    struct.pack_into("<I", setup, 0x22C, 0x7FFFFFFF)
    struct.pack_into("<H", setup, 0x236, 0x7F)
    struct.pack_into("<I", setup, 0x238, 2047)
    struct.pack_into("<Q", setup, 0x258, LOAD_ADDRESS)
    struct.pack_into("<I", setup, 0x260, INIT_BYTES)
    change(setup)
    return bytes(setup) + PAYLOAD


class FakeMachine:
    """Memory, and the registers that were asked for."""

    vcpus = 2

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._memory = bytearray(min(memory_bytes, 3 * GIB))
        self.registers: dict[str, int] = {}

    @property
    def memory(self) -> memoryview:
        return memoryview(self._memory)

    @property
    def virtio_windows(self) -> list[tuple[int, int]]:
        return [(0xD0000000, 16)]

    def boot_linux(self, **registers: int) -> None:
        self.registers = registers


def booted(
    memory_bytes: int = 128 * MIB, initrd: bytes = b"initrd" * 1000, text: str = "quiet"
) -> FakeMachine:
    machine = FakeMachine(memory_bytes)
    linux.boot(machine, bzimage(), initrd, text)
    return machine


def test_everything_is_where_the_zero_page_says() -> None:
    machine = booted()
    memory, at = machine.memory, machine.registers["zero_page"]
    zero_page = bytes(memory[at : at + 4096])
    assert machine.registers["rip"] == LOAD_ADDRESS + 0x200
    assert bytes(memory[LOAD_ADDRESS : LOAD_ADDRESS + len(PAYLOAD)]) == PAYLOAD
    assert zero_page[0x202:0x206] == b"HdrS"
    assert zero_page[0x1F1] == SETUP_SECTORS
    assert zero_page[0x210] == 0xFF
    initrd_at, initrd_bytes = struct.unpack_from("<II", zero_page, 0x218)
    assert initrd_at % 4096 == 0
    assert initrd_at + initrd_bytes > 127 * MIB
    assert bytes(memory[initrd_at : initrd_at + initrd_bytes]) == b"initrd" * 1000
    (text_at,) = struct.unpack_from("<I", zero_page, 0x228)
    assert bytes(memory[text_at : text_at + 6]) == b"quiet\0"
    (rsdp_at,) = struct.unpack_from("<Q", zero_page, 0x070)
    assert bytes(memory[rsdp_at : rsdp_at + 8]) == b"RSD PTR "
    assert 0xE0000 <= rsdp_at < 0x100000
    assert rsdp_at % 16 == 0


def test_descriptors_are_flat() -> None:
    machine = booted()
    at, length = machine.registers["gdt"], machine.registers["gdt_bytes"]
    entries = struct.unpack("<4Q", machine.memory[at : at + length])
    code, data = entries[2], entries[3]
    # Access bytes: present, privilege level 0, code that can be read, and data that can be written.
    assert (code >> 40 & 0xFE, data >> 40 & 0xFE) == (0x9A, 0x92)
    assert code >> 53 & 1, "64-bit"


def translate(machine: FakeMachine, address: int) -> int:
    """As the processor would, by the tables in memory."""
    table = machine.registers["cr3"]
    for shift in (39, 30, 21):
        (entry,) = struct.unpack_from("<Q", machine.memory, table + 8 * (address >> shift & 511))
        assert entry & 3 == 3, f"{address:#x} is not mapped"
        if entry & 0x80:
            return int(entry & ~0x1FFFFF) + address % (1 << shift)
        table = entry & ~0xFFF
    raise AssertionError("no large page")


def test_the_first_four_gibibytes_are_one_to_one() -> None:
    machine = booted()
    for address in (0, 0x7000, LOAD_ADDRESS, GIB - 1, GIB, 2 * GIB + 12345, 4 * GIB - 1):
        assert translate(machine, address) == address


@pytest.mark.parametrize("memory_bytes", [64 * MIB, 3 * GIB, 3 * GIB + 2 * MIB, 5 * GIB])
def test_the_map_has_all_of_memory_and_nothing_twice(memory_bytes: int) -> None:
    ranges = linux.memory_map(memory_bytes)
    assert all(end <= start for (_, end, _), (start, _, _) in itertools.pairwise(ranges))
    assert all(not (3 * GIB < end <= 4 * GIB) for _, end, _ in ranges)
    ram = sum(end - start for start, end, kind in ranges if kind == 1)
    assert memory_bytes - ram == MIB - linux.EBDA_ADDRESS
    acpi_ranges = [(start, end) for start, end, kind in ranges if kind == 3]
    assert acpi_ranges == [(acpi.TABLES_ADDRESS, acpi.TABLES_END)]


def test_the_initrd_stays_where_the_kernel_can_read_it() -> None:
    kernel = linux.parse(bzimage(lambda image: struct.pack_into("<I", image, 0x22C, 0x37FFFFFF)))
    assert linux._initrd_address(kernel, 10 * MIB, 3 * GIB) == 0x38000000 - 10 * MIB
    kernel = linux.parse(bzimage(lambda image: struct.pack_into("<I", image, 0x22C, 0xFFFFFFFF)))
    assert linux._initrd_address(kernel, 10 * MIB, 3 * GIB) == 3 * GIB - 10 * MIB


def put(form: str, offset: int, value: int) -> Callable[[bytearray], object]:
    return lambda image: struct.pack_into("<" + form, image, offset, value)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (b"", "not a Linux kernel"),
        (b"\x7fELF" + bytes(4096), "not a Linux kernel: a bzImage"),
        (bzimage()[:600], "not a Linux kernel"),
        (bzimage()[:-1], r"truncated bzImage: 20479 of the 20480 bytes"),
        (bzimage(put("H", 0x1FE, 0)), "boot flag is 0x0"),
        (bzimage(put("H", 0x206, 0x020B)), r"boot protocol 2\.11"),
        (bzimage(put("H", 0x236, 0)), "without a 64-bit entry"),
        (bzimage(put("B", 0x211, 0)), "a zImage"),
        (bzimage(put("B", 0x201, 0)), "its setup header ends at 0x202"),
        (bzimage(put("Q", 0x258, 0x1000)), "wants to be loaded at 0x1000"),
        (bzimage(put("Q", 0x258, 1 << 63)), "wants to be loaded at 0x8000000000000000"),
    ],
)
def test_other_images_are_refused(image: bytes, said: str) -> None:
    with pytest.raises(BootError, match=said):
        linux.parse(image)


@pytest.mark.parametrize(
    ("memory_bytes", "initrd_bytes", "said"),
    [
        (32 * MIB, 0, "needs 64 MiB of memory with an initrd of 0 MiB, and the machine has 32 MiB"),
        (64 * MIB, 60 * MIB, "needs 85 MiB of memory with an initrd of 60 MiB, and the machine has 64 MiB"),
        (64 * MIB, 100 * MIB, "needs 125 MiB of memory with an initrd of 100 MiB"),
    ],
)
def test_too_little_memory_is_a_sentence(memory_bytes: int, initrd_bytes: int, said: str) -> None:
    with pytest.raises(BootError, match=said):
        booted(memory_bytes, bytes(initrd_bytes))


@pytest.mark.parametrize("text", ["x" * 2048, "a\0b"])
def test_command_lines_that_the_kernel_would_cut_are_refused(text: str) -> None:
    with pytest.raises(BootError, match="this kernel takes 2047"):
        booted(text=text)
