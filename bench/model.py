"""What is run and what comes out of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any, Protocol


@dataclass(frozen=True)
class Workload:
    """A toucher guest and how it is protected. `rate` is in checkpoints a second; None: unprotected.

    A round writes each of `pages` pages once and spins `spin_per_round` times, spread evenly over them: so a
    round of any number of pages takes about as long where nothing is protected (56 µs on the build machine),
    and how much of the guest's work protection costs can be compared between numbers of pages.
    """

    rate: int | None = 2500
    seconds: int = 10
    memory_mib: int = 256
    pages: int = 10
    spin_per_round: int = 2000
    working_set: int = 0
    vcpus: int = 1
    irqchip: bool = False
    tracker: str = "ring"
    hot_set: bool = False

    @property
    def guest_args(self) -> tuple[int, int, int]:
        """The toucher's arguments: pages a round, spins after each page, pages of the working set."""
        return self.pages, self.spin_per_round // self.pages, self.working_set


@dataclass(frozen=True)
class Run:
    """What one run of a workload gave. Where nothing was protected, only the rounds count."""

    rounds_per_second: float
    acked_per_second: float = 0.0
    pages_per_epoch: float = 0.0
    pause_p50_us: float = 0.0
    pause_p99_us: float = 0.0
    stalls: int = 0
    steps_us: Mapping[str, float] = field(default_factory=dict)
    """Mean time of each step that this side counts, by its name; both sides have `harvest`."""


class NotMeasuredError(Exception):
    """A side cannot run this; the message says why and what is missing."""


class Side(Protocol):
    """The product or the floor."""

    @property
    def name(self) -> str:
        """As it stands in the JSON."""

    def run(self, workload: Workload) -> Run:
        """Runs a workload. Raises NotMeasuredError when this side cannot."""


@dataclass(frozen=True)
class Pair:
    """Two measurements taken one right after the other: a drifting machine treats both alike."""

    product: Run
    reference: Run


Figure = Callable[[Run], float]


def step(name: str) -> Figure:
    """Reads the mean time of a step, in microseconds."""
    return lambda run: run.steps_us[name]


@dataclass(frozen=True)
class Row:
    """One line of the table. `passed` is None where there is nothing to hold the figure against."""

    figure: str
    product: float | None
    reference: float | None
    ratio: float | None
    unit: str
    target: str
    passed: bool | None
    note: str = ""


@dataclass(frozen=True)
class Target:
    """What a figure must keep to: a limit for itself or, with `of_reference`, for its ratio."""

    limit: float
    of_reference: bool = False
    at_most: bool = False

    def __str__(self) -> str:
        bound = "≤" if self.at_most else "≥"
        return f"{bound} {self.limit:g}{' times' if self.of_reference else ''}"

    def met(self, value: float | None, ratio: float | None) -> bool:
        """A figure that was not measured does not meet its target."""
        judged = ratio if self.of_reference else value
        if judged is None:
            return False
        return judged <= self.limit if self.at_most else judged >= self.limit


def row(
    figure: str,
    unit: str,
    value: float | None,
    *,
    reference: float | None = None,
    ratio: float | None = None,
    target: Target | None = None,
    note: str = "",
) -> Row:
    """A row with its verdict. Without `ratio` that of the two values is taken."""
    if ratio is None and value is not None and reference:
        ratio = value / reference
    passed = None if target is None else target.met(value, ratio)
    return Row(figure, value, reference, ratio, unit, str(target or ""), passed, note)


def row_of_pairs(
    figure: str,
    unit: str,
    pairs: Sequence[Pair],
    read: Figure,
    *,
    target: Target | None = None,
    note: str = "",
) -> Row:
    """Medians of both sides. The ratio is the median of the pairs' ratios, not the ratio of the medians."""
    if not pairs:
        return row(figure, unit, None, target=target, note=note)
    return row(
        figure,
        unit,
        median(read(pair.product) for pair in pairs),
        reference=median(read(pair.reference) for pair in pairs),
        ratio=median_ratio((read(pair.product), read(pair.reference)) for pair in pairs),
        target=target,
        note=note,
    )


def median_ratio(values: Iterable[tuple[float, float]]) -> float | None:
    """Of the pairs whose reference is not zero; None when there is none."""
    ratios = [product / reference for product, reference in values if reference]
    return median(ratios) if ratios else None


def percentile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least `q` percent do not exceed. Raises ValueError when there are none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * q / 100) - 1, 0)]


@dataclass(frozen=True)
class Record:
    """One measurement as it was taken, for the JSON."""

    side: str
    what: Mapping[str, Any]
    gave: Mapping[str, Any]
