"""What a client of the guest waits for an answer, with and without protection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import trio

from bench.model import NotMeasuredError
from bench.round_trip_rows import REQUESTS_PER_SECOND
from bench.waiting import wait_until
from ftd.drill.ledger import Answer, Event, LedgerClient
from ftd.drill.local_pair import Guest, local_pair

ANSWERS_DEADLINE_FACTOR: Final = 5


@dataclass(frozen=True)
class RoundTrips:
    """Seconds from asking to the answer, of the same guest, one after the other."""

    unprotected_s: list[float]
    protected_s: list[float]


async def round_trips(rate_hz: int, seconds: float) -> RoundTrips:
    """Of the ledger's console. Raises NotMeasuredError, ControlError."""
    answers: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, Answer):
            answers.append(event.latency_s)

    async def collect(state: str) -> list[float]:
        answers.clear()
        count = int(REQUESTS_PER_SECOND * seconds)
        why = f"{count} answers did not come while the guest was {state}"
        await wait_until(lambda: len(answers) >= count, ANSWERS_DEADLINE_FACTOR * seconds, why)
        status = await pair.alpha.status(pair.guest.name)
        if status is None or status.state != state:
            raise NotMeasuredError(f"the guest was not {state} at the end")
        return answers[:count]

    async with local_pair(Guest(replication={"checkpoint_rate_hz": rate_hz})) as pair:
        client = LedgerClient(
            pair.consoles, window=1, requests_per_second=REQUESTS_PER_SECOND, observe=observe
        )
        await pair.start_guest()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            unprotected_s = await collect("idle")
            await pair.enter()
            protected_s = await collect("protected")
            nursery.cancel_scope.cancel()
    return RoundTrips(unprotected_s, protected_s)
