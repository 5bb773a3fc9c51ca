"""Host power losses at random moments, with clients at work; after each, all that can be looked at is."""

import random
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

import trio

from bench.lab import vm
from bench.lab.scene import Scene
from bench.model import NotMeasuredError
from ftd.protocol.control import LOSS_SEEN, WorkerStatus
from lab.host.kernel_log import trouble_in
from lab.outside import file_system
from lab.outside.chain_client import ChainClient
from lab.outside.ping_client import PingClient
from lab.outside.redis_client import RedisWriter, verify
from lab.outside.resp import ProtocolError
from lab.outside.write_book import WriteBook
from lab.pair.member import Member

SEED: Final = 200
RUN_S: Final = (1.0, 4.0)
"""From the clients' first answers to the kill: a random moment in between."""
SETTLED_ANSWERS: Final = 25
RATE_HZ: Final = 100.0
"""Requests a second. A blackout is seen to begin up to one interval early: 10 ms."""
ANSWERS_DEADLINE_S: Final = 60.0
TRIES: Final = 5
STEPPED: Final = "stepped back"


@dataclass(frozen=True)
class Kill:
    """What one power loss did to what was seen from outside, and to the guest's disk."""

    host: str
    chain: dict[str, Any]
    """`ChainAccount.report()` of one connection through the kill."""
    blackout_ms: float
    """Without an answer on the chain connection: TCP's retransmissions are in it."""
    ping_blackout_ms: float
    """Without an echo of the guest's kernel."""
    database: dict[str, Any]
    """`WriteBook.report()` by the guest that went on."""
    database_from_disk: dict[str, Any]
    """The same after the guest was ended and booted again from the disk that it had then."""
    reconnections: int
    """Of the database's client."""
    file_system_clean: bool
    complaints: list[str]
    """Lines of the guest's kernel log: trouble, and clocks that stepped back."""
    takeover_ms: dict[str, float] = field(default_factory=dict)
    """What the survivor did, and how long after it had noticed the loss."""

    def described(self) -> dict[str, Any]:
        """For the JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Clients:
    chain: ChainClient
    writer: RedisWriter
    ping: PingClient


async def kill_repeatedly(scene: Scene, count: int) -> AsyncGenerator[Kill, None]:
    """To and fro between the hosts. Raises NotMeasuredError, LabError where it cannot go on."""
    moments = random.Random(SEED)
    book = WriteBook()
    for _ in range(count):
        yield await _kill(scene, book, moments.uniform(*RUN_S))


async def _kill(scene: Scene, book: WriteBook, after_s: float) -> Kill:
    for _ in range(TRIES):
        active = await scene.protected()
        standby = scene.pair.peer_of(active)
        clients = await _work_through_a_kill(scene, active, book, after_s)
        if clients is not None:
            async with trio.open_nursery() as nursery:
                # Its emulator has a processor of its own, and nobody else needs that now.
                nursery.start_soon(scene.pair.boot)
                kill = await _look(scene, standby, book, clients)
            return kill
    raise NotMeasuredError(f"{TRIES} times the guest had lost its protection before its host could be killed")


async def _look(scene: Scene, standby: Member, book: WriteBook, clients: _Clients) -> Kill:
    await scene.taken_over(standby)
    takeover_ms = _takeover_ms(await standby.status(vm.NAME))
    await _verify(scene, book)
    seen = book.report()
    complaints = _complaints(await scene.in_guest("dmesg"))

    await scene.stop(standby)
    checked = await standby.run(file_system.words(vm.DISK), timeout_s=120)
    verdict = file_system.verdict(checked.output.decode(errors="replace"))
    await scene.start(standby)
    await _verify(scene, book)
    return Kill(
        host=scene.pair.peer_of(standby).name,
        chain=clients.chain.account.report(),
        blackout_ms=clients.chain.account.blackout_s * 1000,
        ping_blackout_ms=clients.ping.gaps.longest_s * 1000,
        database=seen,
        database_from_disk=book.report(),
        reconnections=clients.writer.reconnections,
        file_system_clean=verdict.clean,
        complaints=complaints,
        takeover_ms=takeover_ms,
    )


async def _work_through_a_kill(
    scene: Scene, active: Member, book: WriteBook, after_s: float
) -> _Clients | None:
    """None: the guest was not protected when its host was to be killed; a false alarm is no finding here."""
    clients = _Clients(
        ChainClient(scene.chain, rate_hz=RATE_HZ),
        RedisWriter(scene.database, book),
        PingClient(partial(scene.pair.networks.icmp_socket, vm.ADDRESS)),
    )
    async with trio.open_nursery() as background:
        await background.start(clients.ping.run)
        was_killed = await _kill_under_load(scene, active, clients, after_s)
        background.cancel_scope.cancel()
    return clients if was_killed else None


async def _kill_under_load(scene: Scene, active: Member, clients: _Clients, after_s: float) -> bool:
    chain, writer = clients.chain, clients.writer
    async with trio.open_nursery() as nursery:
        await nursery.start(chain.run)
        await nursery.start(writer.run)
        await chain.more_answers(SETTLED_ANSWERS, ANSWERS_DEADLINE_S)
        await trio.sleep(after_s)
        if not await scene.is_protected(active):
            nursery.cancel_scope.cancel()
            return False
        chain.account.forget_blackouts()
        clients.ping.gaps.forget()
        active.kill()
        # A connection that is broken or stays silent is a finding, not a failure.
        await chain.more_answers(SETTLED_ANSWERS, ANSWERS_DEADLINE_S)
        chain.stop()
        writer.stop()
        nursery.cancel_scope.deadline = trio.current_time() + ANSWERS_DEADLINE_S
    return True


async def _verify(scene: Scene, book: WriteBook) -> None:
    """A database that does not answer is a finding: the writes that were not looked for count as missing."""
    book.begin_verification()
    with suppress(OSError, trio.BrokenResourceError, ProtocolError), trio.move_on_after(ANSWERS_DEADLINE_S):
        await verify(scene.database, book)


def _takeover_ms(status: WorkerStatus | None) -> dict[str, float]:
    history = status.history if status is not None else ()
    seen_ns = next((change.boottime_ns for change in history if change.on == LOSS_SEEN), None)
    if seen_ns is None:
        return {}
    return {
        change.on: round((change.boottime_ns - seen_ns) / 1e6, 1)
        for change in history
        if change.boottime_ns >= seen_ns
    }


def _complaints(log: str) -> list[str]:
    return [*trouble_in(log), *(line for line in log.splitlines() if STEPPED in line)]
