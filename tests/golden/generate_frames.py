"""Makes tests/golden/frames.json: ``python tests/golden/generate_frames.py``. A test proves that the file is
current.

Each vector: name, hex, valid, refusal (label or null), context. ``context.layer`` says who can judge it:

    frame       header, body and the fields of the context are enough
    connection  needs what only a connection counts: epochs sent (ACK), parts received (PART, SYNC, LEAVE)
    handshake   HELLO: bytes are a good frame, its map may not be
    state       EPOCH: bytes are a good frame, its state blob may not be
"""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from pathlib import Path
from typing import Any

import msgpack

from ftd.protocol.body import GFN_BITS, HIGH_GFN, LINES_SHIFT, LOW_PAGES, Encoding, Page, build_frame
from ftd.protocol.crc32c import crc32c
from ftd.protocol.disk_log import DiskKind, DiskRecord
from ftd.protocol.frames import (
    HEADER_BYTES,
    PAGE_BYTES,
    STATE_BYTES_MAX,
    FrameType,
    Header,
    HeartbeatFlag,
    pair_number,
)
from ftd.protocol.refusal import Refusal
from ftd.protocol.state_blob import pack_state

FILE = Path(__file__).with_name("frames.json")
VM_ID = bytes(range(0x10, 0x20))
GENERATION = 7
MEMORY_PAGES = 1024
EPOCH_PAGES_MAX = 64
PARTS_MAX = 4
DISK_BYTES = 1 << 20
EXTRA_BYTES_MAX = 4096
STAMP_NS = 0x0102030405060708
TOKEN = bytes(range(16))
STATE = pack_state({"vcpu0": bytes(range(64)), "vm": b"\x01", "console": b""})
PROCESSOR = {
    "vendor": "GenuineIntel",
    "features": {"1.0.ecx": 0x80000201, "7.0.ebx": 0x20},
    "xsave_bytes": 4096,
    "msrs": [0x10, 0x174],
    "tsc_khz": 2_400_000,
    "scales_tsc": False,
}
HELLO = {
    "channel": "data",
    "token": TOKEN,
    "memory_bytes": MEMORY_PAGES * PAGE_BYTES,
    "vcpus": 1,
    "epoch_pages_max": EPOCH_PAGES_MAX,
    "parts_max": PARTS_MAX,
    "heartbeat_interval_ms": 20,
    "heartbeat_timeout_ms": 100,
    "disk_bytes": DISK_BYTES,
    "epoch_disk_bytes": EXTRA_BYTES_MAX,
    "processor": PROCESSOR,
}
T = FrameType
HANDSHAKE = (T.HELLO, T.WELCOME, T.REFUSE)
PAIR = pair_number(TOKEN)
Vector = dict[str, Any]


def page(gfn: int) -> Page:
    """A page whose contents tell its number."""
    return Page(gfn, bytes((gfn + index // 16) & 0xFF for index in range(PAGE_BYTES)))


MIX = (Page(2, None), page(MEMORY_PAGES - 1), Page(0, None))
FEW = (Page(5, None),)
LINES = Page(7, bytes(range(128)), lines=1 << 63 | 1)
K = DiskKind
LOG = b"".join(
    record.encode()
    for record in (
        DiskRecord.write(512, b"five!"),
        DiskRecord(K.DISCARD, 0, DISK_BYTES),
        DiskRecord(K.ZEROES, DISK_BYTES - 512, 512),
        DiskRecord(K.FLUSH),
        DiskRecord.write(DISK_BYTES - 16, bytes(range(16))),
    )
)


def frame(frame_type: FrameType, **fields: Any) -> bytes:
    """A frame of the vectors' VM, generation and pair."""
    pair = 0 if frame_type in HANDSHAKE else PAIR
    fields = {"vm_id": VM_ID, "generation": GENERATION, "stamp_ns": STAMP_NS, "pair": pair, **fields}
    return build_frame(frame_type, **fields)


def forged(raw: bytes, **fields: Any) -> bytes:
    """The frame with header fields replaced and the header's checksum made right again."""
    header = dataclasses.replace(Header.decode(raw[:HEADER_BYTES]), **fields)
    return header.encode() + raw[HEADER_BYTES:]


def with_entry(entry: int) -> bytes:
    """An EPOCH whose only list entry is ``entry``, with right checksums."""
    body = STATE + entry.to_bytes(8, "little")
    return forged(
        frame(T.EPOCH, epoch=1, state=STATE, pages=[Page(0, None)])[:HEADER_BYTES] + body,
        body_crc=crc32c(body),
    )


def vector(
    name: str, raw: bytes, refusal: Refusal | None = None, layer: str = "frame", **context: Any
) -> Vector:
    """One entry of the file."""
    return {
        "name": name,
        "hex": raw.hex(),
        "valid": refusal is None,
        "refusal": refusal.label if refusal else None,
        "context": {
            "layer": layer,
            "vm_id": VM_ID.hex(),
            "generation": GENERATION,
            "pair": 0 if raw[6:8] in {number.to_bytes(2, "little") for number in HANDSHAKE} else PAIR,
            "allowed": [frame_type.name for frame_type in FrameType],
            "epoch_last": 0,
            "epoch_sent": 0,
            "parts_received": 0,
            "memory_pages": MEMORY_PAGES,
            "epoch_pages_max": EPOCH_PAGES_MAX,
            "parts_max": PARTS_MAX,
            "state_bytes_max": STATE_BYTES_MAX,
            "disk_bytes": DISK_BYTES,
            "extra_bytes_max": EXTRA_BYTES_MAX,
            "token": TOKEN.hex(),
            "channels_taken": [],
            "processor": PROCESSOR,
            **context,
        },
    }


def good() -> list[Vector]:
    """Every type, and every mix of encodings."""
    return [
        vector("hello", frame(T.HELLO, state=msgpack.packb(HELLO)), layer="handshake"),
        vector("welcome", frame(T.WELCOME)),
        vector("refuse", frame(T.REFUSE, state=msgpack.packb({"reason": "version", "detail": "speaks 2"}))),
        vector("sync raw", frame(T.SYNC, pages=[page(3), page(4)])),
        vector("sync zero", frame(T.SYNC, pages=[Page(gfn, None) for gfn in range(EPOCH_PAGES_MAX)])),
        vector("sync mix", frame(T.SYNC, pages=MIX)),
        vector("first epoch", frame(T.EPOCH, epoch=1, state=STATE, pages=MIX)),
        vector("epoch raw", frame(T.EPOCH, epoch=42, state=STATE, pages=[page(9)]), epoch_last=41),
        vector("epoch zero", frame(T.EPOCH, epoch=42, state=STATE, pages=[Page(9, None)]), epoch_last=41),
        vector("epoch without pages", frame(T.EPOCH, epoch=42, state=STATE), epoch_last=41),
        vector("epoch without state", frame(T.EPOCH, epoch=42, pages=[page(9)]), epoch_last=41),
        vector("last epoch number", frame(T.EPOCH, epoch=2**64 - 1, state=STATE), epoch_last=2**64 - 2),
        vector("part", frame(T.PART, epoch=42, pages=MIX), epoch_last=41),
        vector(
            "epoch after parts",
            frame(T.EPOCH, epoch=42, state=STATE),
            layer="connection",
            epoch_last=41,
            parts_received=3,
        ),
        vector("ack", frame(T.ACK, epoch=42), layer="connection", epoch_last=41, epoch_sent=45),
        vector("ack of several", frame(T.ACK, epoch=45), layer="connection", epoch_last=41, epoch_sent=45),
        vector("heartbeat", frame(T.HEARTBEAT)),
        vector("heartbeat of a standby", frame(T.HEARTBEAT, flags=HeartbeatFlag.STANDBY)),
        vector("echo of a standby", frame(T.HEARTBEAT, flags=HeartbeatFlag.ECHO | HeartbeatFlag.STANDBY)),
        vector("leave", frame(T.LEAVE, epoch=41), epoch_last=41),
        vector("leave before epoch 1", frame(T.LEAVE)),
        vector("leave_ack", frame(T.LEAVE_ACK)),
        vector("handover", frame(T.HANDOVER, epoch=41), epoch_last=41),
        vector("handover_done", frame(T.HANDOVER_DONE)),
        vector("disk", frame(T.DISK, extra=LOG)),
        vector("disk of nothing", frame(T.DISK)),
        vector("epoch with disk writes", frame(T.EPOCH, epoch=1, state=STATE, pages=MIX, extra=LOG)),
        vector("disk_failed", frame(T.DISK_FAILED, flags=28)),
        vector("lines of a page", frame(T.EPOCH, epoch=1, pages=[page(3), LINES, *FEW, page(4)])),
        vector("most lines", frame(T.PART, epoch=1, pages=[Page(9, bytes(63 * 64), lines=(1 << 63) - 1)])),
        vector("digests", frame(T.DIGESTS, state=bytes(range(48)))),
        vector("digests of nothing but zeros", frame(T.DIGESTS)),
        vector(
            "pages above the hole",
            frame(T.SYNC, pages=[Page(HIGH_GFN, None), Page(LOW_PAGES - 1, None)]),
            memory_pages=LOW_PAGES + 512,
        ),
    ]


def bad_headers() -> list[Vector]:
    """Identity, in the order of the checks; where two faults meet, the earlier check names the reason."""
    ack = frame(T.HEARTBEAT)
    flipped = bytearray(ack)
    flipped[HEADER_BYTES - 1] ^= 0x80
    return [
        vector("foreign magic", forged(ack, magic=b"HTTP"), Refusal.MAGIC),
        vector("foreign bytes", b"GET / HTTP/1.1\r\n".ljust(HEADER_BYTES, b" "), Refusal.MAGIC),
        vector("header crc flipped", bytes(flipped), Refusal.HEADER_CRC),
        vector("one bit of the stamp", ack[:64] + bytes([ack[64] ^ 1]) + ack[65:], Refusal.HEADER_CRC),
        vector("version 0", forged(ack, version=0), Refusal.VERSION),
        vector("version 1", forged(ack, version=1), Refusal.VERSION),
        vector("version 2", forged(ack, version=2), Refusal.VERSION),
        vector("version 3", forged(ack, version=3), Refusal.VERSION),
        vector("version 4", forged(ack, version=4), Refusal.VERSION),
        vector("version 6 of an unknown type", forged(ack, version=6, type=99), Refusal.VERSION),
        vector("type 0", forged(ack, type=0), Refusal.TYPE),
        vector("type 16", forged(ack, type=16), Refusal.TYPE),
        vector("type 65535", forged(ack, type=65535), Refusal.TYPE),
        vector("type not expected now", frame(T.SYNC, pages=FEW), Refusal.TYPE, allowed=["EPOCH", "PART"]),
        vector("another vm", frame(T.HEARTBEAT, vm_id=bytes(16)), Refusal.VM),
        vector("older generation", frame(T.HEARTBEAT, generation=GENERATION - 1), Refusal.GENERATION),
        vector("newer generation", frame(T.HEARTBEAT, generation=GENERATION + 1), Refusal.GENERATION),
        vector("unknown heartbeat flag", frame(T.HEARTBEAT, flags=4), Refusal.FLAGS),
        vector("flag on an epoch", frame(T.EPOCH, epoch=1, state=STATE, flags=1), Refusal.FLAGS),
        vector("more than an error's number", frame(T.DISK_FAILED, flags=0x1000), Refusal.FLAGS),
        vector("another pair", forged(ack, pair=PAIR + 1), Refusal.PAIR),
        vector("of a handshake", forged(ack, pair=0), Refusal.PAIR),
    ]


def bad_lengths() -> list[Vector]:
    """Parts that do not belong, limits, contents that do not follow from the list, streams that end early."""
    epoch = frame(T.EPOCH, epoch=1, state=STATE, pages=MIX)
    return [
        vector("state on a sync", frame(T.SYNC, state=STATE, pages=MIX), Refusal.LENGTH),
        vector("list on a heartbeat", frame(T.HEARTBEAT, pages=[Page(1, None)]), Refusal.LENGTH),
        vector("contents on a leave", forged(frame(T.LEAVE), pages_len=PAGE_BYTES), Refusal.LENGTH),
        vector("extra on a part", frame(T.PART, epoch=1, pages=FEW, extra=LOG), Refusal.LENGTH),
        vector("extra on a sync", forged(frame(T.SYNC, pages=FEW), extra_len=1), Refusal.LENGTH),
        vector("pages on a disk", frame(T.DISK, pages=FEW), Refusal.LENGTH),
        vector("extra too large", forged(epoch, extra_len=EXTRA_BYTES_MAX + 1), Refusal.OVERSIZE),
        vector("extra without a disk", frame(T.DISK, extra=LOG), Refusal.OVERSIZE, extra_bytes_max=0),
        vector("header cut", epoch[: HEADER_BYTES - 1], Refusal.LENGTH),
        vector("body cut", epoch[:-1], Refusal.LENGTH),
        vector("body missing", epoch[:HEADER_BYTES], Refusal.LENGTH),
        vector("state too large", forged(epoch, state_len=STATE_BYTES_MAX + 1), Refusal.OVERSIZE),
        vector("state of 4 GiB", forged(epoch, state_len=2**32 - 1), Refusal.OVERSIZE),
        vector("list too long", forged(epoch, page_count=EPOCH_PAGES_MAX + 1), Refusal.OVERSIZE),
        vector("list of 32 GiB", forged(epoch, page_count=2**32 - 1), Refusal.OVERSIZE),
        vector(
            "one part too many",
            frame(T.PART, epoch=1, pages=FEW),
            Refusal.OVERSIZE,
            layer="connection",
            parts_received=PARTS_MAX - 1,
        ),
        vector("half a page", forged(epoch, pages_len=PAGE_BYTES - 1), Refusal.PAGES_LEN),
        vector("more contents than list", forged(epoch, pages_len=5 * PAGE_BYTES), Refusal.PAGES_LEN),
        vector("contents without list", forged(frame(T.SYNC), pages_len=PAGE_BYTES), Refusal.PAGES_LEN),
        vector("checksum of nothing", forged(frame(T.WELCOME), body_crc=1), Refusal.BODY_CRC),
    ]


def bad_epochs() -> list[Vector]:
    """Numbers that do not follow."""
    epoch = frame(T.EPOCH, epoch=42, state=STATE)
    part = frame(T.PART, epoch=42, pages=FEW)
    connection = {"layer": "connection"}
    return [
        vector("epoch skipped", epoch, Refusal.EPOCH, epoch_last=40),
        vector("epoch replayed", epoch, Refusal.DUPLICATE, epoch_last=42),
        vector("epoch 0", frame(T.EPOCH, state=STATE), Refusal.DUPLICATE),
        vector("part skipped", part, Refusal.EPOCH, epoch_last=40),
        vector("part replayed", part, Refusal.DUPLICATE, epoch_last=42),
        vector("sync with an epoch", frame(T.SYNC, epoch=1, pages=FEW), Refusal.EPOCH),
        vector("sync after epoch 1", frame(T.SYNC, pages=FEW), Refusal.EPOCH, epoch_last=1),
        vector("sync amid parts", frame(T.SYNC, pages=FEW), Refusal.EPOCH, **connection, parts_received=1),
        vector("disk with an epoch", frame(T.DISK, epoch=1, extra=LOG), Refusal.EPOCH),
        vector("disk after epoch 1", frame(T.DISK, extra=LOG), Refusal.EPOCH, epoch_last=1),
        vector("leave of an older epoch", frame(T.LEAVE, epoch=40), Refusal.EPOCH, epoch_last=41),
        vector("leave amid parts", frame(T.LEAVE), Refusal.EPOCH, **connection, parts_received=1),
        vector("handover of a lost epoch", frame(T.HANDOVER, epoch=42), Refusal.EPOCH, epoch_last=41),
        vector(
            "ack repeated", frame(T.ACK, epoch=41), Refusal.EPOCH, **connection, epoch_last=41, epoch_sent=45
        ),
        vector(
            "ack not sent", frame(T.ACK, epoch=46), Refusal.EPOCH, **connection, epoch_last=41, epoch_sent=45
        ),
        vector("welcome with an epoch", frame(T.WELCOME, epoch=1), Refusal.EPOCH),
        vector("heartbeat with an epoch", frame(T.HEARTBEAT, epoch=1), Refusal.EPOCH),
        vector("leave_ack with an epoch", frame(T.LEAVE_ACK, epoch=1), Refusal.EPOCH),
        vector("handover_done with an epoch", frame(T.HANDOVER_DONE, epoch=1), Refusal.EPOCH),
    ]


def bad_bodies() -> list[Vector]:
    """Checksums and lists."""
    epoch = bytearray(frame(T.EPOCH, epoch=1, state=STATE, pages=MIX))
    epoch[-1] ^= 1
    list_bit = bytearray(frame(T.EPOCH, epoch=1, state=STATE, pages=MIX))
    list_bit[HEADER_BYTES + len(STATE)] ^= 1
    mask_bit = bytearray(frame(T.EPOCH, epoch=1, pages=[LINES]))
    mask_bit[HEADER_BYTES + 8] ^= 2
    zero, delta = Encoding.ZERO << GFN_BITS, Encoding.DELTA << GFN_BITS
    return [
        vector("bit of a page", bytes(epoch), Refusal.BODY_CRC),
        vector("bit of the list", bytes(list_bit), Refusal.BODY_CRC),
        vector("page after the last", with_entry(MEMORY_PAGES | zero), Refusal.GFN),
        vector("page in the hole", with_entry(LOW_PAGES | zero), Refusal.GFN, memory_pages=LOW_PAGES + 512),
        vector("highest gfn", with_entry((1 << GFN_BITS) - 1 | zero), Refusal.GFN),
        vector("no line", with_entry(delta), Refusal.ENCODING),
        vector("all lines", with_entry(delta | 64 << LINES_SHIFT), Refusal.ENCODING),
        vector("lines that are not there", with_entry(delta | 1 << LINES_SHIFT), Refusal.PAGES_LEN),
        vector(
            "another number of lines",
            forged(bytes(mask_bit), body_crc=crc32c(bytes(mask_bit[HEADER_BYTES:]))),
            Refusal.ENCODING,
        ),
        vector("lines in the first synchronisation", frame(T.SYNC, pages=[LINES]), Refusal.ENCODING),
        vector("encoding 3", with_entry(3 << GFN_BITS), Refusal.ENCODING),
        vector("encoding 15", with_entry(15 << GFN_BITS), Refusal.ENCODING),
        vector("reserved bit 56", with_entry(1 << 56), Refusal.ENCODING),
        vector("reserved bit 63 of a zero page", with_entry(1 << 63 | zero), Refusal.ENCODING),
        vector("raw entry without contents", with_entry(1), Refusal.PAGES_LEN),
    ]


def bad_logs() -> list[Vector]:
    """Disk writes that no disk could take."""

    def disk(name: str, log: bytes) -> Vector:
        return vector(name, frame(T.DISK, extra=log), Refusal.DISK)

    def raw(offset: int, length: int, kind: int) -> bytes:
        return struct.pack("<QII", offset, length, kind)

    return [
        disk("record cut", LOG + raw(0, 0, K.FLUSH)[:-1]),
        disk("data cut", DiskRecord.write(0, bytes(16)).encode()[:-8]),
        disk("padding cut", DiskRecord.write(0, bytes(9)).encode()[:-7]),
        disk("kind 0", raw(0, 8, 0)),
        disk("kind 5", raw(0, 8, 5)),
        disk("write of nothing", raw(0, 0, K.WRITE)),
        disk("write of 4 GiB", raw(0, 2**32 - 1, K.WRITE)),
        disk("write past the end", DiskRecord.write(DISK_BYTES - 8, bytes(16)).encode()),
        disk("write behind the end", DiskRecord.write(DISK_BYTES + 8, bytes(8)).encode()),
        disk("write that wraps", raw(2**64 - 8, 16, K.WRITE) + bytes(16)),
        disk("discard of nothing", raw(0, 0, K.DISCARD)),
        disk("discard past the end", raw(512, DISK_BYTES, K.DISCARD)),
        disk("zeroes past the end", raw(DISK_BYTES, 1, K.ZEROES)),
        disk("zeroes that wrap", raw(2**64 - 1, 2, K.ZEROES)),
        disk("flush of something", raw(0, 512, K.FLUSH)),
        disk("flush somewhere", raw(512, 0, K.FLUSH)),
        vector("bad log of an epoch", frame(T.EPOCH, epoch=1, state=STATE, extra=raw(0, 8, 9)), Refusal.DISK),
        vector("bit of the disk writes", frame(T.DISK, extra=LOG)[:-1] + b"\xff", Refusal.BODY_CRC),
    ]


def bad_maps() -> list[Vector]:
    """Good frames whose map is not."""

    def hello(**changes: Any) -> bytes:
        fields = {key: value for key, value in {**HELLO, **changes}.items() if value is not None}
        return frame(T.HELLO, state=msgpack.packb(fields))

    def state(name: str, blob: bytes) -> Vector:
        return vector(name, frame(T.EPOCH, epoch=1, state=blob), Refusal.STATE, layer="state")

    def processor(name: str, refusal: Refusal, **changes: Any) -> Vector:
        return vector(name, hello(processor={**PROCESSOR, **changes}), refusal, **handshake)

    handshake = {"layer": "handshake"}
    return [
        vector("hello of another pair", hello(token=bytes(16)), Refusal.TOKEN, **handshake),
        vector("hello with a short token", hello(token=b"short"), Refusal.HELLO, **handshake),
        vector("hello without a field", hello(vcpus=None), Refusal.HELLO, **handshake),
        vector("hello with an unknown field", hello(encryption="none"), Refusal.HELLO, **handshake),
        vector("hello for an unknown channel", hello(channel="video"), Refusal.HELLO, **handshake),
        vector("hello with half a page", hello(memory_bytes=PAGE_BYTES + 1), Refusal.HELLO, **handshake),
        vector("hello timing out between beats", hello(heartbeat_timeout_ms=20), Refusal.HELLO, **handshake),
        vector("hello that is no map", frame(T.HELLO, state=b"\x90"), Refusal.HELLO, **handshake),
        vector("hello without a map", frame(T.HELLO), Refusal.HELLO, **handshake),
        vector("second hello", hello(), Refusal.DUPLICATE, **handshake, channels_taken=["data"]),
        processor("hello with a feature that is not here", Refusal.PROCESSOR, features={"1.0.ecx": 0x400}),
        processor("hello with another XSAVE area", Refusal.PROCESSOR, xsave_bytes=8192),
        processor("hello with other MSRs", Refusal.PROCESSOR, msrs=[0x10]),
        processor("hello with another frequency", Refusal.PROCESSOR, tsc_khz=3_000_000),
        processor("hello with a word of 33 bits", Refusal.HELLO, features={"1.0.ecx": 1 << 32}),
        state("state that is no map", b"\x93\x01\x02\x03"),
        state("state section twice", b"\x82\xa1a\xc4\x00\xa1a\xc4\x01x"),
        state("state section of text", b"\x81\xa1a\xa1b"),
        state("state with bytes after it", STATE + b"\x00"),
        state("state cut", STATE[:-1]),
    ]


def render() -> str:
    """The file's text: one vector a line."""
    vectors = [
        *good(),
        *bad_headers(),
        *bad_lengths(),
        *bad_epochs(),
        *bad_bodies(),
        *bad_logs(),
        *bad_maps(),
    ]
    return "[\n" + ",\n".join(json.dumps(entry) for entry in vectors) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(render())
    sys.stdout.write(f"wrote {FILE}\n")
