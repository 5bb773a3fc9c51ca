"""Trackers by memory size: what a harvest costs, and which one `auto` should take."""

from collections.abc import Iterator

from bench.model import Row, Target, Workload, row, row_of_pairs, step
from bench.side_by_side import Bench

HARVEST_SIZES_MIB = (64, 1024, 8192)
HARVEST_SIZES_QUICK_MIB = (64, 1024)
AUTO_SIZES_MIB = (64, 256, 1024, 2048, 4096, 8192)
AUTO_SECONDS = 2
FLAT_TIMES = 2.0


def harvest(bench: Bench) -> Iterator[Row]:
    """Mean harvest time against memory size: flat for the ring, the bitmap beside it."""
    sizes = HARVEST_SIZES_QUICK_MIB if bench.quick else HARVEST_SIZES_MIB
    for tracker in ("ring", "bitmap"):
        times: list[float] = []
        for memory_mib in sizes:
            workload = Workload(seconds=bench.seconds, memory_mib=memory_mib, tracker=tracker)
            pairs, note = bench.alternate(workload, turns=1)
            one = row_of_pairs(
                f"mean harvest, {tracker}, {memory_mib:,} MiB", "µs", pairs, step("harvest"), note=note
            )
            times += [one.product] if one.product is not None else []
            yield one
        whole = len(times) == len(sizes)
        yield row(
            f"harvest, {tracker}, slowest over fastest size",
            "times",
            max(times) / min(times) if whole else None,
            target=Target(FLAT_TIMES, at_most=True) if tracker == "ring" else None,
        )


def auto(bench: Bench) -> Iterator[Row]:
    """Guest rounds of the bitmap with hot set (as product) over the ring's (as reference), by memory size."""
    sizes = AUTO_SIZES_MIB[::3] if bench.quick else AUTO_SIZES_MIB
    for memory_mib in sizes:
        for pages in (10, 100):
            for rate in (1000, 2500):
                ring = Workload(rate=rate, seconds=AUTO_SECONDS, memory_mib=memory_mib, pages=pages)
                pairs, note = bench.bitmap_against_ring(ring)
                yield row_of_pairs(
                    f"bitmap with hot set to ring: rounds, {memory_mib:,} MiB, {pages} pages at {rate:,}",
                    "/s",
                    pairs,
                    lambda run: run.rounds_per_second,
                    note=note,
                )
