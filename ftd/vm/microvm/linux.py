"""Puts Linux into memory, by its 64-bit boot protocol (Documentation/arch/x86/boot.rst): docs/MICROVM.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Protocol

from ftd.vm.microvm import acpi
from ftd.vm.microvm.boot import HIGH_MEMORY_ADDRESS, LOW_MEMORY_BYTES, BootError

MEMORY_BYTES_MIN: Final = 64 << 20
GDT_ADDRESS: Final = 0x500
ZERO_PAGE_ADDRESS: Final = 0x7000
PAGE_TABLES_ADDRESS: Final = 0x9000
COMMAND_LINE_ADDRESS: Final = 0x20000
COMMAND_LINE_BYTES_MAX: Final = 0x10000
EBDA_ADDRESS: Final = 0x9FC00
"""End of the low memory that a PC's firmware would leave free."""
HIGH_ADDRESS: Final = 0x100000
ENTRY_64_OFFSET: Final = 0x200
PAGE_BYTES: Final = 4096
_GIB: Final = 1 << 30
_LARGE_PAGE: Final = 2 << 20
_MAPPED_BYTES: Final = 4 * _GIB

_SECTOR_BYTES: Final = 512
_SETUP_SECTORS_DEFAULT: Final = 4
_HEADER_OFFSET: Final = 0x1F1
_HEADER_MAGIC: Final = b"HdrS"
_BOOT_FLAG: Final = 0xAA55
_PROTOCOL_MIN: Final = 0x020C
"""The first that says whether there is a 64-bit entry."""
_HEADER_END_MIN: Final = 0x268
_HAS_64_BIT_ENTRY: Final = 1
_LOADED_HIGH: Final = 1
_LOADER_UNDEFINED: Final = 0xFF
_E820_OFFSET: Final = 0x2D0
_RAM: Final = 1
_ACPI: Final = 3

# Null, unused, __BOOT_CS (64-bit code), __BOOT_DS: flat, privilege level 0.
GDT: Final = struct.pack("<4Q", 0, 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF)


class Bootable(Protocol):
    """What booting Linux needs of a machine."""

    memory_bytes: int
    vcpus: int

    @property
    def memory(self) -> memoryview: ...

    @property
    def virtio_windows(self) -> list[tuple[int, int]]: ...

    def boot_linux(self, *, rip: int, zero_page: int, cr3: int, gdt: int, gdt_bytes: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Kernel:
    """A bzImage, taken apart."""

    setup_header: bytes
    """From offset 0x1f1 of the image and of the zero page."""
    payload: bytes
    load_address: int
    """Where it likes to be."""
    init_bytes: int
    """What it needs from there on before it knows its memory."""
    initrd_address_max: int
    command_line_bytes_max: int


def boot(machine: Bootable, kernel: bytes, initrd: bytes, command_line: str) -> None:
    """Loads a kernel, its initrd (may be empty) and its command line. Raises BootError."""
    parsed = parse(kernel)
    encoded = _command_line(parsed, command_line)
    low_end = min(machine.memory_bytes, LOW_MEMORY_BYTES)
    kernel_end = parsed.load_address + max(parsed.init_bytes, len(parsed.payload))
    initrd_at = _initrd_address(parsed, len(initrd), low_end)
    if machine.memory_bytes < MEMORY_BYTES_MIN or kernel_end > initrd_at:
        needed = max(MEMORY_BYTES_MIN, kernel_end + len(initrd) + PAGE_BYTES)
        raise BootError(
            f"this kernel needs {-(-needed >> 20)} MiB of memory with an initrd of {len(initrd) >> 20} MiB, "
            f"and the machine has {machine.memory_bytes >> 20} MiB"
        )
    memory = machine.memory
    _put(memory, parsed.load_address, parsed.payload)
    _put(memory, initrd_at, initrd)
    _put(memory, COMMAND_LINE_ADDRESS, encoded)
    _put(memory, GDT_ADDRESS, GDT)
    windows = [acpi.VirtioWindow(address, line) for address, line in machine.virtio_windows]
    _put(memory, acpi.TABLES_ADDRESS, acpi.tables(machine.vcpus, windows))
    zero_page = make_zero_page(parsed, machine.memory_bytes, initrd_at if initrd else 0, len(initrd))
    _put(memory, ZERO_PAGE_ADDRESS, zero_page)
    _put(memory, PAGE_TABLES_ADDRESS, page_tables())
    machine.boot_linux(
        rip=parsed.load_address + ENTRY_64_OFFSET,
        zero_page=ZERO_PAGE_ADDRESS,
        cr3=PAGE_TABLES_ADDRESS,
        gdt=GDT_ADDRESS,
        gdt_bytes=len(GDT),
    )


def parse(image: bytes) -> Kernel:
    """Takes a bzImage apart. Raises BootError for what is not one, or cannot be booted in 64-bit mode."""
    if len(image) < _HEADER_END_MIN or image[0x202:0x206] != _HEADER_MAGIC:
        raise BootError("not a Linux kernel: a bzImage (such as /boot/vmlinuz-*) has HdrS at offset 0x202")
    (boot_flag, protocol) = (_word(image, 0x1FE), _word(image, 0x206))
    if boot_flag != _BOOT_FLAG:
        raise BootError(f"a damaged bzImage: its boot flag is {boot_flag:#x}")
    if protocol < _PROTOCOL_MIN or not _word(image, 0x236) & _HAS_64_BIT_ENTRY:
        raise BootError(
            f"a kernel without a 64-bit entry (boot protocol {protocol >> 8}.{protocol & 0xFF:02}): "
            "a 64-bit kernel of Linux 3.8 or later is needed"
        )
    if not image[0x211] & _LOADED_HIGH:
        raise BootError("a zImage: only a bzImage, which is loaded above 1 MiB, can be booted")
    setup_bytes = ((image[_HEADER_OFFSET] or _SETUP_SECTORS_DEFAULT) + 1) * _SECTOR_BYTES
    payload_bytes = _dword(image, 0x1F4) * 16
    if setup_bytes + payload_bytes > len(image):
        raise BootError(
            f"a truncated bzImage: {len(image)} of the {setup_bytes + payload_bytes} bytes that it began with"
        )
    header_end = 0x202 + image[0x201]
    if header_end < _HEADER_END_MIN - 4 or header_end > setup_bytes:
        raise BootError(f"a damaged bzImage: its setup header ends at {header_end:#x}")
    load_address = int.from_bytes(image[0x258:0x260], "little")
    if not HIGH_ADDRESS <= load_address < LOW_MEMORY_BYTES or load_address % PAGE_BYTES:
        raise BootError(f"a damaged bzImage: it wants to be loaded at {load_address:#x}")
    return Kernel(
        setup_header=image[_HEADER_OFFSET:header_end],
        payload=image[setup_bytes:],
        load_address=load_address,
        init_bytes=_dword(image, 0x260),
        initrd_address_max=_dword(image, 0x22C),
        command_line_bytes_max=min(_dword(image, 0x238), COMMAND_LINE_BYTES_MAX - 1),
    )


def make_zero_page(kernel: Kernel, memory_bytes: int, initrd_address: int, initrd_bytes: int) -> bytes:
    """`struct boot_params`: what the kernel is told of the machine."""
    page = bytearray(PAGE_BYTES)
    page[_HEADER_OFFSET : _HEADER_OFFSET + len(kernel.setup_header)] = kernel.setup_header
    page[0x210] = _LOADER_UNDEFINED
    struct.pack_into("<II", page, 0x218, initrd_address, initrd_bytes)
    struct.pack_into("<I", page, 0x228, COMMAND_LINE_ADDRESS)
    struct.pack_into("<Q", page, 0x070, acpi.TABLES_ADDRESS)
    ranges = memory_map(memory_bytes)
    page[0x1E8] = len(ranges)
    for index, (start, end, kind) in enumerate(ranges):
        struct.pack_into("<QQI", page, _E820_OFFSET + 20 * index, start, end - start, kind)
    return bytes(page)


def memory_map(memory_bytes: int) -> list[tuple[int, int, int]]:
    """Start, end and kind (e820) of each range of memory."""
    ranges = [
        (0, EBDA_ADDRESS, _RAM),
        (acpi.TABLES_ADDRESS, acpi.TABLES_END, _ACPI),
        (HIGH_ADDRESS, min(memory_bytes, LOW_MEMORY_BYTES), _RAM),
    ]
    if memory_bytes > LOW_MEMORY_BYTES:
        high_bytes = memory_bytes - LOW_MEMORY_BYTES
        ranges.append((HIGH_MEMORY_ADDRESS, HIGH_MEMORY_ADDRESS + high_bytes, _RAM))
    return ranges


def page_tables() -> bytes:
    """The first 4 GiB one to one, in pages of 2 MiB, to be put at PAGE_TABLES_ADDRESS."""
    present_writable, large = 0x3, 0x80
    pml4, pdpt = bytearray(PAGE_BYTES), bytearray(PAGE_BYTES)
    struct.pack_into("<Q", pml4, 0, PAGE_TABLES_ADDRESS + PAGE_BYTES | present_writable)
    directories = PAGE_TABLES_ADDRESS + 2 * PAGE_BYTES
    for index in range(_MAPPED_BYTES // _GIB):
        struct.pack_into("<Q", pdpt, 8 * index, directories + index * PAGE_BYTES | present_writable)
    entries = range(0, _MAPPED_BYTES, _LARGE_PAGE)
    large_pages = struct.pack(f"<{len(entries)}Q", *(at | present_writable | large for at in entries))
    return bytes(pml4 + pdpt) + large_pages


def _initrd_address(kernel: Kernel, initrd_bytes: int, low_end: int) -> int:
    """As high as the kernel takes it, below the hole; never negative."""
    end = min(low_end, kernel.initrd_address_max + 1)
    return max(0, (end - initrd_bytes) // PAGE_BYTES * PAGE_BYTES)


def _command_line(kernel: Kernel, text: str) -> bytes:
    encoded = text.encode()
    if b"\0" in encoded or len(encoded) > kernel.command_line_bytes_max:
        raise BootError(
            f"a command line of {len(encoded)} bytes: this kernel takes "
            f"{kernel.command_line_bytes_max}, and no zero among them"
        )
    return encoded + b"\0"


def _put(memory: memoryview, address: int, data: bytes) -> None:
    memory[address : address + len(data)] = data


def _word(image: bytes, offset: int) -> int:
    return int.from_bytes(image[offset : offset + 2], "little")


def _dword(image: bytes, offset: int) -> int:
    return int.from_bytes(image[offset : offset + 4], "little")
