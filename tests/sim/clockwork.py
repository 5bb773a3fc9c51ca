"""Simulated time, and the only source of chance: one seed is one run."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

MS = 1_000
"""Microseconds in a millisecond: all times of the simulator are whole microseconds."""
SECOND = 1_000 * MS


class Clockwork:
    """What is to happen when. Things due at one moment happen in the order in which they were asked for."""

    def __init__(self, seed: int) -> None:
        self.now_us = 0
        self.random = random.Random(seed)
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._asked = 0

    def after(self, delay_us: int, do: Callable[[], object]) -> None:
        """``do`` happens in ``delay_us``, whatever becomes of hosts and processes meanwhile."""
        self._asked += 1
        heapq.heappush(self._due, (self.now_us + delay_us, self._asked, do))

    def run(self, until_us: int) -> None:
        """Let everything happen that is due up to ``until_us``."""
        due = self._due
        while due and due[0][0] <= until_us:
            self.now_us, _, do = heapq.heappop(due)
            do()
        self.now_us = until_us
