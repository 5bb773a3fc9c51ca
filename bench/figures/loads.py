"""More pages, two vCPUs, interrupt controllers, the other tracker: shown beside the floor, not judged."""

from collections.abc import Iterator

from bench.model import Figure, Row, Workload, row_of_pairs
from bench.side_by_side import Bench

LOADS = {
    "100 pages at 1,000": Workload(rate=1000, pages=100),
    "1,000 pages at 100": Workload(rate=100, pages=1000),
    "2 vCPUs at 2,500": Workload(vcpus=2),
    "bitmap at 2,500": Workload(tracker="bitmap"),
    "irqchip at 2,500": Workload(irqchip=True),
}
SHOWN: dict[str, tuple[Figure, str]] = {
    "acknowledged": (lambda run: run.acked_per_second, "/s"),
    "pages an epoch": (lambda run: run.pages_per_epoch, ""),
    "pause p50": (lambda run: run.pause_p50_us, "µs"),
    "pause p99": (lambda run: run.pause_p99_us, "µs"),
    "guest rounds": (lambda run: run.rounds_per_second, "/s"),
}
TURNS = 2


def other_loads(bench: Bench) -> Iterator[Row]:
    """Five figures of each load."""
    for name, load in LOADS.items():
        workload = Workload(**{**vars(load), "seconds": bench.seconds})
        pairs, note = bench.alternate(workload, turns=1 if bench.quick else TURNS)
        for figure, (read, unit) in SHOWN.items():
            yield row_of_pairs(f"{name}: {figure}", unit, pairs, read, note=note)
