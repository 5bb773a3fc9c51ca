"""Frames on the simulated wire: built and judged by the production code, with its checksum in C for speed."""

from __future__ import annotations

from dataclasses import dataclass

from ftd.dataplane.core import LinkConfig
from ftd.dataplane.core import crc32c as crc32c_in_c
from ftd.protocol import body, frames
from ftd.protocol.body import build_frame
from ftd.protocol.crc32c import crc32c
from ftd.protocol.frames import HEADER_BYTES, Expectation, FrameType, Header, Limits
from ftd.protocol.refusal import Refusal

CHECKSUM_IN_PYTHON = crc32c
CHECKSUM = {(frames, "crc32c"): crc32c_in_c, (body, "crc32c"): crc32c_in_c}
"""What ``production`` puts in the place of the one in Python; tests/golden holds both to the same bytes."""


@dataclass(frozen=True)
class Wire:
    """The frames of one pair."""

    vm_id: bytes
    generation: int
    limits: Limits
    pair: int = 0

    @classmethod
    def of(cls, link: LinkConfig, memory_pages: int) -> Wire:
        """The wire of a pair that was agreed on in HELLO."""
        limits = Limits(
            memory_pages=memory_pages, epoch_pages_max=link.epoch_pages_max, parts_max=link.parts_max
        )
        return cls(link.vm_id, link.generation, limits, link.pair)

    def build(
        self,
        kind: FrameType,
        epoch: int = 0,
        *,
        flags: int = 0,
        state: bytes = b"",
        pages: tuple[body.Page, ...] = (),
        stamp_us: int = 0,
    ) -> bytes:
        """One frame, ready to send."""
        return build_frame(
            kind,
            vm_id=self.vm_id,
            generation=self.generation,
            epoch=epoch,
            flags=flags,
            state=state,
            pages=pages,
            stamp_ns=stamp_us * 1000,
            pair=self.pair,
        )

    def expect(
        self, allowed: frozenset[FrameType], *, last: int = 0, sent: int = 0, parts: int = 0
    ) -> Expectation:
        """What a receiver knows when a header arrives."""
        return Expectation(
            vm_id=self.vm_id,
            generation=self.generation,
            allowed=allowed,
            limits=self.limits,
            epoch_last=last,
            epoch_sent=sent,
            parts_received=parts,
            pair=self.pair,
        )


def take_header(inbox: bytearray, expected: Expectation) -> tuple[Header, Refusal | None] | None:
    """The header at the start of ``inbox``, which stays, and what is wrong with it; None: not whole yet."""
    if len(inbox) < HEADER_BYTES:
        return None
    header = Header.decode(bytes(inbox[:HEADER_BYTES]))
    return header, frames.check_header(header, expected)
