"""Body of the data frames: state blob, dirty list, page contents, disk writes; and whole frames made of
header and body."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ftd.protocol.crc32c import crc32c
from ftd.protocol.disk_log import check_log
from ftd.protocol.frames import (
    HEADER_BYTES,
    PAGE_BYTES,
    Expectation,
    FrameType,
    Header,
    Limits,
    check_header,
)
from ftd.protocol.refusal import FrameRefused, Refusal

GFN_BITS: Final = 52
GFN_MASK: Final = (1 << GFN_BITS) - 1
LINES_SHIFT: Final = 56
LINE_BYTES: Final = 64
LINES_MAX: Final = PAGE_BYTES // LINE_BYTES - 1
_ENCODING_MASK: Final = 0xF
_ENTRY: Final = struct.Struct("<Q")


# Guest-physical layout: RAM up to 3 GiB, devices up to 4 GiB, the rest of RAM from there on.
LOW_PAGES: Final = (3 << 30) // PAGE_BYTES
HIGH_GFN: Final = (4 << 30) // PAGE_BYTES


class Encoding(enum.IntEnum):
    """How a list entry's page travels (bits 52 to 55 of the entry)."""

    RAW = 0
    ZERO = 1
    DELTA = 2
    """Lines of 64 bytes that differ from the page that was sent last; bits 56 to 61 have their number."""


@dataclass(frozen=True)
class Page:
    """One guest page of a frame. ``contents`` is None for a page that is all zero; with ``lines``, a mask, it
    is those lines only."""

    gfn: int
    contents: bytes | None
    lines: int = 0

    @classmethod
    def of(cls, gfn: int, contents: bytes) -> Page:
        """The page in its shortest encoding. Raises ValueError unless ``contents`` is one page long."""
        if len(contents) != PAGE_BYTES:
            raise ValueError(f"a page has {PAGE_BYTES} bytes, not {len(contents)}")
        return cls(gfn, contents if any(contents) else None)

    def entry(self) -> int:
        """The dirty-list entry."""
        if self.lines:
            return self.gfn | Encoding.DELTA << GFN_BITS | self.lines.bit_count() << LINES_SHIFT
        encoding = Encoding.ZERO if self.contents is None else Encoding.RAW
        return self.gfn | encoding << GFN_BITS

    def encoded(self) -> bytes:
        """What follows in the contents."""
        mask = _ENTRY.pack(self.lines) if self.lines else b""
        return mask + (self.contents or b"")


@dataclass(frozen=True)
class Frame:
    """A frame that passed every check."""

    header: Header
    state: bytes
    pages: tuple[Page, ...]
    extra: bytes = b""


def build_frame(
    frame_type: FrameType,
    *,
    vm_id: bytes,
    generation: int,
    epoch: int = 0,
    flags: int = 0,
    state: bytes = b"",
    pages: Iterable[Page] = (),
    extra: bytes = b"",
    stamp_ns: int = 0,
    pair: int = 0,
) -> bytes:
    """Header and body, ready to send. The caller answers for giving the type what it must carry."""
    pages = tuple(pages)
    entries = b"".join(_ENTRY.pack(page.entry()) for page in pages)
    contents = b"".join(page.encoded() for page in pages)
    body = state + entries + contents + extra
    header = Header(
        type=frame_type,
        vm_id=vm_id,
        generation=generation,
        epoch=epoch,
        flags=flags,
        state_len=len(state),
        page_count=len(pages),
        pages_len=len(contents),
        extra_len=len(extra),
        body_crc=crc32c(body),
        stamp_ns=stamp_ns,
        pair=pair,
    )
    return header.encode() + body


def is_guest_page(gfn: int, memory_pages: int) -> bool:
    """Whether a guest with ``memory_pages`` of RAM has this page."""
    if gfn < LOW_PAGES:
        return gfn < memory_pages
    return gfn >= HIGH_GFN and gfn - HIGH_GFN + LOW_PAGES < memory_pages


def check_body(header: Header, body: bytes, limits: Limits) -> Refusal | None:
    """First reason to refuse a body whose header passed ``check_header``, or None.

    The checksum comes first: what it does not vouch for is not worth interpreting.
    """
    if len(body) != header.body_len:
        return Refusal.LENGTH
    if crc32c(body) != header.body_crc:
        return Refusal.BODY_CRC
    contents_len = 0
    for entry in _entries(header, body):
        if not _is_encoded_well(header, entry):
            return Refusal.ENCODING
        if not is_guest_page(entry & GFN_MASK, limits.memory_pages):
            return Refusal.GFN
        contents_len += _contents_len(entry)
    if header.pages_len != contents_len:
        return Refusal.PAGES_LEN
    if any(page.lines.bit_count() != lines for page, lines in _deltas(header, body)):
        return Refusal.ENCODING
    return check_log(_extra(header, body), limits.disk_bytes)


def _is_encoded_well(header: Header, entry: int) -> bool:
    encoding, lines = entry >> GFN_BITS & _ENCODING_MASK, entry >> LINES_SHIFT
    if encoding == Encoding.DELTA:
        # In the first synchronisation there is no page that was sent before.
        return header.type != FrameType.SYNC and 1 <= lines <= LINES_MAX
    return encoding in (Encoding.RAW, Encoding.ZERO) and lines == 0


def _contents_len(entry: int) -> int:
    match entry >> GFN_BITS & _ENCODING_MASK:
        case Encoding.RAW:
            return PAGE_BYTES
        case Encoding.DELTA:
            return _ENTRY.size + (entry >> LINES_SHIFT) * LINE_BYTES
    return 0


def _deltas(header: Header, body: bytes) -> Iterable[tuple[Page, int]]:
    """Pages that travel as lines, with the number of lines that their entries have."""
    for entry, page in zip(_entries(header, body), _split_pages(header, body), strict=True):
        if entry >> GFN_BITS & _ENCODING_MASK == Encoding.DELTA:
            yield page, entry >> LINES_SHIFT


def parse_frame(raw: bytes, expected: Expectation) -> Frame:
    """The frame at the start of ``raw`` (what follows it is the next one's). Raises FrameRefused."""
    if len(raw) < HEADER_BYTES:
        raise FrameRefused(Refusal.LENGTH, f"the stream ended after {len(raw)} bytes of a header")
    header = Header.decode(raw[:HEADER_BYTES])
    body = raw[HEADER_BYTES:]
    refusal = check_header(header, expected)
    if refusal is None:
        body = body[: header.body_len]
        refusal = check_body(header, body, expected.limits)
    if refusal is not None:
        raise FrameRefused(refusal, _describe(header))
    return Frame(header, body[: header.state_len], _split_pages(header, body), _extra(header, body))


def _describe(header: Header) -> str:
    return f"type {header.type}, generation {header.generation}, epoch {header.epoch}"


def _extra(header: Header, body: bytes) -> bytes:
    return body[len(body) - header.extra_len :]


def _entries(header: Header, body: bytes) -> Iterable[int]:
    entries = body[header.state_len : header.state_len + header.list_len]
    return (entry for (entry,) in _ENTRY.iter_unpack(entries))


def _split_pages(header: Header, body: bytes) -> tuple[Page, ...]:
    pages = []
    offset = header.state_len + header.list_len
    for entry in _entries(header, body):
        encoded = body[offset : offset + _contents_len(entry)]
        offset += len(encoded)
        lines = 0
        if entry >> GFN_BITS & _ENCODING_MASK == Encoding.DELTA:
            (lines,), encoded = _ENTRY.unpack_from(encoded), encoded[_ENTRY.size :]
        pages.append(Page(entry & GFN_MASK, encoded or None, lines))
    return tuple(pages)
