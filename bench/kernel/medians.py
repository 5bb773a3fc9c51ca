"""The second table: what each method takes, case by case."""

from collections.abc import Iterable, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.kernel.figures import Case, Rounds, total_us
from bench.report import number

METHODS = ("ring", "bitmap", "bitmap-manual", "mt", "mt-fetch", "mt-2t")


def medians(rounds: Rounds) -> Iterable[tuple[Case, Sequence[float | None]]]:
    """For each case the median of each of METHODS in microseconds; None for one that did not run."""
    for case, cycles in rounds.items():
        values = [[total_us(one[name]) for one in cycles if name in one] for name in METHODS]
        yield case, [median(found) if found else None for found in values]


def print_medians(rounds: Rounds, console: Console) -> None:
    """Prints the table."""
    table = Table(title="list and arm again, µs, median")
    for heading in ("memory, MiB", "pages", *METHODS):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("guest", no_wrap=True)
    for case, values in medians(rounds):
        table.add_row(f"{case.memory_mib:,}", f"{case.pages:,}", *map(number, values), str(case))
    console.print(table)
