"""The table's rows, from the samples of one boot. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from bench.kernel.samples import Cycle, HotSet, Overshoot
from bench.model import Row, Target, median_ratio, row

FEW_PAGES_MAX = 1_000
MANY_PAGES_MIN = 10_000
BITMAP_MEMORY_MIN_MIB = 1_024
THREADS_PAGES = 30_000
"""Measured for the second thread alone, and left out of all other rows."""
OTHERS = ("ring", "bitmap", "bitmap-manual")

FLAT = Target(1.3, at_most=True)
AGAINST_RING = Target(0.8, of_reference=True, at_most=True)
AGAINST_BITMAP = Target(0.6, of_reference=True, at_most=True)
NOT_SLOWER = Target(1.0, of_reference=True, at_most=True)
TWO_THREADS = Target(1.6, at_most=False)
HOT_SET = Target(1.0, of_reference=True)


class Case(NamedTuple):
    """What one round of all methods was about."""

    memory_mib: int
    pages: int
    vcpus: int
    pattern: str

    def __str__(self) -> str:
        return f"{self.vcpus} vCPU{'s' if self.vcpus > 1 else ''} {self.pattern}"


Round = dict[str, Cycle]
"""By method."""
Rounds = dict[Case, list[Round]]


@dataclass(frozen=True)
class Versus:
    """One case's medians in microseconds, and the median of its rounds' ratios."""

    case: Case
    mt_us: float
    other_us: float
    ratio: float


def rounds_of(cycles: Iterable[Cycle], *, cold: bool = False) -> Rounds:
    """The warm cycles, or the cold ones, by case and round."""
    found: dict[Case, dict[int, Round]] = defaultdict(lambda: defaultdict(dict))
    for cycle in cycles:
        if cycle.cold != cold:
            continue
        case = Case(cycle.memory_mib, cycle.pages, cycle.vcpus, cycle.pattern)
        found[case][cycle.round][cycle.method] = cycle
    return {case: [by_round[key] for key in sorted(by_round)] for case, by_round in sorted(found.items())}


def total_us(cycle: Cycle) -> float:
    return cycle.total_ns / 1e3


def guest_us(cycle: Cycle) -> float:
    return cycle.guest_ns / 1e3


def versus(
    case: Case, rounds: Sequence[Round], others: Sequence[str], read: Callable[[Cycle], float] = total_us
) -> Versus | None:
    """MT against the best of the others in each round. None where no round has all of them."""
    pairs = [
        (read(one["mt"]), min(read(one[name]) for name in others))
        for one in rounds
        if one.keys() >= {"mt", *others}
    ]
    ratio = median_ratio(pairs)
    if ratio is None:
        return None
    return Versus(case, median(mt for mt, _ in pairs), median(other for _, other in pairs), ratio)


def against(
    rounds: Rounds, others: Sequence[str], name: str, target: Target | None, wanted: Callable[[Case], bool]
) -> Iterator[Row]:
    """A row for each memory size and number of pages: the worst of its patterns and vCPU counts."""
    groups: dict[tuple[int, int], list[Versus]] = defaultdict(list)
    for case, cycles in rounds.items():
        found = versus(case, cycles, others) if wanted(case) else None
        if found is not None:
            groups[case.memory_mib, case.pages].append(found)
    if not groups and target is not None:
        yield row(f"MT to {name}", "µs", None, target=target, note=f"no round has both MT and {name}")
    for (memory_mib, pages), cases in groups.items():
        worst = max(cases, key=lambda each: each.ratio)
        figure = f"MT to {name}, {memory_mib:,} MiB, {pages:,} pages (worst: {worst.case})"
        yield row(figure, "µs", worst.mt_us, reference=worst.other_us, ratio=worst.ratio, target=target)


def harvest(rounds: Rounds) -> Iterator[Row]:
    """Listing and arming again, MT against each other way."""

    def few(case: Case) -> bool:
        return case.pages <= FEW_PAGES_MAX

    def few_and_large(case: Case) -> bool:
        return few(case) and case.memory_mib >= BITMAP_MEMORY_MIN_MIB

    def few_and_small(case: Case) -> bool:
        return few(case) and case.memory_mib < BITMAP_MEMORY_MIN_MIB

    def many(case: Case) -> bool:
        return case.pages >= MANY_PAGES_MIN and case.pages != THREADS_PAGES

    yield from flat(rounds)
    yield from against(rounds, ("ring",), "ring", AGAINST_RING, few)
    for name in ("bitmap", "bitmap-manual"):
        yield from against(rounds, (name,), name, AGAINST_BITMAP, few_and_large)
        yield from against(rounds, (name,), name, None, few_and_small)
    yield from against(rounds, OTHERS, "the best other", NOT_SLOWER, many)


def cold(rounds: Rounds) -> Iterator[Row]:
    """As few pages cost when the kernel's code for it is cold. Shown, not judged: an emulator's matter."""
    for name in OTHERS:
        yield from against(rounds, (name,), f"{name}, cold", None, lambda _: True)


def flat(rounds: Rounds) -> Iterator[Row]:
    """The dearest memory size against the cheapest at the same number of pages: the worst pattern."""
    sizes = {case.memory_mib for case in rounds}
    medians: dict[tuple[int, int, str], list[float]] = defaultdict(list)
    for case, cycles in rounds.items():
        values = [total_us(one["mt"]) for one in cycles if "mt" in one]
        if values:
            medians[case[1:]].append(median(values))
    spread: dict[int, float] = {}
    for (pages, _, _), values in medians.items():
        if len(values) > 1:
            spread[pages] = max(spread.get(pages, 0.0), max(values) / min(values))
    if not spread:
        yield row("MT over memory sizes", "times", None, target=FLAT, note="MT ran with one memory size only")
    for pages, times in sorted(spread.items()):
        span = f"{min(sizes):,} to {max(sizes):,} MiB"
        yield row(f"MT, dearest to cheapest of {span}, {pages:,} pages", "times", times, target=FLAT)


def threads(rounds: Rounds) -> Iterator[Row]:
    """How many times faster two threads are than one."""
    cases = {case: cycles for case, cycles in rounds.items() if case.pages == THREADS_PAGES}
    if not cases:
        note = f"no round with {THREADS_PAGES:,} pages"
        yield row("MT, two threads to one", "times", None, target=TWO_THREADS, note=note)
    for case, cycles in cases.items():
        pairs = [
            (one["mt"].total_ns, one["mt-2t"].total_ns) for one in cycles if one.keys() >= {"mt", "mt-2t"}
        ]
        figure = f"MT, two threads to one, {case.memory_mib:,} MiB, {case.pages:,} pages, {case}"
        yield row(figure, "times", median_ratio(pairs), target=TWO_THREADS)


def faults(rounds: Rounds) -> Iterator[Row]:
    """What a first write costs the guest, over all rounds with so many pages that little else counts."""
    for vcpus in sorted({case.vcpus for case in rounds}):
        pairs = [
            (guest_us(one["mt"]) / case.pages, guest_us(one["ring"]) / case.pages)
            for case, cycles in rounds.items()
            for one in cycles
            if case.vcpus == vcpus and case.pages >= FEW_PAGES_MAX and one.keys() >= {"mt", "ring"}
        ]
        yield row(
            f"guest's write fault, MT to ring, {vcpus} vCPU{'s' if vcpus > 1 else ''}",
            "µs",
            median(mt for mt, _ in pairs) if pairs else None,
            reference=median(ring for _, ring in pairs) if pairs else None,
            ratio=median_ratio(pairs),
            target=NOT_SLOWER,
        )


def overshoot(samples: Sequence[Overshoot]) -> Iterator[Row]:
    """How far lists went past the threshold: at most one entry a vCPU."""
    for sample in samples:
        yield row(
            f"threshold overshoot, {sample.vcpus} vCPUs, most of {sample.rounds:,} rounds",
            "pages",
            sample.over_max,
            target=Target(sample.vcpus, at_most=True),
        )
    if not samples:
        yield row(
            "threshold overshoot", "pages", None, target=Target(1, at_most=True), note="no threshold ran"
        )


def hot_set(samples: Sequence[HotSet]) -> Iterator[Row]:
    """The guest's work with hot pages left writable, against the ring, which arms them each time."""
    turns: dict[int, dict[str, float]] = defaultdict(dict)
    for sample in samples:
        turns[sample.turn][sample.method] = sample.guest_rounds / sample.seconds
    pairs = [(turn["mt-hot"], turn["ring"]) for turn in turns.values() if turn.keys() >= {"mt-hot", "ring"}]
    what = f"{samples[0].pages} hot pages at {samples[0].rate:,}/s" if samples else "hot pages"
    yield row(
        f"guest rounds, MT with hot set to ring, {what}",
        "/s",
        median(mt for mt, _ in pairs) if pairs else None,
        reference=median(ring for _, ring in pairs) if pairs else None,
        ratio=median_ratio(pairs),
        target=HOT_SET,
    )
