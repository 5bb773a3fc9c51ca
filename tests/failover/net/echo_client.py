"""Asks the echoer a chain of requests over UDP and judges every answer by a chain computed apart from it."""

from __future__ import annotations

import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from ftd.drill.chain import Chain
from tests.failover.net.lan import GUEST_ADDRESS

PORT: Final = 7000
ANSWER: Final = struct.Struct("<cQQ")
WINDOW: Final = 8
RETRY_S: Final = 0.05
BLACKOUT_MIN_S: Final = 0.02


@dataclass
class Account:
    """What the client saw."""

    answered: int = 0
    """All requests up to this one were answered."""
    again: int = 0
    """Answers to requests that had been answered: a network may repeat, a gate must not."""
    out_of_order: int = 0
    retries: int = 0
    longest_silence_s: float = 0.0
    breaches: list[str] = field(default_factory=list)


class EchoClient:
    """`WINDOW` requests are on their way at most; one that is not answered in time is sent again."""

    def __init__(self, sock: socket.socket, requests_per_second: float = 500.0) -> None:
        sock.setblocking(False)
        self._socket = trio.socket.from_stdlib_socket(sock)
        self._pause_s = 1 / requests_per_second
        self._chain = Chain()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._finishing = False
        self._last_answer_s = trio.current_time()
        self.account = Account()

    @property
    def outstanding(self) -> int:
        """Asked and not answered."""
        return len(self._waiting)

    async def is_done(self) -> bool:
        """Everything that was asked is answered."""
        return not self._waiting

    async def run(self) -> None:
        """Until `finish`, and everything is answered."""
        self._last_answer_s = trio.current_time()
        with self._socket:
            await self._talk()

    async def _talk(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._retry)
            while not self._finishing or self._waiting:
                if not self._finishing and len(self._waiting) < WINDOW:
                    await self._ask()
                await trio.sleep(self._pause_s)
            nursery.cancel_scope.cancel()

    def finish(self) -> None:
        """Ask nothing new."""
        self._finishing = True

    async def more_answers(self, count: int = 50, *, deadline_s: float = 30.0) -> None:
        """Waits for so many more. Raises AssertionError for a breach, or when they do not come."""
        wanted = self.account.answered + count
        with trio.move_on_after(deadline_s):
            while self.account.answered < wanted:
                assert not self.account.breaches, self.account.breaches
                await trio.sleep(0.005)
            return
        raise AssertionError(f"{self.account.answered} of {wanted} answers within {deadline_s:g} s")

    async def _ask(self) -> None:
        number = self._chain.last + 1
        payload = f"request {number}".encode()
        self._chain.append(payload)
        self._waiting.append((number, struct.pack("<Q", number) + payload))
        await self._send(self._waiting[-1][1])

    async def _send(self, request: bytes) -> None:
        with suppress(OSError):  # nobody answers ARP: that is a loss like any other
            await self._socket.sendto(request, (GUEST_ADDRESS, PORT))

    async def _retry(self) -> None:
        while True:
            await trio.sleep(RETRY_S)
            if self._waiting and trio.current_time() - self._last_answer_s > RETRY_S:
                for _, request in list(self._waiting):
                    self.account.retries += 1
                    await self._send(request)

    async def _listen(self) -> None:
        while True:
            answer = await self._socket.recv(2048)
            now_s = trio.current_time()
            self.account.longest_silence_s = max(self.account.longest_silence_s, now_s - self._last_answer_s)
            self._last_answer_s = now_s
            self._judge(answer)

    def _judge(self, answer: bytes) -> None:
        kind, number, digest = ANSWER.unpack(answer)
        account = self.account
        if kind == b"E":
            # It waits for a request that was lost on the way; not for one that it has answered.
            if number <= account.answered:
                account.breaches.append(f"it has forgotten request {number}, which it answered")
        elif kind not in (b"A", b"D") or number > self._chain.last or digest != self._chain.hash_of(number):
            account.breaches.append(f"{kind!r} {number} {digest:#x} is not of the chain")
        elif number <= account.answered:
            account.again += 1
        else:
            self._take(number)

    def _take(self, number: int) -> None:
        """The guest chains in order: an answer to one request says that it has all before."""
        if number != self.account.answered + 1:
            self.account.out_of_order += 1
        while self._waiting and self._waiting[0][0] <= number:
            self._waiting.popleft()
        self.account.answered = number
