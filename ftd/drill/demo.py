"""`ftctl demo`: two daemons, a real guest, a client outside, and the death of the host that has the guest."""

import os
import signal
import time
from contextlib import suppress
from typing import Final

import trio
from rich.console import Console

from ftd.ctl.rates import rates
from ftd.drill import demo_kvm
from ftd.drill.demo_client import Witness, last_record
from ftd.drill.demo_figures import (
    TAKEOVER_DEADLINE_S,
    Account,
    Outcome,
    Protection,
    Step,
    Takeover,
    broken_promises,
    steps_of,
)
from ftd.drill.demo_stage import Sample, Stage, console_for_stdout
from ftd.drill.local_pair import Guest, LocalPair, LocalPairError, local_pair
from ftd.errors import ControlError
from ftd.protocol.control import WorkerStatus
from ftd.transport.framing import TransportError

HEARTBEAT_TIMEOUT_MS: Final = 100
AFTERMATH_S: Final = 5.0
SAMPLE_INTERVAL_S: Final = 0.5
# A demonstration that has not ended by then has failed: all of it, set-up and clearing away included.
DEADLINE_S: Final = 55.0
WORKER_LOG_LINES: Final = 5
LOG_LOOKS: Final = 250
LOG_INTERVAL_S: Final = 0.02

EXIT_KEPT: Final = 0
EXIT_BROKEN: Final = 1
EXIT_NO_KVM: Final = 3
EXIT_INTERRUPTED: Final = 130


class ProtectionLostError(Exception):
    """The guest stopped being protected before anybody was killed; the message says why."""


def main(
    *,
    seconds: float,
    rate_hz: int,
    heartbeat_timeout_ms: int = HEARTBEAT_TIMEOUT_MS,
    tracker: str = "auto",
    deadline_s: float = DEADLINE_S,
) -> int:
    """Runs the demonstration: `seconds` of protection before the kill, `rate_hz` checkpoints a second.

    A slow machine needs more `deadline_s` and `heartbeat_timeout_ms` than the defaults.
    Returns the exit code: 0 all promises were kept, 1 one was broken, 3 KVM cannot be used here, 130
    interrupted. Nothing that it started is left behind.
    """
    console = console_for_stdout()
    missing = demo_kvm.check()
    if missing is not None:
        _tell_missing(console, missing)
        return EXIT_NO_KVM
    replication = {"checkpoint_rate_hz": rate_hz, "heartbeat_timeout_ms": heartbeat_timeout_ms}
    guest = Guest(tracker=tracker, replication=replication)
    demonstration = Demonstration(Stage(console), guest, seconds, deadline_s)
    outcome = trio.run(_until_interrupted, demonstration)
    if outcome is None:
        console.print("interrupted; everything that was started has been ended")
        return EXIT_INTERRUPTED
    return EXIT_BROKEN if broken_promises(outcome) else EXIT_KEPT


def _tell_missing(console: Console, missing: demo_kvm.NoKvm) -> None:
    console.print(f"The demonstration needs a KVM that can be used, and there is none: {missing.why}.")
    for number, advice in enumerate(missing.advice, 1):
        console.print(f"  {number}. {advice}.")
    console.print("Nothing was started.")


async def _until_interrupted(demonstration: "Demonstration") -> Outcome | None:
    """None: a signal came. Not KeyboardInterrupt, which could strike amid the clearing away."""
    outcome: Outcome | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            outcome = await demonstration.run()
            nursery.cancel_scope.cancel()
    return outcome


class Demonstration:
    """One run. What it measured so far is kept, so that an early end can still be told."""

    def __init__(self, stage: Stage, guest: Guest, seconds: float, deadline_s: float = DEADLINE_S) -> None:
        self._stage = stage
        self._guest = guest
        self._seconds = seconds
        self._deadline_s = deadline_s
        self._rate_hz = guest.replication["checkpoint_rate_hz"]
        self._protection: Protection | None = None
        self._takeover: Takeover | None = None
        self._account: Account | None = None
        self._answered = 0
        self._sampled_s = 0.0

    async def run(self) -> Outcome:
        """From nothing to nothing, within the deadline."""
        problem: str | None = f"it had not ended after {self._deadline_s:g} s"
        with trio.move_on_after(self._deadline_s):
            try:
                await self._with_pair()
                problem = None
            except* (LocalPairError, ControlError, TransportError, ProtectionLostError) as group:
                problem = str(_first(group))
        outcome = Outcome(self._protection, self._takeover, self._account, problem)
        self._stage.close(outcome)
        return outcome

    async def _with_pair(self) -> None:
        self._stage.say("two ftd daemons start on this machine: alpha and beta, joined over loopback")
        async with local_pair(self._guest) as pair:
            self._stage.say(
                f"alpha boots a KVM guest, the ledger: {self._guest.memory_mib} MiB, {self._guest.vcpus} vCPU"
            )
            await pair.start_guest()
            witness = Witness(pair.consoles)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(witness.run)
                with self._stage.live():
                    await self._story(pair, witness)
                nursery.cancel_scope.cancel()

    async def _story(self, pair: LocalPair, witness: Witness) -> None:
        await witness.answering.wait()
        self._stage.say("a client outside asks it numbered requests, each chained to all before it")
        self._stage.say("`ftctl enter`: beta receives the guest's memory while the guest runs")
        await pair.enter()
        self._stage.say(
            f"protected: beta acknowledged a whole copy; asked for {self._rate_hz:,} checkpoints a second",
            "green",
        )
        await self._protect(pair, witness)
        await self._kill(pair, witness)
        await self._go_on(pair, witness)
        await self._settle(pair, witness)

    async def _protect(self, pair: LocalPair, witness: Witness) -> None:
        first = before = await _protected(pair)
        self._count_from_here(witness)
        until_s = trio.current_time() + self._seconds
        while trio.current_time() < until_s and not witness.book.breaches:
            await trio.sleep_until(min(trio.current_time() + SAMPLE_INTERVAL_S, until_s))
            status = await _protected(pair)
            self._show(f"alpha: {status.state}, generation {status.generation}", status, before, witness)
            before = status
            seconds = (status.stamp_ns - first.stamp_ns) / 1e9
            self._protection = Protection(self._rate_hz, seconds, rates(status, first))

    async def _kill(self, pair: LocalPair, witness: Witness) -> None:
        worker_pid = await pair.alpha.worker_pid(pair.guest.name)
        daemon = pair.alpha.daemon
        assert daemon is not None, "local_pair started it"
        self._stage.say(f"SIGKILL to alpha's worker ({worker_pid}) and daemon ({daemon.pid})", "bold red")
        witness.expect_move_to(pair.beta.console(pair.guest.name))
        killed_at = time.time()
        daemon.send_signal(signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(worker_pid, signal.SIGKILL)
        with trio.move_on_after(TAKEOVER_DEADLINE_S):
            await witness.moved.wait()
        await pair.alpha.kill_daemon()
        for step in await _takeover_steps(pair, killed_at):
            self._stage.detail(f"+ {step.after_kill_ms:3.0f} ms  {step.text}")
        status = await pair.beta.status(pair.guest.name)
        self._takeover = Takeover(witness.blackout_ms, status.generation if status else 0)
        if witness.blackout_ms is not None:
            self._stage.say(
                f"the client has answers again, from beta: {witness.blackout_ms:.0f} ms after the last one",
                "green",
            )

    async def _go_on(self, pair: LocalPair, witness: Witness) -> None:
        until_s = trio.current_time() + min(AFTERMATH_S, self._seconds)
        self._count_from_here(witness)
        while witness.moved.is_set() and trio.current_time() < until_s and not witness.book.breaches:
            await trio.sleep(SAMPLE_INTERVAL_S)
            status = await pair.beta.status(pair.guest.name)
            if status is None:
                raise LocalPairError("beta's worker is gone as well")
            self._show(f"beta: {status.state}, generation {status.generation}", status, None, witness)

    async def _settle(self, pair: LocalPair, witness: Witness) -> None:
        await witness.finish()
        book = witness.book
        self._account = Account(
            asked=book.asked,
            answered=book.answered,
            repeated=book.repeated,
            breaches=tuple(f"{breach.kind.value} (request {breach.number})" for breach in book.breaches),
            ledger=await last_record(pair.beta.console(pair.guest.name)),
            chain=(book.chain.last, book.chain.hash_of(book.chain.last)),
        )
        self._stage.say("the client stops; on a fresh connection the guest names its last record")

    def _count_from_here(self, witness: Witness) -> None:
        self._answered, self._sampled_s = witness.book.answered, trio.current_time()

    def _show(self, title: str, status: WorkerStatus, before: WorkerStatus | None, witness: Witness) -> None:
        now_s, answered = trio.current_time(), witness.book.answered
        requests_per_s = (answered - self._answered) / max(now_s - self._sampled_s, 1e-3)
        self._count_from_here(witness)
        figures = rates(status, before) if before else None
        self._stage.show(Sample(title, figures, status.epoch, requests_per_s, answered))


async def _protected(pair: LocalPair) -> WorkerStatus:
    status = await pair.alpha.status(pair.guest.name)
    if status is None or status.state != "protected":
        raise ProtectionLostError(await _why_unprotected(pair, status))
    return status


async def _takeover_steps(pair: LocalPair, killed_at: float) -> list[Step]:
    """The client may have its answer before the worker's log says why."""
    for _ in range(LOG_LOOKS):
        steps = steps_of(pair.beta.worker_log(pair.guest.name), killed_at)
        if any(step.is_last for step in steps):
            break
        await trio.sleep(LOG_INTERVAL_S)
    return steps


async def _why_unprotected(pair: LocalPair, status: WorkerStatus | None) -> str:
    other = await pair.beta.status(pair.guest.name)
    if other is not None and other.role == "active":
        return (
            f"beta took the guest over before anybody was killed ({other.reason}): was this machine too busy "
            f"to send a heartbeat within {pair.guest.replication['heartbeat_timeout_ms']} ms?"
        )
    why = f"it is {status.state}: {status.reason}" if status else "its worker does not answer"
    said = pair.alpha.worker_log(pair.guest.name).splitlines()[-WORKER_LOG_LINES:]
    return "\n".join((f"the guest was not protected until the kill ({why}); its worker's log ends:", *said))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
