"""The watch that a client's answers are timed with."""

import trio
from trio.testing import MockClock

from bench.blackout import Blackout, Watch
from ftd.drill.ledger import Answer, Disconnected


async def answer(watch: Watch, after_s: float) -> None:
    await trio.sleep(after_s)
    watch(Answer(number=watch.answers + 1, latency_s=0.0, repeated=False))


async def test_the_gap_that_is_open_at_the_kill_counts(autojump_clock: MockClock) -> None:
    watch = Watch()
    for after_s in (1.0, 9.0, 0.5):
        await answer(watch, after_s)
    await trio.sleep(0.25)
    watch.begin()  # the kill
    for after_s in (0.25, 0.125):
        await answer(watch, after_s)
    assert watch.blackout == Blackout(seen_s=0.5, before_kill_s=0.25)
    assert watch.answers == 5


async def test_only_answers_end_a_gap(autojump_clock: MockClock) -> None:
    watch = Watch()
    await answer(watch, 1.0)
    watch.begin()
    await trio.sleep(1.0)
    watch(Disconnected("unix:/x", "silent"))
    await answer(watch, 1.0)
    assert watch.blackout.seen_s == 2.0
