"""What a client outside sees when the primary's worker dies or falls silent: again and again, to and fro."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from bench.model import NotMeasuredError
from bench.takeover import Takeover, takeover
from bench.waiting import POLL_S, wait_until
from ftd.drill.ledger import Answer, Event, LedgerClient
from ftd.drill.local_pair import Guest, LocalHost, LocalPair, local_pair
from ftd.errors import ControlError
from ftd.transport.framing import TransportError

RATE_HZ: Final = 2500
REQUESTS_PER_SECOND: Final = 250.0
"""A blackout is seen to begin up to one interval early: 4 ms."""
SILENCE_TIMEOUT_S: Final = 0.05
"""After which the client looks elsewhere: well below the heartbeat timeout, so that it adds nothing."""
RUN_S: Final = (0.2, 0.7)
"""From protected to the kill: a random moment in between."""
SETTLED_ANSWERS: Final = 5
RECOVERY_DEADLINE_S: Final = 20.0
SEED: Final = 2500


@dataclass(frozen=True)
class Blackout:
    """`seen_s` is all that the client waited, with what it had waited already when the worker was killed."""

    seen_s: float
    before_kill_s: float
    takeover: Takeover | None = None


class Watch:
    """Notes when answers come."""

    def __init__(self) -> None:
        self.answers = 0
        self._last_s = 0.0
        self._longest_s = 0.0
        self._before_s = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Answer):
            now_s = trio.current_time()
            if self.answers:
                self._longest_s = max(self._longest_s, now_s - self._last_s)
            self.answers, self._last_s = self.answers + 1, now_s

    def begin(self) -> None:
        """The kill: forgets all gaps that have ended."""
        self._longest_s = 0.0
        self._before_s = trio.current_time() - self._last_s

    @property
    def blackout(self) -> Blackout:
        """Longest time between two answers since `begin`, one that was open then included."""
        return Blackout(self._longest_s, self._before_s)


async def blackouts(
    kill_signal: signal.Signals, count: int, heartbeat_timeout_ms: int, memory_mib: int = 256
) -> list[Blackout]:
    """The client's longest wait around each of `count` deaths. Raises NotMeasuredError, ControlError.

    Each time the guest is protected again on the host that has just lost it.
    """
    replication = {"checkpoint_rate_hz": RATE_HZ, "heartbeat_timeout_ms": heartbeat_timeout_ms}
    watch = Watch()
    async with local_pair(Guest(memory_mib=memory_mib, replication=replication)) as pair:
        client = LedgerClient(
            pair.consoles,
            requests_per_second=REQUESTS_PER_SECOND,
            silence_timeout_s=SILENCE_TIMEOUT_S,
            observe=watch,
        )
        await pair.start_guest()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            seen = await _kill_repeatedly(pair, watch, kill_signal, count)
            nursery.cancel_scope.cancel()
    if client.book.breaches:
        raise NotMeasuredError(f"the ledger's chain broke: {client.book.breaches[0]}")
    return seen


async def _kill_repeatedly(
    pair: LocalPair, watch: Watch, kill_signal: signal.Signals, count: int
) -> list[Blackout]:
    seen: list[Blackout] = []
    moments = random.Random(SEED)
    host = pair.alpha
    for _ in range(count):
        await _protect(pair, host)
        await _answers(watch, "after it was protected")
        await trio.sleep(moments.uniform(*RUN_S))
        pid = await host.worker_pid(pair.guest.name)
        watch.begin()
        died_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.kill(pid, kill_signal)
        await pair.wait_for_state(pair.peer_of(host), "simplex", deadline_s=RECOVERY_DEADLINE_S)
        await _answers(watch, f"after {kill_signal.name}")
        blackout = watch.blackout
        seen.append(replace(blackout, takeover=await _takeover(pair, pair.peer_of(host), died_ns)))
        if kill_signal is signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)  # it finds its generation gone, and ends
        await _ended(pid)
        host = pair.peer_of(host)
    return seen


async def _takeover(pair: LocalPair, host: LocalHost, died_ns: int) -> Takeover:
    status = await host.status(pair.guest.name)
    return takeover(status.history if status is not None else (), died_ns)


async def _protect(pair: LocalPair, host: LocalHost) -> None:
    """The peer's ftd may not have noticed yet that its worker is gone: then it is asked again."""
    refusal = ""
    with trio.move_on_after(RECOVERY_DEADLINE_S):
        while True:
            try:
                return await pair.enter(host)
            except (ControlError, TransportError) as error:
                refusal = str(error)
            await trio.sleep(POLL_S)
    raise NotMeasuredError(f"{host.name} could not be protected again: {refusal}")


async def _answers(watch: Watch, when: str) -> None:
    wanted = watch.answers + SETTLED_ANSWERS
    otherwise = f"the guest did not answer {when}"
    await wait_until(lambda: watch.answers >= wanted, RECOVERY_DEADLINE_S, otherwise)


async def _ended(pid: int) -> None:
    process = Path(f"/proc/{pid}")
    await wait_until(lambda: not process.exists(), RECOVERY_DEADLINE_S, f"worker {pid} did not end")
