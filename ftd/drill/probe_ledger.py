"""Observes a ledger guest, through its console, wherever that listens."""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from ftd.drill.ledger import Answer, Breach, Connector, Event, LedgerClient, connector_of
from ftd.drill.ledger_join import JoinError, join
from ftd.drill.probe import FINISH_S, REQUESTS_PER_SECOND, now_s
from ftd.drill.tally import Tally
from ftd.errors import ControlError, ErrorKind

SILENCE_S: Final = 1.0


class LedgerProbe:
    """The console of a ledger guest."""

    def __init__(
        self, addresses: Sequence[str], *, connector_for: Callable[[str], Connector] = connector_of
    ) -> None:
        self.tally = Tally()
        self.describe = f"the ledger's protocol on the guest's console ({', '.join(addresses)})"
        self._addresses = addresses
        self._connector_for = connector_for
        self._client: LedgerClient | None = None
        self._base = 0
        self._ended = trio.Event()

    async def begin(self) -> None:
        """Joins the ledger at the first address, where the guest runs now."""
        try:
            book = await join(self._connector_for(self._addresses[0]))
        except JoinError as error:
            raise ControlError(
                ErrorKind.WRONG_STATE,
                f"the guest's console at {self._addresses[0]} gives no ledger's answers ({error}). For "
                "another guest name what it serves, --probe tcp:ADDRESS:PORT or --probe echo:ADDRESS:PORT",
            ) from error
        self._client = LedgerClient(
            self._addresses,
            requests_per_second=REQUESTS_PER_SECOND,
            silence_timeout_s=SILENCE_S,
            observe=self._observe,
            connector_for=self._connector_for,
        )
        self._client.book, self._base = book, book.answered

    async def run(self) -> None:
        """See Probe."""
        assert self._client is not None, "begin comes first"
        await self._client.run()
        self._ended.set()

    async def finish(self) -> None:
        """See Probe."""
        if self._client is None:
            return
        self._client.finish()
        with trio.move_on_after(FINISH_S):
            await self._ended.wait()
        book = self._client.book
        self.tally.asked, self.tally.answered = book.asked - self._base, book.answered - self._base
        self.tally.lost, self.tally.repeated = book.outstanding, book.repeated

    def _observe(self, event: Event) -> None:
        if isinstance(event, Answer):
            self.tally.answer_times_s.append(now_s())
        elif isinstance(event, Breach):
            self.tally.breaches.append(f"{event.kind.value} (request {event.number})")
