"""The C decoder and the Python codec give the same bytes the same verdict: golden vectors, random frames."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftd._dataplane import ffi, lib
from ftd.dataplane.core import crc32c as fast_crc32c
from ftd.protocol.body import GFN_BITS, HIGH_GFN, LOW_PAGES, Page, build_frame, parse_frame
from ftd.protocol.crc32c import crc32c
from ftd.protocol.frames import HEADER_BYTES, PAGE_BYTES, Expectation, FrameType, Header, Limits
from ftd.protocol.refusal import FrameRefused, Refusal

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "frames.json"
VECTORS: list[dict[str, Any]] = json.loads(GOLDEN.read_text())
MAPS: Final = ("handshake", "state")
"""Layers whose bytes are a good frame: what their maps hold is judged in Python alone."""


def c_verdict(raw: bytes, expected: Expectation) -> int:
    """What `ftd_frame_check` says; 0: good."""
    context = ffi.new("ftd_frame_context *")
    context.vm_id = expected.vm_id
    context.generation = expected.generation
    context.pair = expected.pair
    context.memory_bytes = expected.limits.memory_pages * PAGE_BYTES
    context.epoch_last = expected.epoch_last
    context.epoch_sent = expected.epoch_sent
    context.parts_received = expected.parts_received
    context.epoch_pages_max = expected.limits.epoch_pages_max
    context.parts_max = expected.limits.parts_max
    context.state_max = expected.limits.state_bytes_max
    context.disk_bytes = expected.limits.disk_bytes
    context.extra_max = expected.limits.extra_bytes_max
    context.allowed = sum(1 << frame_type for frame_type in expected.allowed)
    # A buffer of just this length, so that a read past it has a chance to be noticed.
    return int(lib.ftd_frame_check(ffi.new("unsigned char[]", raw), len(raw), context))


def python_verdict(raw: bytes, expected: Expectation) -> int:
    try:
        parse_frame(raw, expected)
    except FrameRefused as refused:
        return int(refused.refusal)
    return 0


def golden_expectation(context: dict[str, Any]) -> Expectation:
    return Expectation(
        vm_id=bytes.fromhex(context["vm_id"]),
        generation=context["generation"],
        pair=context["pair"],
        allowed=frozenset(FrameType[name] for name in context["allowed"]),
        limits=Limits(
            memory_pages=context["memory_pages"],
            epoch_pages_max=context["epoch_pages_max"],
            parts_max=context["parts_max"],
            state_bytes_max=context["state_bytes_max"],
            disk_bytes=context["disk_bytes"],
            extra_bytes_max=context["extra_bytes_max"],
        ),
        epoch_last=context["epoch_last"],
        epoch_sent=context["epoch_sent"],
        parts_received=context["parts_received"],
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden_vector(vector: dict[str, Any]) -> None:
    context = vector["context"]
    refusal = 0
    if not vector["valid"] and context["layer"] not in MAPS:
        refusal = Refusal[vector["refusal"].upper()]
    assert c_verdict(bytes.fromhex(vector["hex"]), golden_expectation(context)) == refusal


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_checksums_agree(data: bytes, start: int) -> None:
    assert fast_crc32c(data, start) == crc32c(data, start)


SMALL_LIMITS = Limits(
    memory_pages=16,
    epoch_pages_max=4,
    parts_max=3,
    state_bytes_max=64,
    disk_bytes=100,
    extra_bytes_max=80,
)
HIGH_LIMITS = dataclasses.replace(SMALL_LIMITS, memory_pages=LOW_PAGES + 8)
EXPECTED = Expectation(
    vm_id=bytes(range(16)), generation=7, allowed=frozenset(FrameType), limits=SMALL_LIMITS
)
NEAR = st.sampled_from(
    [0, 1, 2, 3, 4, 5, 63, 64, 65, 4095, 4096, 8192, 16384, 20480, 2**31, 2**32 - 4096, 2**32 - 1]
)
U32 = NEAR | st.integers(0, 2**32 - 1)
EPOCHS = st.integers(0, 6) | st.sampled_from([2**64 - 2, 2**64 - 1])
GFNS = st.integers(0, 20) | st.sampled_from(
    [LOW_PAGES - 1, LOW_PAGES, HIGH_GFN - 1, HIGH_GFN, HIGH_GFN + 7, HIGH_GFN + 8]
)


@st.composite
def expectations(draw: st.DrawFn) -> Expectation:
    return dataclasses.replace(
        EXPECTED,
        allowed=draw(st.just(EXPECTED.allowed) | st.frozensets(st.sampled_from(FrameType))),
        limits=draw(st.sampled_from([SMALL_LIMITS, HIGH_LIMITS])),
        epoch_last=draw(EPOCHS),
        epoch_sent=draw(EPOCHS),
        parts_received=draw(st.integers(0, 3)),
    )


RECORDS = st.builds(
    lambda offset, length, kind, data: struct.pack("<QII", offset, length, kind) + data,
    st.integers(0, 101) | st.sampled_from([2**63, 2**64 - 1, 2**64 - 8]),
    st.integers(0, 101) | U32,
    st.integers(0, 5),
    st.sampled_from([b"", bytes(8), bytes(16)]),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame that may well be good, with some of its header changed and its checksums made right."""
    frame_type = draw(st.sampled_from(FrameType))
    pages = [
        Page(gfn, draw(st.sampled_from([None, bytes(PAGE_BYTES)])))
        for gfn in draw(st.lists(GFNS, max_size=5))
    ]
    raw = build_frame(
        frame_type,
        vm_id=EXPECTED.vm_id,
        generation=EXPECTED.generation,
        epoch=draw(EPOCHS),
        flags=draw(st.sampled_from([0, 0, 0, 1, 3, 4])),
        state=draw(st.binary(max_size=66)),
        pages=pages,
        extra=b"".join(draw(st.lists(RECORDS, max_size=3))),
        stamp_ns=draw(st.integers(0, 2**64 - 1)),
    )
    changes: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "type": st.integers(0, 16),
                "version": st.integers(0, 4),
                "state_len": U32,
                "page_count": U32,
                "pages_len": U32,
                "extra_len": U32,
                "body_crc": U32,
                "pair": st.integers(0, 1),
                "generation": st.integers(6, 8),
            },
        )
        if draw(st.booleans())
        else st.just({})
    )
    return dataclasses.replace(Header.decode(raw[:HEADER_BYTES]), **changes).encode() + raw[HEADER_BYTES:]


@settings(max_examples=600, deadline=None)
@given(frames(), expectations())
def test_headers_get_the_same_verdict(raw: bytes, expected: Expectation) -> None:
    assert c_verdict(raw, expected) == python_verdict(raw, expected)


@settings(max_examples=300, deadline=None)
@given(frames(), expectations(), st.data())
def test_damaged_frames_get_the_same_verdict(raw: bytes, expected: Expectation, data: st.DataObject) -> None:
    damaged = bytearray(
        raw[: data.draw(st.integers(0, len(raw)), label="kept")] if data.draw(st.booleans()) else raw
    )
    for at in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=3), label="flipped"):
        if damaged:
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    assert c_verdict(bytes(damaged), expected) == python_verdict(bytes(damaged), expected)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(lambda gfn, top: gfn | top << GFN_BITS, GFNS, st.sampled_from([0, 0, 1, 1, 2, 16, 4095])),
        max_size=4,
    ),
    st.sampled_from([SMALL_LIMITS, HIGH_LIMITS]),
    st.integers(0, 4),
)
def test_lists_get_the_same_verdict(entries: list[int], limits: Limits, raw_pages: int) -> None:
    body = b"".join(entry.to_bytes(8, "little") for entry in entries) + bytes(raw_pages * PAGE_BYTES)
    header = Header(
        type=FrameType.SYNC,
        vm_id=EXPECTED.vm_id,
        generation=EXPECTED.generation,
        page_count=len(entries),
        pages_len=raw_pages * PAGE_BYTES,
        body_crc=fast_crc32c(body),
    )
    raw = header.encode() + body
    expected = dataclasses.replace(EXPECTED, limits=limits)
    assert c_verdict(raw, expected) == python_verdict(raw, expected)


@settings(max_examples=400, deadline=None)
@given(st.lists(RECORDS | st.binary(max_size=20), max_size=4), st.sampled_from([0, 1, 100, 2**60]))
def test_disk_logs_get_the_same_verdict(records: list[bytes], disk_bytes: int) -> None:
    raw = build_frame(
        FrameType.DISK, vm_id=EXPECTED.vm_id, generation=EXPECTED.generation, extra=b"".join(records)
    )
    limits = dataclasses.replace(SMALL_LIMITS, disk_bytes=disk_bytes, extra_bytes_max=1 << 20)
    expected = dataclasses.replace(EXPECTED, limits=limits)
    assert c_verdict(raw, expected) == python_verdict(raw, expected)
