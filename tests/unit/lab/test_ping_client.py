"""Echoes, and the gaps between them."""

from __future__ import annotations

import socket
import struct

import pytest
import trio

from lab.outside.ping_client import Gaps, PingClient, checksum, echo_request, is_reply

IDENTIFIER = 0x1234


def reply(identifier: int = IDENTIFIER, kind: int = 0, code: int = 0, header_words: int = 5) -> bytes:
    header = bytes([0x40 | header_words]) + bytes(header_words * 4 - 1)
    return header + struct.pack("!BBHHH", kind, code, 0, identifier, 1)


def test_a_request_has_the_checksum_of_rfc_1071() -> None:
    request = echo_request(IDENTIFIER, 7)
    assert checksum(request) == 0, "with its checksum in it the sum is all ones"
    assert request[:2] == b"\x08\x00"
    assert struct.unpack("!HH", request[4:]) == (IDENTIFIER, 7)


@pytest.mark.parametrize(
    ("packet", "ours"),
    [
        (reply(), True),
        (reply(header_words=6), True),
        (reply(identifier=1), False),
        (reply(kind=8), False),
        (reply(kind=3, code=1), False),
        (reply()[:-1], False),
        (b"", False),
        (bytes(64), False),
    ],
)
def test_only_our_echoes_count(packet: bytes, *, ours: bool) -> None:
    assert is_reply(packet, IDENTIFIER) is ours


def test_the_longest_gap_after_forgetting_has_its_beginning() -> None:
    gaps = Gaps()
    for now_s in (1.0, 3.0, 3.5):
        gaps.answer(now_s)
    assert gaps.longest_s == 2.0
    gaps.forget()
    gaps.answer(4.5)
    assert gaps.longest_s == 1.0, "from the answer before it was forgotten"


async def test_loopback_answers() -> None:
    async def open_socket() -> trio.socket.SocketType:
        try:
            sock = trio.socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        except PermissionError as error:
            pytest.skip(f"raw sockets: {error}")
        await sock.connect(("127.0.0.1", 0))
        return sock

    client = PingClient(open_socket, interval_s=0.001)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run)
            while client.gaps.answers < 3:
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
