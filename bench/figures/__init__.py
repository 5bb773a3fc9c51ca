"""The figures of the table: how each is measured and what it is held to."""

from collections.abc import Callable, Iterator
from typing import Final

from bench.figures.failover import blackout, takeover
from bench.figures.latency import latency
from bench.figures.loads import other_loads
from bench.figures.memory import first_sync, resident
from bench.figures.rates import steady_rate, top_rate
from bench.figures.trackers import auto, harvest
from bench.figures.work import guest_work, guest_work_hot
from bench.model import Row
from bench.side_by_side import Bench

FIGURES: Final[dict[str, Callable[[Bench], Iterator[Row]]]] = {
    "rate": steady_rate,
    "top": top_rate,
    "work": guest_work,
    "hot": guest_work_hot,
    "latency": latency,
    "harvest": harvest,
    "sync": first_sync,
    "blackout": blackout,
    "takeover": takeover,
    "memory": resident,
    "loads": other_loads,
    "auto": auto,
}
ON_REQUEST: Final = frozenset({"auto"})
"""Measured only when named: it judges nothing, and takes about as long as all others together."""
DEFAULT: Final = tuple(name for name in FIGURES if name not in ON_REQUEST)
