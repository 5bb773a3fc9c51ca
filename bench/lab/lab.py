"""What the rows are measured with: one pair of hosts, one series of kills."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

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
    _kills: list[Kill] = field(default_factory=list)

    async def kills(self) -> list[Kill]:
        """All rows that are about power losses look at the same ones."""
        if not self._kills:
            self._kills = await kill_repeatedly(self.scene, self.kills_wanted)
            self.records += [Record("ftd", {"what": "power loss"}, kill.described()) for kill in self._kills]
        return self._kills

    def record(self, side: str, what: str, **gave: object) -> None:
        """A measurement as it was taken, for the JSON."""
        self.records.append(Record(side, {"what": what}, gave))


Measure = Callable[[Lab], Awaitable[list[Row]]]
