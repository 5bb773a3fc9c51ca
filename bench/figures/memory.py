"""Memory: how fast it is copied to a new standby, and how much of it the workers take."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from statistics import median

from bench.first_sync import Synchronisation, filled_guest
from bench.floor import tcp_copy_bytes_per_second
from bench.model import NotMeasuredError, Row, Target, median_ratio, row
from bench.product import measure
from bench.resident import workers_resident
from bench.side_by_side import Bench

SYNC_MIB, SYNC_QUICK_MIB = 4096, 512
SYNC_TURNS, SYNC_QUICK_TURNS = 2, 1
RESIDENT_MIB = 60
Turn = tuple[Synchronisation, dict[str, float]]
TOUCHED, FRESH, LEFT = "into touched memory", "into fresh memory", "on the processors that a guest leaves"


def first_sync(bench: Bench) -> Iterator[Row]:
    """Held to a bare copy between memories that are there already: a standby makes its own before it is asked
    to receive. What that takes is in the time from the request on, beside a copy that makes memory meanwhile.

    The guest runs while it is synchronised, and keeps a processor busy. The bare copy has that one, too; so
    it is shown once more with only the others.
    """
    memory_mib = SYNC_QUICK_MIB if bench.quick else SYNC_MIB
    target = Target(0.8, of_reference=True)
    name = f"first sync, {memory_mib:,} MiB"
    try:
        turns = measure(_synchronise, bench, memory_mib)
    except NotMeasuredError as error:
        yield row(name, "MB/s", None, target=target, note=str(error))
        return
    into_touched = [(ours.bytes_per_second, copies[TOUCHED]) for ours, copies in turns]
    on_left = [(ours.bytes_per_second, copies[LEFT]) for ours, copies in turns]
    into_fresh = [(ours.bytes_per_second_from_request, copies[FRESH]) for ours, copies in turns]
    yield _rates(f"{name}, to a TCP copy", into_touched, target)
    yield _rates(f"{name}, to a copy {LEFT}", on_left, None)
    yield _rates(f"{name} from the request on, to a copy {FRESH}", into_fresh, None)


def _rates(name: str, pairs: list[tuple[float, float]], target: Target | None) -> Row:
    return row(
        name,
        "MB/s",
        median(ours for ours, _ in pairs) / 1e6,
        reference=median(copy for _, copy in pairs) / 1e6,
        ratio=median_ratio(pairs),
        target=target,
    )


async def _synchronise(bench: Bench, memory_mib: int) -> list[Turn]:
    turns: list[Turn] = []
    async with filled_guest(memory_mib) as guest:
        for _ in range(SYNC_QUICK_TURNS if bench.quick else SYNC_TURNS):
            ours = await guest.synchronise()
            copy = partial(tcp_copy_bytes_per_second, bench.programs.tcpcopy, memory_mib)
            copies = {FRESH: copy(untouched=True), LEFT: copy(spared=1), TOUCHED: copy()}
            turns.append((ours, copies))
            bench.keep("product", "first synchronisation", **asdict(ours))
            bench.keep("floor", "TCP copy", **copies)
    return turns


def resident(bench: Bench) -> Iterator[Row]:
    """Memory that each worker takes for itself."""
    target = Target(RESIDENT_MIB, at_most=True)
    try:
        workers = measure(workers_resident)
    except NotMeasuredError as error:
        yield row("resident beside guest memory and arenas", "MiB", None, target=target, note=str(error))
        return
    for role, worker in workers.items():
        bench.keep("product", f"resident memory of the {role}", **asdict(worker))
        name = f"resident beside guest memory and arenas, {role}"
        yield row(name, "MiB", worker.own_mib, target=target)
