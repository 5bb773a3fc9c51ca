"""How fast memory full of data reaches a new standby."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from bench.guest_memory import GuestMemory
from bench.model import NotMeasuredError
from bench.waiting import wait_until
from ftd.drill.local_pair import Guest, LocalPair, local_pair
from ftd.errors import ControlError
from ftd.protocol import control_operator as operator
from ftd.protocol.control import VmParams

FILLED: Final = 1
"""Word of the filler's counters that is 1 once memory is full."""
FILL_DEADLINE_S: Final = 300.0
ENTER_DEADLINE_S: Final = 180.0
POLL_S: Final = 0.005
PAGE_BYTES: Final = 4096
SPIN: Final = 10_000_000
"""Between two writes: the guest is to stand beside, not to compete for a processor's caches."""
HEARTBEAT_TIMEOUT_MS: Final = 5000


@dataclass(frozen=True)
class Synchronisation:
    """One first synchronisation. `enter_s` counts from the request, with the standby's start in it."""

    data_bytes: int
    sync_s: float
    enter_s: float

    @property
    def bytes_per_second(self) -> float:
        """From the moment the synchronisation starts until the guest is protected."""
        return self.data_bytes / self.sync_s

    @property
    def bytes_per_second_from_request(self) -> float:
        """With all that comes before the first byte: mainly the making of the standby's memory."""
        return self.data_bytes / self.enter_s


class FilledGuest:
    """A guest whose memory is full, to be synchronised as often as wanted."""

    def __init__(self, pair: LocalPair) -> None:
        self._pair = pair

    async def synchronise(self) -> Synchronisation:
        """Enters, measures, and leaves again. Raises ControlError, NotMeasuredError."""
        asked_s = time.monotonic()
        async with trio.open_nursery() as nursery:
            begun: list[float] = []
            nursery.start_soon(self._watch_begin, begun)
            await self._enter()
            protected_s = time.monotonic()
            nursery.cancel_scope.cancel()
        status = await self._pair.alpha.status(self._pair.guest.name)
        if status is None or not begun:
            raise NotMeasuredError("the synchronisation was over before its start was seen")
        await self._pair.alpha.call(operator.LEAVE, VmParams(vm=self._pair.guest.name))
        data_bytes = status.counters["sync_total"] * PAGE_BYTES
        return Synchronisation(data_bytes, protected_s - begun[0], protected_s - asked_s)

    async def _enter(self) -> None:
        """A standby that has just been left may not have ended yet: then it is asked again."""
        with trio.move_on_after(ENTER_DEADLINE_S) as patience:
            while True:
                try:
                    return await self._pair.enter()
                except ControlError:
                    if trio.current_time() + 1 > patience.deadline:
                        raise
                await trio.sleep(0.1)
        raise NotMeasuredError(f"not protected within {ENTER_DEADLINE_S:g} s")

    async def _watch_begin(self, begun: list[float]) -> None:
        """Notes the last moment at which nothing had been sent, and looks no more after it."""
        nothing_sent_s = time.monotonic()
        while True:
            looked_s = time.monotonic()
            status = await self._pair.alpha.status(self._pair.guest.name)
            if status is not None and status.sync is not None and status.sync.sent_bytes > 0:
                begun.append(nothing_sent_s)
                return
            nothing_sent_s = looked_s
            await trio.sleep(POLL_S)


@asynccontextmanager
async def filled_guest(memory_mib: int) -> AsyncIterator[FilledGuest]:
    """Starts the filler and waits until it is done."""
    guest = Guest(
        image="filler",
        args=(0, SPIN),
        memory_mib=memory_mib,
        console=False,
        replication={"heartbeat_interval_ms": 100, "heartbeat_timeout_ms": HEARTBEAT_TIMEOUT_MS},
    )
    async with local_pair(guest) as pair:
        await pair.start_guest()
        with GuestMemory(await pair.alpha.worker_pid(guest.name)) as memory:
            await wait_until(
                lambda: memory.counter(0, FILLED) == 1,
                FILL_DEADLINE_S,
                f"the guest's memory was not full within {FILL_DEADLINE_S:g} s",
            )
        yield FilledGuest(pair)
