"""Header of the data frames: layout, limits, and every check that needs no body.

The layout is drawn in docs/PROTOCOL.md. ``check_header`` runs its checks in the documented order and returns
the first failure, so that both implementations give the same reason for the same bytes
(tests/golden/frames.json).
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from dataclasses import dataclass
from typing import Final

from ftd.protocol.crc32c import crc32c
from ftd.protocol.refusal import Refusal

MAGIC: Final = b"FTD1"
VERSION: Final = 5
HEADER_BYTES: Final = 80
PAGE_BYTES: Final = 4096
LIST_ENTRY_BYTES: Final = 8
STATE_BYTES_MAX: Final = 1 << 20
"""Most bytes of state blob that one epoch may carry, whatever the machine."""

_LAYOUT: Final = struct.Struct("<4sHH16sQQIIIIIIQII")
_CRC: Final = struct.Struct("<I")
assert _LAYOUT.size == HEADER_BYTES


class FrameType(enum.IntEnum):
    """Type of a data frame; 0 is invalid."""

    HELLO = 1
    WELCOME = 2
    REFUSE = 3
    SYNC = 4
    EPOCH = 5
    PART = 6
    ACK = 7
    HEARTBEAT = 8
    LEAVE = 9
    LEAVE_ACK = 10
    HANDOVER = 11
    HANDOVER_DONE = 12
    DISK = 13
    DISK_FAILED = 14
    DIGESTS = 15


class HeartbeatFlag(enum.IntFlag):
    """Flags of a HEARTBEAT."""

    ECHO = 1
    STANDBY = 2


DISK_FAILED_ERRNO: Final = 0xFFF
"""Flags of a DISK_FAILED: the error's number."""


STATE_TYPES: Final = frozenset({FrameType.HELLO, FrameType.REFUSE, FrameType.EPOCH, FrameType.DIGESTS})
"""Types that may carry a state blob."""
LIST_TYPES: Final = frozenset({FrameType.SYNC, FrameType.PART, FrameType.EPOCH})
"""Types that may carry a dirty list and pages."""
EXTRA_TYPES: Final = frozenset({FrameType.EPOCH, FrameType.DISK})
"""Types that may carry disk writes."""
_FLAGS: Final[dict[int, int]] = {
    FrameType.HEARTBEAT: sum(HeartbeatFlag),
    FrameType.DISK_FAILED: DISK_FAILED_ERRNO,
}


@dataclass(frozen=True, kw_only=True)
class Header:
    """The 80 bytes before every body, field by field; sizes in bytes, ``stamp_ns`` on the sender's
    CLOCK_BOOTTIME.

    ``magic``, ``version``, ``pair`` and ``header_crc`` are kept as they arrived, so that a decoded header
    can be judged; ``encode`` computes the checksum anew.
    """

    type: int
    vm_id: bytes
    generation: int
    epoch: int = 0
    flags: int = 0
    state_len: int = 0
    page_count: int = 0
    pages_len: int = 0
    extra_len: int = 0
    body_crc: int = 0
    stamp_ns: int = 0
    magic: bytes = MAGIC
    version: int = VERSION
    pair: int = 0
    header_crc: int = 0

    @property
    def list_len(self) -> int:
        """Bytes of dirty list."""
        return self.page_count * LIST_ENTRY_BYTES

    @property
    def body_len(self) -> int:
        """Bytes that follow the header. Meaningful once ``check_header`` found nothing wrong."""
        return self.state_len + self.list_len + self.pages_len + self.extra_len

    def computed_crc(self) -> int:
        """What ``header_crc`` must be."""
        return crc32c(self._pack(0)[: HEADER_BYTES - _CRC.size])

    def encode(self) -> bytes:
        """The 80 bytes, with the right checksum."""
        return self._pack(self.computed_crc())

    @classmethod
    def decode(cls, raw: bytes) -> Header:
        """Split 80 bytes into fields. Judges nothing; raises ValueError unless there are exactly 80."""
        if len(raw) != HEADER_BYTES:
            raise ValueError(f"a header has {HEADER_BYTES} bytes, not {len(raw)}")
        return cls(**dict(zip(_WIRE_ORDER, _LAYOUT.unpack(raw), strict=True)))

    def _pack(self, header_crc: int) -> bytes:
        values = [getattr(self, name) for name in _WIRE_ORDER[:-1]]
        return _LAYOUT.pack(*values, header_crc)


_WIRE_ORDER: Final = (
    "magic",
    "version",
    "type",
    "vm_id",
    "generation",
    "epoch",
    "flags",
    "state_len",
    "page_count",
    "pages_len",
    "extra_len",
    "body_crc",
    "stamp_ns",
    "pair",
    "header_crc",
)
assert {field.name for field in dataclasses.fields(Header)} == set(_WIRE_ORDER)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What HELLO agreed on, in the units that frames are checked in."""

    memory_pages: int
    epoch_pages_max: int
    parts_max: int
    """Frames that one epoch may consist of: its PARTs and the EPOCH."""
    state_bytes_max: int = STATE_BYTES_MAX
    disk_bytes: int = 0
    extra_bytes_max: int = 0
    """Of disk writes; 0 without a disk."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What a receiver knows when a header arrives.

    ``epoch_last`` is the newest complete epoch (standby) or the newest acknowledged one (primary);
    ``epoch_sent`` is the newest epoch that may be acknowledged (primary); ``parts_received`` counts the PARTs
    of the epoch in progress (standby).
    """

    vm_id: bytes
    generation: int
    allowed: frozenset[FrameType]
    limits: Limits
    epoch_last: int = 0
    epoch_sent: int = 0
    parts_received: int = 0
    pair: int = 0


def pair_number(token: bytes) -> int:
    """What stands in each frame of a pair: tells frames of another pair of the same VM and generation apart,
    without showing the token. 0 is the handshake's."""
    return crc32c(token) or 1


def check_header(header: Header, expected: Expectation) -> Refusal | None:
    """First reason to refuse this header, or None. Nothing of the body may be touched, or even read, before
    it says None."""
    return (
        _check_identity(header, expected)
        or _check_lengths(header, expected)
        or _check_epoch(header, expected)
    )


def _check_identity(header: Header, expected: Expectation) -> Refusal | None:
    flags_known = _FLAGS.get(header.type, 0)
    checks = (
        (header.magic == MAGIC, Refusal.MAGIC),
        (header.header_crc == header.computed_crc(), Refusal.HEADER_CRC),
        (header.version == VERSION, Refusal.VERSION),
        (header.type in expected.allowed, Refusal.TYPE),
        (header.vm_id == expected.vm_id, Refusal.VM),
        (header.generation == expected.generation, Refusal.GENERATION),
        (header.flags & ~flags_known == 0, Refusal.FLAGS),
        (header.pair == expected.pair, Refusal.PAIR),
    )
    return next((refusal for passed, refusal in checks if not passed), None)


def _check_lengths(header: Header, expected: Expectation) -> Refusal | None:
    limits = expected.limits
    state_misplaced = header.state_len > 0 and header.type not in STATE_TYPES
    pages_misplaced = header.page_count + header.pages_len > 0 and header.type not in LIST_TYPES
    extra_misplaced = header.extra_len > 0 and header.type not in EXTRA_TYPES
    if state_misplaced or pages_misplaced or extra_misplaced:
        return Refusal.LENGTH
    if header.state_len > limits.state_bytes_max or header.page_count > limits.epoch_pages_max:
        return Refusal.OVERSIZE
    if header.extra_len > limits.extra_bytes_max:
        return Refusal.OVERSIZE
    # A PART must leave room for the EPOCH that closes it.
    if header.type == FrameType.PART and expected.parts_received + 2 > limits.parts_max:
        return Refusal.OVERSIZE
    if header.pages_len % LIST_ENTRY_BYTES != 0 or header.pages_len > header.page_count * PAGE_BYTES:
        return Refusal.PAGES_LEN
    if header.body_len == 0 and header.body_crc != 0:
        return Refusal.BODY_CRC
    return None


def _check_epoch(header: Header, expected: Expectation) -> Refusal | None:
    last = expected.epoch_last
    match header.type:
        case FrameType.EPOCH | FrameType.PART:
            if header.epoch <= last:
                return Refusal.DUPLICATE
            right = header.epoch == last + 1
        case FrameType.SYNC | FrameType.DISK:
            # Once an epoch is complete or begun, nothing outside an epoch may write into memory or disk.
            right = header.epoch == last == expected.parts_received == 0
        case FrameType.LEAVE | FrameType.HANDOVER:
            right = header.epoch == last and expected.parts_received == 0
        case FrameType.ACK:
            # One ACK may stand for several epochs: they complete in order.
            right = last < header.epoch <= expected.epoch_sent
        case _:
            right = header.epoch == 0
    return None if right else Refusal.EPOCH
