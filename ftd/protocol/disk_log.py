"""What an epoch changed on the disk: the ``extra`` of an EPOCH, and of a DISK frame.

Records of 16 bytes, each followed by its data padded to 8 bytes if it is a write. docs/PROTOCOL.md has the
layout, ``ftd/dataplane/disk_log.c`` the other implementation.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ftd.protocol.refusal import Refusal

_RECORD: Final = struct.Struct("<QII")
_PADDING: Final = 8


class DiskKind(enum.IntEnum):
    """What was done. DISCARD and ZEROES both leave zeros behind."""

    WRITE = 1
    DISCARD = 2
    ZEROES = 3
    FLUSH = 4


@dataclass(frozen=True)
class DiskRecord:
    """One change; ``offset`` and ``length`` in bytes, ``data`` of a write only."""

    kind: DiskKind
    offset: int = 0
    length: int = 0
    data: bytes = b""

    @classmethod
    def write(cls, offset: int, data: bytes) -> DiskRecord:
        """A write of ``data``."""
        return cls(DiskKind.WRITE, offset, len(data), data)

    def encode(self) -> bytes:
        """The record as it travels."""
        padding = bytes(-len(self.data) % _PADDING)
        return _RECORD.pack(self.offset, self.length, self.kind) + self.data + padding


class _Malformed(ValueError):
    """A record that is cut, unknown or outside the disk."""


def _is_sound(offset: int, length: int, kind: int, disk_bytes: int) -> bool:
    if kind == DiskKind.FLUSH:
        return offset == 0 and length == 0
    return kind in (DiskKind.WRITE, DiskKind.DISCARD, DiskKind.ZEROES) and 0 < length <= disk_bytes - offset


def _records(log: bytes, disk_bytes: int) -> Iterator[DiskRecord]:
    at = 0
    while at < len(log):
        if len(log) - at < _RECORD.size:
            raise _Malformed
        offset, length, kind = _RECORD.unpack_from(log, at)
        at += _RECORD.size
        padded = -(-length // _PADDING) * _PADDING if kind == DiskKind.WRITE else 0
        if not _is_sound(offset, length, kind, disk_bytes) or padded > len(log) - at:
            raise _Malformed
        yield DiskRecord(DiskKind(kind), offset, length, log[at : at + length] if padded else b"")
        at += padded


def check_log(log: bytes, disk_bytes: int) -> Refusal | None:
    """DISK if a record is malformed or reaches outside the disk. Nothing may be applied before it says
    None."""
    try:
        for _ in _records(log, disk_bytes):
            pass
    except _Malformed:
        return Refusal.DISK
    return None


def parse_log(log: bytes, disk_bytes: int) -> list[DiskRecord]:
    """The records of a log that ``check_log`` has found nothing wrong with. Raises ValueError otherwise."""
    return list(_records(log, disk_bytes))
