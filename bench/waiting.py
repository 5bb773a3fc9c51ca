"""Waits for what other processes do."""

from collections.abc import Callable

import trio

from bench.model import NotMeasuredError

POLL_S = 0.01


async def wait_until(condition: Callable[[], bool], deadline_s: float, otherwise: str) -> None:
    """Looks until `condition` holds. Raises NotMeasuredError(otherwise) after `deadline_s`."""
    with trio.move_on_after(deadline_s):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await trio.sleep(POLL_S)
        return
    raise NotMeasuredError(otherwise)
