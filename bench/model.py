"""What is run and what comes out of it."""

from dataclasses import dataclass
from statistics import median
from typing import Protocol


@dataclass(frozen=True)
class Workload:
    """A guest and how it is protected. `rate` is in checkpoints a second; None: unprotected."""

    rate: int | None = 2500
    seconds: int = 10
    memory_mib: int = 256
    pages: int = 10
    spin: int = 100
    working_set: int = 0
    vcpus: int = 1
    tracker: str = "ring"
    hot_set: bool = False


@dataclass(frozen=True)
class Run:
    """What one run of a workload gave. Where nothing was protected, only the rounds count."""

    rounds_per_second: float
    acked_per_second: float = 0.0
    pages_per_epoch: float = 0.0
    pause_p50_us: float = 0.0
    pause_p99_us: float = 0.0
    harvest_p50_us: float = 0.0
    stalls: int = 0


class NotMeasuredError(Exception):
    """A side cannot run this; the message says why and what is missing."""


class Side(Protocol):
    """The product or the floor."""

    def run(self, workload: Workload) -> Run:
        """Runs a workload. Raises NotMeasuredError when this side cannot."""


def typical(runs: list[Run]) -> Run:
    """The median of every figure: one run in which the machine was busy elsewhere does not decide."""
    return Run(
        rounds_per_second=median(run.rounds_per_second for run in runs),
        acked_per_second=median(run.acked_per_second for run in runs),
        pages_per_epoch=median(run.pages_per_epoch for run in runs),
        pause_p50_us=median(run.pause_p50_us for run in runs),
        pause_p99_us=median(run.pause_p99_us for run in runs),
        harvest_p50_us=median(run.harvest_p50_us for run in runs),
        stalls=round(median(run.stalls for run in runs)),
    )


@dataclass(frozen=True)
class Row:
    """One line of the table. `passed` is None where there is nothing to hold the figure against."""

    figure: str
    product: float | None
    reference: float | None
    unit: str
    target: str
    passed: bool | None
    note: str = ""
