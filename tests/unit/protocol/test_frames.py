"""Header and body: checksums, layout, and what no mutation may achieve."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftd.protocol.body import Page, build_frame, is_guest_page, parse_frame
from ftd.protocol.crc32c import crc32c
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
from ftd.protocol.stages import ALLOWED, Stage

VM_ID = bytes(range(16))
EXPECTED = Expectation(
    vm_id=VM_ID,
    generation=3,
    allowed=ALLOWED[Stage.STANDBY_SYNC],
    limits=Limits(memory_pages=16, epoch_pages_max=8, parts_max=2),
)
FRAME = build_frame(
    FrameType.EPOCH,
    vm_id=VM_ID,
    generation=3,
    epoch=1,
    state=b"state",
    pages=[Page(1, bytes(range(256)) * 16), Page(2, None)],
    stamp_ns=99,
)


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c_is_the_one_of_rfc_3720(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_crc32c_goes_on_where_it_stopped(first: bytes, second: bytes) -> None:
    assert crc32c(second, crc32c(first)) == crc32c(first + second)


def test_layout_is_the_documented_one() -> None:
    raw = Header(
        type=5,
        vm_id=VM_ID,
        generation=0x11,
        epoch=0x22,
        flags=0x33,
        state_len=0x44,
        page_count=0x55,
        pages_len=0x66,
        extra_len=0x77,
        body_crc=0x88,
        stamp_ns=0x99,
        pair=0xAA,
    ).encode()
    offsets = {
        24: 0x11,
        32: 0x22,
        40: 0x33,
        44: 0x44,
        48: 0x55,
        52: 0x66,
        56: 0x77,
        60: 0x88,
        64: 0x99,
        72: 0xAA,
    }
    assert raw[:8] == b"FTD1\x05\x00\x05\x00"
    assert raw[8:24] == VM_ID
    assert {offset: raw[offset] for offset in offsets} == offsets
    assert int.from_bytes(raw[76:], "little") == crc32c(raw[:76])


def test_refusal_numbers_are_the_documented_ones() -> None:
    document = (Path(__file__).parents[3] / "docs/PROTOCOL.md").read_text()
    section = document.split("**Refusals.**")[1].split("| type | `epoch`")[0]
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", section, re.MULTILINE)
    assert {(int(number), name) for number, name in rows} == {(int(r), r.label) for r in Refusal}


def test_frame_comes_back_as_it_was_built_and_leaves_what_follows_alone() -> None:
    frame = parse_frame(FRAME + b"next frame", EXPECTED)
    assert frame.state == b"state"
    assert [page.gfn for page in frame.pages] == [1, 2]
    assert frame.pages[1].contents is None
    assert frame.header.stamp_ns == 99


def test_page_of_zeroes_travels_as_such() -> None:
    assert Page.of(5, bytes(PAGE_BYTES)).contents is None
    assert Page.of(5, bytes(PAGE_BYTES - 1) + b"\x01").contents is not None
    with pytest.raises(ValueError, match="4096 bytes"):
        Page.of(5, b"")


def test_guest_pages_leave_the_hole_for_devices_out() -> None:
    gib_pages = (1 << 30) // PAGE_BYTES
    four_gib = 4 * gib_pages
    assert is_guest_page(3 * gib_pages - 1, four_gib)
    assert not is_guest_page(3 * gib_pages, four_gib)
    assert not is_guest_page(4 * gib_pages - 1, four_gib)
    assert is_guest_page(5 * gib_pages - 1, four_gib)
    assert not is_guest_page(5 * gib_pages, four_gib)


@given(st.integers(0, len(FRAME) * 8 - 1))
def test_every_flipped_bit_is_refused(bit: int) -> None:
    mutated = bytearray(FRAME)
    mutated[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FrameRefused) as refused:
        parse_frame(bytes(mutated), EXPECTED)
    assert refused.value.refusal in (Refusal.MAGIC, Refusal.HEADER_CRC, Refusal.BODY_CRC)


@given(st.integers(0, len(FRAME) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(FrameRefused) as refused:
        parse_frame(FRAME[:length], EXPECTED)
    assert refused.value.refusal is Refusal.LENGTH


@given(
    st.builds(
        Header,
        type=st.sampled_from([0, 4, 5, 6, 9, 11, 13, 15]),
        vm_id=st.just(VM_ID),
        generation=st.sampled_from([2, 3]),
        epoch=st.integers(0, 3),
        state_len=st.integers(0, 2**32 - 1),
        page_count=st.integers(0, 2**32 - 1),
        pages_len=st.integers(0, 2**32 - 1),
        extra_len=st.sampled_from([0, 1]),
    )
)
def test_an_accepted_header_never_asks_for_more_than_the_limits(header: Header) -> None:
    header = Header.decode(header.encode())
    if check_header(header, EXPECTED) is None:
        limits = EXPECTED.limits
        assert (
            header.body_len
            <= limits.state_bytes_max + limits.epoch_pages_max * (8 + PAGE_BYTES) + limits.extra_bytes_max
        )


def test_header_of_a_wrong_size_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="80 bytes"):
        Header.decode(FRAME[: HEADER_BYTES + 1])
