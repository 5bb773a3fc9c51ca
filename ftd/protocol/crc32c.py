"""CRC32C (Castagnoli), table-driven.

Used by tests, tools and the handshake, where speed does not matter; the data plane has its own, in hardware
where there is one.
"""

from __future__ import annotations

POLYNOMIAL_REFLECTED = 0x82F63B78


def _table_entry(byte: int) -> int:
    value = byte
    for _ in range(8):
        value = (value >> 1) ^ (POLYNOMIAL_REFLECTED if value & 1 else 0)
    return value


_TABLE = tuple(_table_entry(byte) for byte in range(256))


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC32C of ``data``; ``crc`` is the value of what came before it. The CRC of nothing is 0."""
    table = _TABLE
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
