"""The figures of the table: how each is measured and what it is held to."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from bench import product as product_runs
from bench.build import Programs
from bench.floor import Floor, tcp_copy_bytes_per_second
from bench.model import NotMeasuredError, Row, Run, Side, Workload, typical
from bench.product import Product

TIMEOUT_MS = 100
SUSTAINED_SHARE = 0.99
RATE_STEP = 250


@dataclass(frozen=True)
class Bench:
    """Both sides and how long to measure."""

    product: Side
    floor: Side
    programs: Programs
    quick: bool

    @property
    def seconds(self) -> int:
        return 2 if self.quick else 10

    @property
    def turns(self) -> int:
        return 1 if self.quick else 3

    def alternate(self, workload: Workload) -> tuple[Run | None, Run, str]:
        """Product and floor in turns, so that both see the same machine; and why there is no product."""
        products: list[Run] = []
        floors: list[Run] = []
        missing = ""
        for _ in range(self.turns):
            try:
                products.append(self.product.run(workload))
            except NotMeasuredError as error:
                missing = str(error)
            floors.append(self.floor.run(replace(workload, hot_set=False)))
        return (typical(products) if products else None), typical(floors), missing


def bench_of(programs: Programs, quick: bool) -> Bench:
    """The bench with the real sides."""
    return Bench(Product(programs.toucher), Floor(programs.floor, programs.toucher), programs, quick)


def _of(run: Run | None, name: str) -> float | None:
    return None if run is None else float(getattr(run, name))


def _held_to(
    figure: str,
    unit: str,
    pair: tuple[float | None, float | None],
    share: float,
    *,
    lower_is_better: bool = False,
    note: str = "",
) -> Row:
    """A row whose target is a share of its reference."""
    product, reference = pair
    passed: bool | None = False
    if product is not None and reference is not None:
        passed = product <= share * reference if lower_is_better else product >= share * reference
    target = f"{'at most' if lower_is_better else 'at least'} {share:g} of the reference"
    return Row(figure, product, reference, unit, target, passed, note)


def steady_rate(bench: Bench) -> Iterator[Row]:
    """2,500 checkpoints a second, and the pause they cost."""
    workload = Workload(seconds=5 if bench.quick else 60)
    ours, floor, note = bench.alternate(workload)
    acked = _of(ours, "acked_per_second")
    yield Row(
        "acknowledged a second, asked 2,500", acked, floor.acked_per_second, "/s", "at least 2490",
        acked is not None and acked >= 2490, note,
    )  # fmt: skip
    pause = (_of(ours, "pause_p50_us"), floor.pause_p50_us)
    yield _held_to("pause p50 at 2,500", "µs", pause, 1.2, lower_is_better=True, note=note)
    pause = (_of(ours, "pause_p99_us"), floor.pause_p99_us)
    yield _held_to("pause p99 at 2,500", "µs", pause, 2.0, lower_is_better=True, note=note)


def top_rate(bench: Bench) -> Iterator[Row]:
    """The highest rate that is acknowledged in full while the guest still gets to write."""
    try:
        ours, note = _highest_sustained(bench.product, bench.seconds), ""
    except NotMeasuredError as error:
        ours, note = None, str(error)
    floor = _highest_sustained(bench.floor, bench.seconds)
    yield _held_to("highest sustained rate", "/s", (ours, floor), 0.9, note=note)


def _highest_sustained(side: Side, seconds: int) -> float:
    """By bisection in steps of RATE_STEP. A rate at which the guest writes nothing does not count."""
    low, high = 4, 48  # in steps: 1,000 to 12,000 a second
    while high - low > 1:
        middle = (low + high) // 2
        run = side.run(Workload(rate=middle * RATE_STEP, seconds=seconds))
        if run.acked_per_second >= SUSTAINED_SHARE * middle * RATE_STEP and run.pages_per_epoch >= 1:
            low = middle
        else:
            high = middle
    return float(low * RATE_STEP)


def guest_work(bench: Bench) -> Iterator[Row]:
    """What protection leaves of the guest's work: without hot set, held to the floor."""
    for rate in (1000, 2500):
        ours, floor, note = bench.alternate(Workload(rate=rate, seconds=bench.seconds))
        pair = (_of(ours, "rounds_per_second"), floor.rounds_per_second)
        yield _held_to(f"guest rounds a second at {rate:,}", "/s", pair, 0.9, note=note)


def guest_work_hot(bench: Bench) -> Iterator[Row]:
    """With hot set, held to the unprotected guest."""
    for pages in (10, 100):
        for rate, share in ((1000, 0.75), (2500, 0.5)):
            workload = Workload(rate=rate, seconds=bench.seconds, pages=pages, tracker="bitmap", hot_set=True)
            ours, _, note = bench.alternate(workload)
            free = bench.floor.run(replace(workload, rate=None, hot_set=False))
            pair = (_of(ours, "rounds_per_second"), free.rounds_per_second)
            name = f"guest rounds with hot set, {pages} pages at {rate:,}"
            yield _held_to(name, "/s", pair, share, note=note)


def harvest(bench: Bench) -> Iterator[Row]:
    """Harvest time against memory size: flat for the ring, the bitmap beside it."""
    for tracker in ("ring", "bitmap"):
        times: list[float | None] = []
        for memory_mib in (64, 1024, 8192):
            workload = Workload(seconds=bench.seconds, memory_mib=memory_mib, tracker=tracker)
            ours, floor, note = bench.alternate(workload)
            times.append(_of(ours, "harvest_p50_us"))
            name = f"harvest p50, {tracker}, {memory_mib} MiB"
            yield Row(name, times[-1], floor.harvest_p50_us, "µs", "", None, note)
        known = [time for time in times if time is not None]
        spread = max(known) / min(known) if len(known) == len(times) and min(known) > 0 else None
        flat = spread is not None and spread <= 2 if tracker == "ring" else None
        target = "at most 2" if tracker == "ring" else ""
        yield Row(f"harvest, {tracker}, slowest over fastest", spread, None, "times", target, flat)


def other_loads(bench: Bench) -> Iterator[Row]:
    """More pages, two vCPUs, the other tracker: shown beside the floor."""
    loads = {
        "100 pages at 1,000": Workload(rate=1000, pages=100),
        "1,000 pages at 100": Workload(rate=100, pages=1000),
        "2 vCPUs at 2,500": Workload(vcpus=2),
        "bitmap at 2,500": Workload(tracker="bitmap"),
    }
    for name, workload in loads.items():
        ours, floor, note = bench.alternate(replace(workload, seconds=bench.seconds))
        for figure, unit in (("acked_per_second", "/s"), ("pause_p50_us", "µs"), ("rounds_per_second", "/s")):
            title = f"{name}: {figure.rsplit('_', 1)[0].replace('_', ' ').removesuffix(' per')}"
            yield Row(title, _of(ours, figure), _of(floor, figure), unit, "", None, note)


def first_sync(bench: Bench) -> Iterator[Row]:
    """First synchronisation against a bare copy of as many bytes."""
    memory_mib = 512 if bench.quick else 4096
    ours, note = _measured(lambda: product_runs.first_sync_bytes_per_second(memory_mib) / 1e6)
    copy = tcp_copy_bytes_per_second(bench.programs.tcpcopy, memory_mib) / 1e6
    yield _held_to(f"first synchronisation of {memory_mib} MiB", "MB/s", (ours, copy), 0.8, note=note)


def blackout(bench: Bench) -> Iterator[Row]:
    """What a client sees when the primary's worker dies or falls silent."""
    kills = 5 if bench.quick else 50
    for kill_signal, allowed_ms in ((signal.SIGKILL, 150), (signal.SIGSTOP, TIMEOUT_MS + 50)):
        ours, note = _measured(partial(_blackout_p99_ms, kill_signal, kills))
        passed = ours is not None and ours <= allowed_ms
        name = f"blackout p99 of {kills} {kill_signal.name}"
        yield Row(name, ours, None, "ms", f"at most {allowed_ms}", passed, note)


def resident(bench: Bench) -> Iterator[Row]:
    """Memory that a worker takes for itself."""
    ours, note = _measured(product_runs.resident_beside_guest_mib)
    passed = ours is not None and ours <= 60
    yield Row("resident beside guest and arenas", ours, None, "MiB", "at most 60", passed, note)


def _measured(measure: Callable[[], float]) -> tuple[float | None, str]:
    try:
        return measure(), ""
    except NotMeasuredError as error:
        return None, str(error)


def _blackout_p99_ms(kill_signal: signal.Signals, kills: int) -> float:
    return 1e3 * _p99(product_runs.blackouts_s(kill_signal, kills, TIMEOUT_MS))


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


FIGURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "rate": steady_rate,
    "top": top_rate,
    "work": guest_work,
    "hot": guest_work_hot,
    "harvest": harvest,
    "loads": other_loads,
    "sync": first_sync,
    "blackout": blackout,
    "memory": resident,
}
