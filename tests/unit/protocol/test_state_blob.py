"""State blobs: what comes back, and what is refused before it costs anything."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftd.protocol.refusal import FrameRefused, Refusal
from ftd.protocol.state_blob import pack_state, unpack_state

SECTIONS = st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=64), max_size=8)


@given(SECTIONS)
def test_sections_come_back_in_their_order(sections: dict[str, bytes]) -> None:
    unpacked = unpack_state(pack_state(sections), max_sections=8, max_bytes=4096)
    assert list(unpacked.items()) == list(sections.items())


@given(st.binary(max_size=64))
def test_any_bytes_give_sections_or_a_refusal(blob: bytes) -> None:
    try:
        sections = unpack_state(blob, max_sections=4, max_bytes=64)
    except FrameRefused:
        return
    assert all(type(name) is str and type(section) is bytes for name, section in sections.items())


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (b"", "incomplete"),
        (b"\xc0", "a map was expected, not NoneType"),
        (b"\x90", "a map was expected, not list"),
        (b"\x80\x80", "extra data"),
        (b"\x81\xa1a\xa1b", "section 'a' is str"),
        (b"\x81\xa1a\xc0", "section 'a' is NoneType"),
        (b"\x81\xa1a\x80", "section 'a' is _Pairs"),
        (b"\x81\xa1a\x91\xc4\x00", "max_array_len"),
        (b"\x81\xa0\xc4\x00", "not a section's name"),
        (b"\x81\xc4\x01a\xc4\x00", "not a section's name"),
        (b"\x81\x01\xc4\x00", "map key"),
        (b"\x82\xa1a\xc4\x00\xa1a\xc4\x00", "appears twice"),
        (b"\xdf\xff\xff\xff\xff", "max_map_len"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "incomplete"),
        (b"\x81\xa1a" * 3000, "StackError"),
        (b"\x81\xa1a\xd4\x01\x00", "max_ext_len"),
        (msgpack.packb({"x" * 65: b""}), "max_str_len"),
        (pack_state({"a": b"", "b": b"", "c": b""}), "max_map_len"),
        (pack_state({"a": bytes(10_000)}), "10006 bytes, at most 10000"),
    ],
)
def test_what_is_not_a_map_of_sections_is_refused(blob: bytes, why: str) -> None:
    with pytest.raises(FrameRefused, match=why) as refused:
        unpack_state(blob, max_sections=2, max_bytes=10_000)
    assert refused.value.refusal is Refusal.STATE
