"""HELLO and REFUSE bodies."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftd.protocol.handshake import (
    DETAIL_CHARS_MAX,
    Hello,
    decode_hello,
    decode_refuse,
    encode_hello,
    encode_refuse,
)
from ftd.protocol.processor import Processor
from ftd.protocol.refusal import FrameRefused, Refusal

TOKEN = bytes(16)
PROCESSOR = Processor(
    vendor="", features={"1.0.ecx": 1}, xsave_bytes=4096, msrs=[16], tsc_khz=1, scales_tsc=True
)
HELLO = Hello("heartbeat", TOKEN, 8192, 2, 100, 4, 20, 100, 1 << 20, 4096, PROCESSOR)


def test_hello_comes_back_and_gives_the_limits_of_the_pair() -> None:
    taken = frozenset({"data"})
    hello = decode_hello(encode_hello(HELLO), token=TOKEN, channels_taken=taken, here=PROCESSOR)
    assert hello == HELLO
    limits = hello.limits()
    assert (limits.memory_pages, limits.epoch_pages_max, limits.parts_max) == (2, 100, 4)
    assert (limits.disk_bytes, limits.extra_bytes_max) == (1 << 20, 4096)


@given(st.binary(max_size=200))
def test_any_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(FrameRefused) as refused:
        decode_hello(body, token=TOKEN, channels_taken=frozenset(), here=PROCESSOR)
    assert refused.value.refusal is Refusal.HELLO


def test_refuse_names_the_reason_and_cuts_an_overlong_detail() -> None:
    refuse = decode_refuse(encode_refuse(Refusal.VERSION, "x" * 5000))
    assert (refuse.reason, len(refuse.detail)) == ("version", DETAIL_CHARS_MAX)


@pytest.mark.parametrize(
    "body", [b"", b"\x80", b"\xff", msgspec.msgpack.encode({"reason": "version", "why": 1})]
)
def test_malformed_refuse_is_refused(body: bytes) -> None:
    with pytest.raises(FrameRefused):
        decode_refuse(body)
