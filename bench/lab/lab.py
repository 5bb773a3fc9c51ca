"""What the rows are measured with: one pair of hosts, one series of kills."""

import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import trio

from bench.lab.kills import Kill, kill_repeatedly
from bench.lab.scene import Scene
from bench.model import Record, Row


@dataclass
class Lab:
    """Handed to each row."""

    scene: Scene
    kills_wanted: int
    quick: bool
    records: list[Record] = field(default_factory=list)
    minutes: float = math.inf
    """No power loss is begun later than this after the first one."""
    tell: Callable[[str], None] = lambda _text: None
    """Of each power loss: the series takes more than an hour, and what it found must not get lost with it."""
    _kills: list[Kill] = field(default_factory=list)

    async def kills(self) -> list[Kill]:
        """All rows that are about power losses look at the same ones."""
        if self._kills:
            return self._kills
        until_s = trio.current_time() + 60 * self.minutes
        async with aclosing(kill_repeatedly(self.scene, self.kills_wanted)) as series:
            async for kill in series:
                self._kills.append(kill)
                self.records.append(Record("ftd", {"what": "power loss"}, kill.described()))
                self.tell(f"power loss {len(self._kills)} of {kill.host}: {kill.blackout_ms:.0f} ms")
                if trio.current_time() > until_s:
                    break
        return self._kills

    def record(self, side: str, what: str, **gave: object) -> None:
        """A measurement as it was taken, for the JSON."""
        self.records.append(Record(side, {"what": what}, gave))


Measure = Callable[[Lab], Awaitable[list[Row]]]
