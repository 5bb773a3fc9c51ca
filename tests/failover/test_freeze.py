"""A host that stops and comes back: its peer may have given up on it, and it must find that out first."""

from typing import Final

import trio

from ftd.drill.demo_client import last_record
from ftd.drill.ledger import Disconnected, Event
from ftd.drill.ledger_book import Book
from ftd.drill.local_pair import Guest
from tests.failover.processes import freeze, frozen, thaw
from tests.failover.scene import Scene, eventually, playing
from tests.failover.stubborn_client import later_answers, stubborn_client

TIMEOUT_MS: Final = 1000
SHORT_FREEZE_S: Final = 1.8
HASTY: Final = Guest(memory_mib=64, replication={"heartbeat_timeout_ms": TIMEOUT_MS})
# Room for a stop of more than half of it, and for a slow machine beyond that.
PATIENT: Final = Guest(memory_mib=64, replication={"heartbeat_timeout_ms": 3000})


async def answered(book: Book, count: int) -> None:
    async def came() -> bool:
        return book.answered >= count

    await eventually(f"{count} answers", came)


async def test_a_primary_that_was_given_up_lets_nothing_out() -> None:
    """Promise 4: after the thaw nothing leaves that the world has gone on without."""
    async with playing(HASTY) as scene, stubborn_client(scene.alpha.console(scene.vm)) as old:
        await answered(old.book, 100)
        pid = await scene.alpha.worker_pid(scene.vm)
        freeze(pid)
        began_s = trio.current_time()
        await scene.pair.wait_for_state(scene.beta, "simplex")
        assert trio.current_time() - began_s < TIMEOUT_MS / 1000 + 5
        at_takeover = await last_record(scene.beta.console(scene.vm))
        assert at_takeover is not None
        assert at_takeover[0] >= old.book.answered, "the standby knows less than the world"

        old.expect_nothing()
        thaw(pid)
        await scene.ended(pid)
        await old.closed.wait()
        assert later_answers(old, at_takeover[0]) == [], "answered by a copy that had lost the guest"
        assert "beta won generation 2" in scene.alpha.worker_log(scene.vm)

        assert not old.book.breaches
        await go_on_with(scene, old.book)
        assert await scene.runners() == ["beta"]


async def go_on_with(scene: Scene, book: Book) -> None:
    """The world asks the new host, which must know all that the old one answered."""
    scene.begin_asking(book=book)
    await scene.more_answers()
    await scene.settle(scene.beta)


async def test_a_standby_that_was_given_up_is_discarded() -> None:
    """Promise 3: the primary goes on alone; the standby, back again, finds the generation taken."""
    async with playing(HASTY) as scene:
        scene.begin_asking()
        await scene.more_answers()
        pid = await scene.beta.worker_pid(scene.vm)
        with frozen(pid):
            await scene.pair.wait_for_state(scene.alpha, "simplex")
            await scene.more_answers()
        await scene.ended(pid)
        assert "alpha won generation 2" in scene.beta.worker_log(scene.vm)
        assert await scene.runners() == ["alpha"]
        await scene.protect(scene.alpha)
        await scene.more_answers()
        await scene.settle(scene.alpha)


async def test_a_short_freeze_of_the_primary_is_no_death() -> None:
    """Promise 4: after a gap in which the peer may have given up, output waits for a proof, then goes on."""
    async with playing(PATIENT) as scene:
        scene.begin_asking()
        await scene.more_answers()
        before = await scene.status(scene.alpha)
        with frozen(before.pid):
            await trio.sleep(SHORT_FREEZE_S)
        await scene.more_answers()
        await scene.epochs_go_on(scene.alpha)
        after = await scene.status(scene.alpha)
        assert after.counters["doubts"] > before.counters["doubts"]
        assert (after.state, after.generation, after.pid) == ("protected", 1, before.pid)
        assert (await scene.status(scene.beta)).state == "standby"
        await scene.settle(scene.alpha)


async def test_a_short_freeze_of_the_standby_is_no_death() -> None:
    """The guest waits for it (promise 1), and nobody asks the arbiter."""
    events: list[Event] = []
    async with playing(PATIENT) as scene:
        scene.begin_asking(silence_timeout_s=30, observe=events.append)
        await scene.more_answers()
        with frozen(await scene.beta.worker_pid(scene.vm)):
            await trio.sleep(SHORT_FREEZE_S)
        await scene.more_answers()
        await scene.epochs_go_on(scene.alpha)
        assert (await scene.status(scene.alpha)).state == "protected"
        assert (await scene.status(scene.beta)).generation == 1
        assert not [event for event in events if isinstance(event, Disconnected)]
        await scene.settle(scene.alpha)
