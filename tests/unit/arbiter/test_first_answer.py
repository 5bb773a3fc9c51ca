"""Who is asked when, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from ftd.arbiter.etcd.first_answer import AskError, NoAnswerError, first_answer

Question = Callable[[], Awaitable[str]]


class Asked:
    """Questions that note when they were asked, in ms."""

    def __init__(self, clock: MockClock) -> None:
        self.at_ms: dict[str, int] = {}
        self._clock = clock

    def question(self, name: str, after_ms: int, answer: str | None) -> Question:
        """Answers after a time, or fails."""

        async def ask() -> str:
            self.at_ms[name] = round(self._clock.current_time() * 1000)
            await trio.sleep(after_ms / 1000)
            if answer is None:
                raise AskError(f"{name} failed")
            return answer

        return ask

    async def first(self, **questions: tuple[int, str | None]) -> str:
        """Of these, with 1,000 ms for all and 100 ms until the next is asked."""
        asked = {name: self.question(name, *what) for name, what in questions.items()}
        return await first_answer(asked, timeout_ms=1000, stagger_ms=100)


async def test_one_that_answers_is_the_only_one_asked(autojump_clock: MockClock) -> None:
    asked = Asked(autojump_clock)
    assert await asked.first(a=(50, "a"), b=(0, "b")) == "a"
    assert asked.at_ms == {"a": 0}


async def test_after_a_failure_the_next_is_asked_at_once(
    autojump_clock: MockClock,
) -> None:
    asked = Asked(autojump_clock)
    assert await asked.first(a=(10, None), b=(900, "b"), c=(5000, "c")) == "b"
    assert asked.at_ms == {"a": 0, "b": 10, "c": 110}


async def test_slow_one_is_not_given_up_for_the_next_one(autojump_clock: MockClock) -> None:
    """No leader yet: the first that answers counts, whoever that is."""
    assert await Asked(autojump_clock).first(a=(700, "a"), b=(5000, "b"), c=(20, None)) == "a"


async def test_nobody(autojump_clock: MockClock) -> None:
    with pytest.raises(NoAnswerError) as caught:
        await Asked(autojump_clock).first(a=(10, None), b=(20, None))
    assert caught.value.reasons == {"a": "a failed", "b": "b failed"}
    assert autojump_clock.current_time() == pytest.approx(0.03), (
        "all have failed: there is nothing to wait for"
    )
    with pytest.raises(NoAnswerError) as caught:
        await Asked(autojump_clock).first(a=(5000, "late"), b=(20, None))
    assert str(caught.value) == "a: no answer within 1000 ms; b: b failed"
    assert autojump_clock.current_time() == pytest.approx(1.03)


async def test_one_that_may_answer_soon_is_asked_again(autojump_clock: MockClock) -> None:
    """As when a new leader is chosen: all say so at once, then the first that can answers."""
    tries = iter([AskError("no leader", passing=True), AskError("leader changed", passing=True)])

    async def ask() -> str:
        for error in tries:
            raise error
        return "a"

    async def never() -> str:
        raise AskError("gone")

    assert await first_answer({"a": ask, "b": never}, timeout_ms=1000, stagger_ms=100) == "a"
    assert autojump_clock.current_time() == pytest.approx(0.1)


async def test_one_that_goes_on_refusing_is_quoted(autojump_clock: MockClock) -> None:
    async def refuse() -> str:
        raise AskError("no leader", passing=True)

    with pytest.raises(NoAnswerError, match="a: no leader"):
        await first_answer({"a": refuse}, timeout_ms=1000, stagger_ms=100)
    assert autojump_clock.current_time() == pytest.approx(1)
