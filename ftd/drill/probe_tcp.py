"""Observes what a guest serves at an address of its own, over TCP."""

from typing import Final

import trio

from ftd.drill.ledger import Connector
from ftd.drill.probe import FINISH_S, REQUESTS_PER_SECOND, now_s
from ftd.drill.tally import Tally
from ftd.errors import ControlError, ErrorKind

INTERVAL_S: Final = 1 / REQUESTS_PER_SECOND
CONNECTS_PER_SECOND: Final = 50.0
CONNECT_DEADLINE_S: Final = 2.0
CONNECTS_AT_ONCE_MAX: Final = 200
RETRY_S: Final = 0.01
_CHUNK: Final = 4096


class ConnectProbe:
    """TCP connections to the guest's address. An attempt does not wait for the one before it.

    So a blackout is seen to CONNECTS_PER_SECOND, not to the second after which a kernel repeats its SYN.
    """

    def __init__(self, connector: Connector, where: str) -> None:
        self.tally = Tally()
        self.describe = f"TCP connections to {where}"
        self._connector = connector
        self._where = where
        self._finished = trio.Event()
        self._ended = trio.Event()

    async def begin(self) -> None:
        """See Probe."""
        if not await self._connects():
            raise _no_answer(self._where, "takes no connection")

    async def run(self) -> None:
        """See Probe."""
        limit = trio.CapacityLimiter(CONNECTS_AT_ONCE_MAX)
        async with trio.open_nursery() as nursery:
            while not self._finished.is_set():
                if limit.available_tokens:
                    self.tally.asked += 1
                    nursery.start_soon(self._attempt, limit)
                with trio.move_on_after(1 / CONNECTS_PER_SECOND):
                    await self._finished.wait()
        self._ended.set()

    async def finish(self) -> None:
        """See Probe. Attempts that found nobody during a blackout are its measure, not answers lost."""
        self._finished.set()
        with trio.move_on_after(FINISH_S):
            await self._ended.wait()

    async def _attempt(self, limit: trio.CapacityLimiter) -> None:
        async with limit:
            if await self._connects():
                self.tally.answered += 1
                self.tally.answer_times_s.append(now_s())

    async def _connects(self) -> bool:
        with trio.move_on_after(CONNECT_DEADLINE_S):
            try:
                await trio.aclose_forcefully(await self._connector())
            except OSError:
                return False
            return True
        return False


class EchoProbe:
    """A service in the guest that sends back what it gets (RFC 862). Its connection has to survive."""

    def __init__(self, connector: Connector, where: str) -> None:
        self.tally = Tally()
        self.describe = f"echoed lines on one TCP connection to {where}"
        self._connector = connector
        self._where = where
        self._expected = 0
        self._finished = trio.Event()
        self._all_is_back = trio.Event()

    async def begin(self) -> None:
        """See Probe."""
        with trio.move_on_after(CONNECT_DEADLINE_S):
            try:
                async with await self._connector() as stream:
                    await stream.send_all(b"0\n")
                    if await stream.receive_some() == b"0\n":
                        return
            except (OSError, trio.BrokenResourceError):
                pass
        raise _no_answer(self._where, "does not send back what it gets")

    async def run(self) -> None:
        """See Probe. A connection that ends is a breach, and another one is opened."""
        while not self._finished.is_set():
            try:
                async with await self._connector() as stream, trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, stream)
                    await self._receive(stream)
                    nursery.cancel_scope.cancel()
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            if not self._finished.is_set() or self.tally.asked > self._expected:
                self._breach(f"the connection ended, {self.tally.asked - self._expected} lines not back")
                self.tally.lost += self.tally.asked - self._expected
                self._expected = self.tally.asked
            await trio.sleep(RETRY_S)

    async def finish(self) -> None:
        """See Probe."""
        self._finished.set()
        if self.tally.asked > self._expected:
            with trio.move_on_after(FINISH_S):
                await self._all_is_back.wait()
        self.tally.lost += self.tally.asked - self._expected

    async def _send(self, stream: trio.abc.Stream) -> None:
        while not self._finished.is_set():
            self.tally.asked += 1
            await stream.send_all(b"%d\n" % self.tally.asked)
            await trio.sleep(INTERVAL_S)

    async def _receive(self, stream: trio.abc.Stream) -> None:
        buffer = b""
        while not (self._finished.is_set() and self.tally.asked == self._expected):
            data = await stream.receive_some(_CHUNK)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        number = int(line) if line.isdigit() else -1
        if number == self._expected + 1:
            self._expected = number
            self.tally.answered += 1
            self.tally.answer_times_s.append(now_s())
            if self._finished.is_set() and number == self.tally.asked:
                self._all_is_back.set()
        elif 0 < number <= self._expected:
            self.tally.repeated += 1
            self._breach(f"line {number} came twice")
        else:
            self._breach(f"{line[:40]!r} came where {self._expected + 1} was due")

    def _breach(self, what: str) -> None:
        self.tally.breaches.append(what)


def _no_answer(where: str, what: str) -> ControlError:
    return ControlError(
        ErrorKind.WRONG_STATE, f"the probe finds no answer: {where} {what}. Is it the guest's?"
    )
