"""Asks several that can answer the same question, one a little after the other, and takes the first answer.

A member that is down refuses at once, one whose host is gone does not answer at all, and one that has no
leader answers later, or says so. Nobody is given up for being slow; the next is asked meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import trio

AGAIN_AFTER_MS: Final = 50

T = TypeVar("T")


class AskError(Exception):
    """One that was asked gave no answer that counts; the text says why. ``passing``: it may soon."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


class NoAnswerError(Exception):
    """Nobody gave an answer. ``reasons``: why, of each that was asked, in the order of asking."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = reasons


async def first_answer(
    questions: Mapping[str, Callable[[], Awaitable[T]]], *, timeout_ms: int, stagger_ms: int
) -> T:
    """The first answer to questions that must be safe to ask twice, also at once.

    Each is asked when the one before has failed, or after ``stagger_ms``; again if that may help. Raises
    NoAnswerError when all have failed or ``timeout_ms`` are over.
    """
    answers: list[T] = []
    reasons = {name: f"no answer within {timeout_ms} ms" for name in questions}

    async def ask(name: str, question: Callable[[], Awaitable[T]], failed: trio.Event) -> None:
        while True:
            try:
                answers.append(await question())
                nursery.cancel_scope.cancel()
                return
            except AskError as error:
                reasons[name] = str(error)
                failed.set()
                if not error.passing:
                    return
            await trio.sleep(AGAIN_AFTER_MS / 1000)

    with trio.move_on_after(timeout_ms / 1000):
        async with trio.open_nursery() as nursery:
            for name, question in questions.items():
                failed = trio.Event()
                nursery.start_soon(ask, name, question, failed)
                with trio.move_on_after(stagger_ms / 1000):
                    await failed.wait()
    if not answers:
        raise NoAnswerError(reasons)
    return answers[0]
