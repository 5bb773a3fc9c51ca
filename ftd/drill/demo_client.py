"""The client outside of the machine: asks all the time, and measures how long it got no answer."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from ftd.drill.ledger import Answer, Connected, Connector, Event, LedgerClient, connector_of
from ftd.drill.ledger_book import Book

REQUESTS_PER_SECOND: Final = 500.0
FINISH_DEADLINE_S: Final = 3.0
RETRY_S: Final = 0.02
_LINE_BYTES_MAX: Final = 4096


class Witness:
    """A ledger client, and when its answers came. Knows nothing of hosts but their consoles' addresses."""

    def __init__(
        self, addresses: Sequence[str], *, connector_for: Callable[[str], Connector] = connector_of
    ) -> None:
        self._client = LedgerClient(
            addresses,
            requests_per_second=REQUESTS_PER_SECOND,
            observe=self._observe,
            connector_for=connector_for,
        )
        self._address = ""
        self._awaited: str | None = None
        self._last_answer_s = 0.0
        self._ended = trio.Event()
        self.answering = trio.Event()
        self.moved = trio.Event()
        self.blackout_ms: float | None = None
        """From the last answer before the first one of the awaited address; None: that has not come yet."""

    @property
    def book(self) -> Book:
        """The account so far."""
        return self._client.book

    def expect_move_to(self, address: str) -> None:
        """From now on the first answer from `address` ends the blackout."""
        self._awaited = address

    async def run(self) -> None:
        """Asks until `finish`, or until the first breach."""
        await self._client.run()
        self._ended.set()

    async def finish(self) -> None:
        """Asks nothing new and waits for what is outstanding, for FINISH_DEADLINE_S at most."""
        self._client.finish()
        with trio.move_on_after(FINISH_DEADLINE_S):
            await self._ended.wait()

    def _observe(self, event: Event) -> None:
        if isinstance(event, Connected):
            self._address = event.address
        elif isinstance(event, Answer):
            now_s = trio.current_time()
            if self._address == self._awaited and not self.moved.is_set():
                self.blackout_ms = (now_s - self._last_answer_s) * 1000
                self.moved.set()
            self._last_answer_s = now_s
            self.answering.set()


async def last_record(
    address: str, *, connector_for: Callable[[str], Connector] = connector_of
) -> tuple[int, int] | None:
    """Number and hash of a ledger's newest request, asked on a connection of its own. None: no answer.

    A copy is shown as active a moment before its console listens: it is tried again until FINISH_DEADLINE_S.
    """
    with trio.move_on_after(FINISH_DEADLINE_S):
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                record = await _ask_last_record(connector_for(address))
                if record is not None:
                    return record
            await trio.sleep(RETRY_S)
    return None


async def _ask_last_record(connector: Connector) -> tuple[int, int] | None:
    async with await connector() as stream:
        await stream.send_all(b"\n?\n")
        text = b""
        while len(text) < _LINE_BYTES_MAX and (chunk := await stream.receive_some()):
            text += chunk
            for line in text.split(b"\n")[:-1]:
                if line.startswith(b"L "):
                    _, number, value = line.split()
                    return int(number), int(value, 16)
    return None
