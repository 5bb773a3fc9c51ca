"""Just enough of ACPI's machine language to describe the microvm's devices (ACPI 6.5, chapters 19 and 20)."""

from __future__ import annotations

import struct
from typing import Final

_ZERO_OP: Final = 0x00
_BYTE_PREFIX: Final = 0x0A
_WORD_PREFIX: Final = 0x0B
_DWORD_PREFIX: Final = 0x0C
_STRING_PREFIX: Final = 0x0D
_NAME_OP: Final = b"\x08"
_SCOPE_OP: Final = b"\x10"
_BUFFER_OP: Final = b"\x11"
_PACKAGE_OP: Final = b"\x12"
_DEVICE_OP: Final = b"\x5b\x82"
_ROOT: Final = "\\"
_SEGMENT_CHARACTERS: Final = 4


def integer(value: int) -> bytes:
    """A constant of up to 32 bits."""
    if value in (0, 1):
        return bytes([_ZERO_OP + value])
    if value <= 0xFF:
        return bytes([_BYTE_PREFIX, value])
    if value <= 0xFFFF:
        return bytes([_WORD_PREFIX]) + struct.pack("<H", value)
    return bytes([_DWORD_PREFIX]) + struct.pack("<I", value)


def string(text: str) -> bytes:
    """An ASCII string."""
    return bytes([_STRING_PREFIX]) + text.encode("ascii") + b"\0"


def eisa_id(text: str) -> bytes:
    """A device's id such as ``PNP0501``, packed into 32 bits as `_HID` takes it."""
    letters = [ord(letter) - 0x40 for letter in text[:3]]
    packed = letters[0] << 26 | letters[1] << 21 | letters[2] << 16 | int(text[3:], 16)
    return bytes([_DWORD_PREFIX]) + struct.pack(">I", packed)


def name(path: str, value: bytes) -> bytes:
    """``Name (path, value)``."""
    return _NAME_OP + _name_string(path) + value


def package(*items: bytes) -> bytes:
    """``Package () { items }``."""
    return _PACKAGE_OP + _sized(bytes([len(items)]) + b"".join(items))


def device(path: str, *terms: bytes) -> bytes:
    """``Device (path) { terms }``."""
    return _DEVICE_OP + _sized(_name_string(path) + b"".join(terms))


def scope(path: str, *terms: bytes) -> bytes:
    """``Scope (path) { terms }``."""
    return _SCOPE_OP + _sized(_name_string(path) + b"".join(terms))


def resources(*descriptors: bytes) -> bytes:
    """``ResourceTemplate () { descriptors }``; its checksum is 0, which stands for one that holds."""
    data = b"".join(descriptors) + b"\x79\0"
    return _BUFFER_OP + _sized(integer(len(data)) + data)


def memory32_fixed(address: int, length: int) -> bytes:
    """A window of memory that can be written."""
    return struct.pack("<BHBII", 0x86, 9, 1, address, length)


def level_interrupt(line: int) -> bytes:
    """An interrupt line: level, active high, not shared. The device consumes it."""
    return struct.pack("<BHBBI", 0x89, 6, 0b00001, 1, line)


def io_ports(port: int, count: int) -> bytes:
    """Ports at a fixed place, all 16 address bits decoded."""
    return struct.pack("<BBHHBB", 0x47, 1, port, port, 1, count)


def isa_irq(line: int) -> bytes:
    """One of the sixteen old lines: edge, active high."""
    return struct.pack("<BH", 0x22, 1 << line)


def _name_string(path: str) -> bytes:
    root, segments = (_ROOT, path[1:]) if path.startswith(_ROOT) else ("", path)
    return root.encode() + segments.ljust(_SEGMENT_CHARACTERS, "_").encode("ascii")


def _sized(body: bytes) -> bytes:
    """The body behind its package length, which counts its own bytes as well."""
    if len(body) + 1 < 1 << 6:
        return bytes([len(body) + 1]) + body
    for extra_bytes in (1, 2, 3):
        length = len(body) + 1 + extra_bytes
        if length < 1 << (4 + 8 * extra_bytes):
            return (
                bytes([extra_bytes << 6 | length & 0xF])
                + (length >> 4).to_bytes(extra_bytes, "little")
                + body
            )
    raise ValueError(f"a package of {len(body)} bytes is longer than its length field can say")
