"""A guest on two real hosts and a client outside: the scene on which the tests of this folder play."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from ftd.drill.demo_client import last_record
from ftd.drill.ledger import Event, LedgerClient
from ftd.drill.ledger_book import Book
from ftd.drill.local_pair import Guest, LocalHost, LocalPair, Place, local_pair
from ftd.protocol.control import WorkerStatus
from tests.failover.processes import has_ended

# Generous: it only bounds how long a failure takes. The machine may be busy with other things.
DEADLINE_S: Final = 30.0
POLL_S: Final = 0.01
REQUESTS_PER_SECOND: Final = 500.0
LOG_CHARACTERS: Final = 3000
# States in which a copy runs the guest, or may do so again without asking anybody.
RUNNING: Final = frozenset({"idle", "syncing", "protected", "simplex", "leaving"})
ALONE: Final = ("idle", "simplex")

# A death closes connections, which is noticed at once: the timeout matters only where something freezes.
GUEST: Final = Guest(memory_mib=64, replication={"checkpoint_rate_hz": 1000, "heartbeat_timeout_ms": 3000})


def _unobserved(_event: Event) -> None:
    """Most tests need no more than the client's book."""


async def eventually(
    what: str, condition: Callable[[], Awaitable[bool]], *, deadline_s: float = DEADLINE_S
) -> None:
    """Waits until the condition holds. Raises AssertionError, with `what`, when it does not come to that."""
    with trio.move_on_after(deadline_s):
        while not await condition():
            await trio.sleep(POLL_S)
        return
    raise AssertionError(f"within {deadline_s:g} s it did not come to this: {what}")


class Scene:
    """Both hosts, and a client that asks the ledger all the time and judges every answer."""

    def __init__(self, pair: LocalPair, nursery: trio.Nursery) -> None:
        self.pair = pair
        self.client = LedgerClient(pair.consoles)
        self._nursery = nursery

    @property
    def vm(self) -> str:
        """Name of the guest."""
        return self.pair.guest.name

    @property
    def alpha(self) -> LocalHost:
        return self.pair.alpha

    @property
    def beta(self) -> LocalHost:
        return self.pair.beta

    # ---- the client outside ----

    def begin_asking(
        self,
        *,
        silence_timeout_s: float = 0.1,
        observe: Callable[[Event], None] = _unobserved,
        book: Book | None = None,
    ) -> LedgerClient:
        """A fresh client, for a ledger that nobody has asked anything yet, or that goes on with a book."""
        self.client = LedgerClient(
            self.pair.consoles,
            requests_per_second=REQUESTS_PER_SECOND,
            silence_timeout_s=silence_timeout_s,
            observe=observe,
        )
        self.client.book = book or self.client.book
        self._nursery.start_soon(self.client.run)
        return self.client

    async def more_answers(self, count: int = 50) -> None:
        """Waits for so many more answers. Raises AssertionError for a breach, or when they do not come."""
        book = self.client.book
        wanted = book.answered + count

        async def came() -> bool:
            assert not book.breaches, book.breaches
            return book.answered >= wanted

        await eventually(f"{count} more answers than {wanted - count}", came)

    async def settle(self, host: LocalHost) -> None:
        """The client stops asking; the ledger on `host` must be what was computed apart from it."""
        book = self.client.book
        self.client.finish()

        async def all_is_answered() -> bool:
            assert not book.breaches, book.breaches
            return not book.outstanding

        await eventually("an answer to every request", all_is_answered)
        expected = book.chain.last, book.chain.hash_of(book.chain.last)
        found = await last_record(host.console(self.vm))
        assert found == expected, f"the ledger's last record is {found}, not {expected}"

    async def silence(self, seconds: float) -> None:
        """Raises AssertionError when an answer comes within this time. A request must be on its way."""
        book = self.client.book
        before = book.answered
        await trio.sleep(seconds)
        assert book.answered == before, f"{book.answered - before} answers got out"

    # ---- hosts ----

    async def status(self, host: LocalHost) -> WorkerStatus:
        """Of a worker that is known to be there."""
        status = await host.status(self.vm)
        assert status is not None, f"{host.name} has no worker that answers"
        return status

    async def runners(self) -> list[str]:
        """Names of the hosts that run the guest."""
        found = [(host, await host.status(self.vm)) for host in self.pair.hosts]
        return [host.name for host, status in found if status is not None and status.state in RUNNING]

    async def signal_worker(self, host: LocalHost, number: signal.Signals) -> int:
        """Sends a signal to the host's worker; returns its process id."""
        pid = await host.worker_pid(self.vm)
        os.kill(pid, number)
        return pid

    async def kill_worker(self, host: LocalHost) -> None:
        """SIGKILL, and waits for the end."""
        await self.ended(await self.signal_worker(host, signal.SIGKILL))

    async def ended(self, pid: int) -> None:
        """Waits until a process has ended."""

        async def gone() -> bool:
            return has_ended(pid)

        await eventually(f"the end of process {pid}", gone)

    async def alone(self, host: LocalHost, generation: int) -> None:
        """Waits until the guest runs alone on `host`, as the one active copy, in this generation."""
        status = await self.pair.wait_for_state(host, *ALONE, deadline_s=DEADLINE_S)
        assert status.generation == generation
        other = await self.pair.peer_of(host).status(self.vm)
        assert other is None or other.state not in RUNNING, other

    async def protect(self, host: LocalHost) -> None:
        """`ftctl enter` on the host that runs the guest."""
        await self.pair.enter(host)
        assert (await self.status(host)).state == "protected"
        await self.pair.wait_for_state(self.pair.peer_of(host), "standby", deadline_s=DEADLINE_S)

    async def epochs_go_on(self, host: LocalHost, count: int = 20) -> None:
        """Waits for so many more acknowledged epochs."""
        wanted = (await self.status(host)).counters["epochs_acked"] + count

        async def came() -> bool:
            return (await self.status(host)).counters["epochs_acked"] >= wanted

        await eventually(f"{count} more epochs of {host.name}", came)

    def logs(self) -> str:
        """The end of what workers and daemons said."""
        texts = []
        for host in self.pair.hosts:
            texts += [f"---- worker on {host.name}", host.worker_log(self.vm)[-LOG_CHARACTERS:]]
            texts += [f"---- ftd on {host.name}", host.log.read_text()[-LOG_CHARACTERS:]]
        return "\n".join(texts)


@asynccontextmanager
async def playing(
    guest: Guest = GUEST,
    *,
    protected: bool = True,
    arbiter_table: str = "",
    places: tuple[Place, Place] = (Place(), Place()),
    peer_table: str = "",
) -> AsyncIterator[Scene]:
    """The guest runs on alpha, protected by beta. Everything is ended and removed at the end."""
    tables = {"arbiter_table": arbiter_table, "peer_table": peer_table}
    async with local_pair(guest, faults=True, places=places, **tables) as pair:
        scene: Scene | None = None
        try:
            async with trio.open_nursery() as nursery:
                scene = Scene(pair, nursery)
                await pair.start_guest()
                if protected:
                    await scene.protect(pair.alpha)
                yield scene
                nursery.cancel_scope.cancel()
        except Exception as error:
            error.add_note(scene.logs() if scene else "")
            raise
