"""Asks the guest's kernel for echoes (ICMP): whether it is there, without TCP's retransmissions."""

from __future__ import annotations

import os
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

ECHO_REQUEST: Final = 8
ECHO_REPLY: Final = 0
PACKET_BYTES_MAX: Final = 2048
OpenSocket = Callable[[], Awaitable[trio.socket.SocketType]]
_HEADER: Final = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number (RFC 792)."""


def checksum(data: bytes) -> int:
    """RFC 1071's, of whole 16-bit words."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(identifier: int, number: int) -> bytes:
    """An echo request without data."""
    bare = _HEADER.pack(ECHO_REQUEST, 0, 0, identifier, number)
    return _HEADER.pack(ECHO_REQUEST, 0, checksum(bare), identifier, number)


def is_reply(packet: bytes, identifier: int) -> bool:
    """Whether an IPv4 packet, with its header, is an echo reply to this identifier."""
    header_bytes = (packet[0] & 0xF) * 4 if packet else 0
    if len(packet) < header_bytes + _HEADER.size or not header_bytes:
        return False
    kind, code, _, told, _ = _HEADER.unpack_from(packet, header_bytes)
    return (kind, code, told) == (ECHO_REPLY, 0, identifier)


class Gaps:
    """The longest time between two answers. Times are the caller's clock, in seconds."""

    def __init__(self) -> None:
        self.answers = 0
        self.longest_s = 0.0
        self._latest_s = 0.0

    def answer(self, now_s: float) -> None:
        """One came."""
        if self.answers:
            self.longest_s = max(self.longest_s, now_s - self._latest_s)
        self.answers += 1
        self._latest_s = now_s

    def forget(self) -> None:
        """Gaps that have ended; one that is open counts from its beginning."""
        self.longest_s = 0.0


class PingClient:
    """Sends a request every `interval_s`, whether the one before was answered or not."""

    def __init__(self, open_socket: OpenSocket, *, interval_s: float = 0.02) -> None:
        """`open_socket` gives a raw ICMP socket that is connected to the guest."""
        self.gaps = Gaps()
        self._open_socket = open_socket
        self._interval_s = interval_s
        self._identifier = os.getpid() & 0xFFFF

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Raises OSError where there is no such socket."""
        with await self._open_socket() as sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, sock)
                task_status.started()
                while True:
                    packet = await sock.recv(PACKET_BYTES_MAX)
                    if is_reply(packet, self._identifier):
                        self.gaps.answer(trio.current_time())

    async def _send(self, sock: trio.socket.SocketType) -> None:
        number = 0
        while True:
            # Nobody at home is an answer, too, and not the one that is waited for.
            with suppress(OSError):
                await sock.send(echo_request(self._identifier, number & 0xFFFF))
            number += 1
            await trio.sleep(self._interval_s)
