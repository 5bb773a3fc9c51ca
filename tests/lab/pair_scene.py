"""A guest on a pair of hosts of the lab, a client outside, and an observer of both hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import pytest
import trio

from ftd.drill.demo_client import last_record
from ftd.drill.ledger import Connector, LedgerClient
from ftd.errors import ControlError
from ftd.protocol.control import VmParams, WorkerStatus
from ftd.protocol.control_operator import ENTER, VM_START, ForceParams
from ftd.transport.framing import TransportError
from lab.errors import MissingError
from lab.kernel.modules import Modules
from lab.pair.configuration import LEDGER_PORT, Configuration
from lab.pair.member import Member
from lab.pair.network import CLIENT
from lab.pair.pair import Pair, PairSpec, prepared

VM: Final = "ledger"
# Generous: it only bounds how long a failure takes. Hosts are emulated, and the machine may be busy.
DEADLINE_S: Final = 120.0
# Each look costs an emulated processor some ten milliseconds.
POLL_S: Final = 0.25
OBSERVE_INTERVAL_S: Final = 0.5
REQUESTS_PER_SECOND: Final = 20.0
SILENCE_TIMEOUT_S: Final = 3.0
INTRODUCTION_TIMEOUT_S: Final = 10.0
# States in which a copy lets its guest be seen without asking anybody: `protected` needs acknowledgements.
FREE: Final = frozenset({"idle", "syncing", "simplex"})
START_TRIES: Final = 5
END_WORKERS: Final = "pkill -9 -f ftd.worker; while pgrep -f ftd.worker >/dev/null; do sleep 0.05; done"


@dataclass(frozen=True)
class Sight:
    """What a host said of its copy."""

    host: str
    state: str
    generation: int


def console(member: Member) -> str:
    """The guest's console on this host, as a client outside knows it."""
    return f"tcp:{CLIENT.address(member.name)}:{LEDGER_PORT}"


async def eventually(
    what: str, condition: Callable[[], Awaitable[bool]], *, deadline_s: float = DEADLINE_S
) -> None:
    """Waits until the condition holds. Raises AssertionError, with `what`, when it does not come to that."""
    with trio.move_on_after(deadline_s):
        while not await condition():
            await trio.sleep(POLL_S)
        return
    raise AssertionError(f"within {deadline_s:g} s it did not come to this: {what}")


@contextmanager
def booted(modules: Modules, guest: str) -> Iterator[Pair]:
    """Both hosts with this VM file, booted once for a module's tests. What the machine lacks skips them.

    A test boots again what another one killed.
    """
    try:
        with prepared(PairSpec(modules, Configuration({VM: guest}))) as made:
            trio.run(made.boot)
            yield made
    except MissingError as error:
        pytest.skip(str(error))


class Scene:
    """The client judges every answer; the observer notes who is active."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.sights: list[Sight] = []
        self.client = LedgerClient(
            [console(member) for member in pair.members],
            requests_per_second=REQUESTS_PER_SECOND,
            silence_timeout_s=SILENCE_TIMEOUT_S,
            introduction_timeout_s=INTRODUCTION_TIMEOUT_S,
            connector_for=self.connector_for,
        )

    def connector_for(self, address: str) -> Connector:
        """Opens a connection as the party outside."""
        _, host, port = address.split(":")
        return partial(self.pair.networks.connect, host, int(port))

    async def observe(self) -> None:
        """Notes what both hosts say, for ever. Raises AssertionError when both have a free copy."""
        while True:
            found: dict[str, WorkerStatus | None] = {}
            async with trio.open_nursery() as nursery:
                for member in self.pair.members:
                    if member.state == "up":
                        nursery.start_soon(self._look, member, found)
            sights = [
                Sight(host, status.state, status.generation) for host, status in found.items() if status
            ]
            self.sights += sights
            free = [sight for sight in sights if sight.state in FREE]
            assert len(free) <= 1, f"two active copies: {free}"
            await trio.sleep(OBSERVE_INTERVAL_S)

    async def _look(self, member: Member, found: dict[str, WorkerStatus | None]) -> None:
        found[member.name] = await member.status(VM)

    def one_holder_each(self) -> None:
        """Raises AssertionError if two hosts were seen free in one generation."""
        holders: dict[int, set[str]] = {}
        for sight in self.sights:
            if sight.state in FREE | {"protected"}:
                holders.setdefault(sight.generation, set()).add(sight.host)
        assert all(len(hosts) == 1 for hosts in holders.values()), holders

    async def more_answers(self, count: int = 20) -> None:
        """Waits for so many more answers. Raises AssertionError for a breach, or when they do not come."""
        book = self.client.book
        wanted = book.answered + count

        async def came() -> bool:
            assert not book.breaches, book.breaches
            return book.answered >= wanted

        await eventually(f"{count} more answers than {wanted - count}", came)

    async def silence(self, seconds: float) -> None:
        """Raises AssertionError when an answer comes within this time. A request is on its way."""
        before = self.client.book.answered
        await trio.sleep(seconds)
        assert self.client.book.answered == before, f"{self.client.book.answered - before} answers got out"

    async def settle(self, member: Member) -> None:
        """The client stops asking; the ledger on this host must be what was computed apart from it."""
        book = self.client.book
        self.client.finish()

        async def all_is_answered() -> bool:
            assert not book.breaches, book.breaches
            return not book.outstanding

        await eventually("an answer to every request", all_is_answered)
        assert await self.last_record(member) == (book.chain.last, book.chain.hash_of(book.chain.last))
        self.one_holder_each()

    async def last_record(self, member: Member) -> tuple[int, int]:
        """Number and hash of the newest request that the guest on this host knows."""
        with trio.fail_after(DEADLINE_S):
            while (record := await last_record(console(member), connector_for=self.connector_for)) is None:
                pass
        return record

    async def protect(self, member: Member) -> None:
        """`ftctl enter` on the host that runs the guest."""
        await member.call(ENTER, VmParams(vm=VM))
        await self.wait_for(member, "protected")
        await self.wait_for(self.pair.peer_of(member), "standby")

    async def wait_for(self, member: Member, *states: str) -> WorkerStatus:
        """Waits until the guest's copy on this host is in one of these states."""
        status: WorkerStatus | None = None

        async def is_so() -> bool:
            nonlocal status
            status = await member.status(VM)
            return status is not None and status.state in states

        await eventually(f"{member.name} is {' or '.join(states)}", is_so)
        assert status is not None
        return status

    async def protected_by_somebody(self) -> Member:
        """Waits until one host runs the guest and the other protects it, unasked. Returns the one."""
        active = self.pair.alpha

        async def is_so() -> bool:
            nonlocal active
            states = {}
            for member in self.pair.members:
                status = await member.status(VM)
                states[status.state if status else ""] = member
            active = states.get("protected", active)
            return states.keys() == {"protected", "standby"}

        await eventually("the guest is protected again", is_so)
        return active

    async def gone(self, member: Member) -> None:
        """Waits until this host has no copy of the guest any more."""

        async def is_so() -> bool:
            return member.state == "up" and await member.status(VM) is None

        await eventually(f"{member.name} has no copy", is_so)


@asynccontextmanager
async def playing(pair: Pair) -> AsyncIterator[Scene]:
    """The guest runs on alpha, protected by beta, and is asked all the time.

    Before that, all that other tests have done to the pair is undone. A failure has all logs with it.
    """
    scene = Scene(pair)
    try:
        await _start_anew(pair)
        await scene.protect(pair.alpha)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.client.run)
            nursery.start_soon(scene.observe)
            await scene.more_answers()
            yield scene
            nursery.cancel_scope.cancel()
        assert not [line for member in pair.members for line in member.trouble]
    except BaseException as error:
        with trio.move_on_after(DEADLINE_S, shield=True):
            error.add_note(f"{scene.sights[-20:]}\n{await pair.logs()}")
        raise


async def _start_anew(pair: Pair) -> None:
    """A host that protects by itself may ask for a standby while workers are ended one after the other."""
    for left in reversed(range(START_TRIES)):
        await _undo(pair)
        try:
            await pair.alpha.call(VM_START, ForceParams(vm=VM, force=True))
            return
        except ControlError:
            if not left:
                raise


async def _undo(pair: Pair) -> None:
    pair.networks.heal()
    for member in pair.members:
        if member.state == "frozen":
            member.thaw()
    await pair.boot()
    for member in pair.members:
        await member.run(END_WORKERS)

        async def answers(member: Member = member) -> bool:
            try:
                return await member.status(VM) is None
            except (ControlError, TransportError):
                return False

        await eventually(f"{member.name} has nothing left of the guest", answers)
