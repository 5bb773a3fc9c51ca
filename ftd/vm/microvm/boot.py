"""Puts a bare guest into memory: image, boot block, page tables, first registers (docs/MICROVM.md)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Protocol

IMAGE_ADDRESS: Final = 0x100000
IMAGE_BYTES_MAX: Final = 0x300000
"""The guests keep their own pages from 4 MiB on."""
BOOT_BLOCK_ADDRESS: Final = 0x7000
BOOT_MAGIC: Final = 0x31544F4F42445446
BOOT_ARGS: Final = 16
PAGE_TABLES_ADDRESS: Final = 0x10000
PAGE_TABLES_END: Final = 0x40000
STACK_TOP: Final = 0x80000
STACK_BYTES: Final = 0x4000
LOW_MEMORY_BYTES: Final = 3 << 30
HIGH_MEMORY_ADDRESS: Final = 4 << 30
CONSOLE_WINDOW: Final = 0xD0000000
_LARGE_PAGE: Final = 2 << 20
_TABLE_BYTES: Final = 4096
_ENTRIES: Final = 512
_PRESENT_WRITABLE_USER: Final = 0x7
_LARGE: Final = 0x80
MEMORY_BYTES_MIN: Final = 8 << 20
MEMORY_BYTES_MAX: Final = ((PAGE_TABLES_END - PAGE_TABLES_ADDRESS) // _TABLE_BYTES - 2 - 4) << 30
"""One page directory maps 1 GiB; the tables' room bounds memory."""


class BootError(ValueError):
    """The guest cannot be put into this memory; the message says why."""


class Bootable(Protocol):
    """What booting needs of a machine."""

    memory_bytes: int
    vcpus: int

    @property
    def memory(self) -> memoryview: ...

    def boot_vcpu(self, index: int, *, rip: int, rsp: int, rdi: int, rsi: int, cr3: int) -> None: ...


def boot(machine: Bootable, image: bytes, args: Sequence[int]) -> None:
    """Loads `image` and sets every vCPU to its entry. Raises BootError."""
    if not MEMORY_BYTES_MIN <= machine.memory_bytes <= MEMORY_BYTES_MAX:
        raise BootError(
            f"a bare guest needs {MEMORY_BYTES_MIN >> 20} MiB to {MEMORY_BYTES_MAX >> 30} GiB of memory"
        )
    if not 0 < len(image) <= IMAGE_BYTES_MAX:
        raise BootError(f"an image of {len(image)} bytes is not between 1 and {IMAGE_BYTES_MAX}")
    if len(args) > BOOT_ARGS:
        raise BootError(f"a bare guest takes {BOOT_ARGS} arguments, not {len(args)}")
    memory = machine.memory
    memory[IMAGE_ADDRESS : IMAGE_ADDRESS + len(image)] = image
    _write_boot_block(memory, machine, args)
    _write_page_tables(memory, machine.memory_bytes)
    for index in range(machine.vcpus):
        machine.boot_vcpu(
            index,
            rip=IMAGE_ADDRESS,
            rsp=STACK_TOP - index * STACK_BYTES,
            rdi=index,
            rsi=BOOT_BLOCK_ADDRESS,
            cr3=PAGE_TABLES_ADDRESS,
        )


def _write_boot_block(memory: memoryview, machine: Bootable, args: Sequence[int]) -> None:
    padded = [*args, *[0] * (BOOT_ARGS - len(args))]
    struct.pack_into(
        "<4Q16Q", memory, BOOT_BLOCK_ADDRESS, BOOT_MAGIC, machine.memory_bytes, machine.vcpus, 0, *padded
    )


def _mapped_ranges(memory_bytes: int) -> list[tuple[int, int]]:
    ranges = [
        (0, min(memory_bytes, LOW_MEMORY_BYTES)),
        (CONSOLE_WINDOW, CONSOLE_WINDOW + _LARGE_PAGE),
    ]
    if memory_bytes > LOW_MEMORY_BYTES:
        high_bytes = memory_bytes - LOW_MEMORY_BYTES
        ranges.append((HIGH_MEMORY_ADDRESS, HIGH_MEMORY_ADDRESS + high_bytes))
    return ranges


def _write_page_tables(memory: memoryview, memory_bytes: int) -> None:
    """One to one, in pages of 2 MiB that CPL 3 may use: all of RAM, and the console's window."""
    pml4, pdpt = PAGE_TABLES_ADDRESS, PAGE_TABLES_ADDRESS + _TABLE_BYTES
    directories = pdpt + _TABLE_BYTES
    struct.pack_into("<Q", memory, pml4, pdpt | _PRESENT_WRITABLE_USER)
    for start, end in _mapped_ranges(memory_bytes):
        for address in range(start, end, _LARGE_PAGE):
            gigabyte, large_page = address >> 30, address // _LARGE_PAGE % _ENTRIES
            directory = directories + gigabyte * _TABLE_BYTES
            struct.pack_into("<Q", memory, pdpt + 8 * gigabyte, directory | _PRESENT_WRITABLE_USER)
            struct.pack_into(
                "<Q", memory, directory + 8 * large_page, address | _PRESENT_WRITABLE_USER | _LARGE
            )
