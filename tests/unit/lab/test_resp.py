"""Redis' protocol, from bytes in pieces of any size, and from bytes that are none of it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.outside.resp import Decoder, ErrorReply, ProtocolError, command

STREAM = b"+OK\r\n:12\r\n$3\r\na\r\n\r\n$-1\r\n-ERR no\r\n*3\r\n$1\r\nx\r\n$-1\r\n:-4\r\n*0\r\n*-1\r\n"
REPLIES = [b"OK", 12, b"a\r\n", None, ErrorReply("ERR no"), [b"x", None, -4], [], None]


def test_a_command_is_a_list_of_strings() -> None:
    assert command(b"SET", b"k", b"") == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"


@given(st.lists(st.integers(1, 30), max_size=30))
def test_replies_come_whole_from_pieces(sizes: list[int]) -> None:
    decoder, rest, replies = Decoder(), STREAM, []
    for size in sizes:
        replies += decoder.feed(rest[:size])
        rest = rest[size:]
    assert replies + decoder.feed(rest) == REPLIES


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n",
        b":x\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"$99999999999\r\n",
        b"$1\r\nabc",
        b"*-7\r\n",
        b"*9999999\r\n",
        b"*1\r\n*1\r\n",
        b"+" + b"a" * 70000,
    ],
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(data)


@given(st.binary(max_size=200))
def test_noise_is_refused_or_waited_for(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        Decoder().feed(data)
