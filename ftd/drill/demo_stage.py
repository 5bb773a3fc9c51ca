"""Where a demonstration is shown: a live panel on a terminal, plain lines anywhere else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ftd.ctl.rates import Rates
from ftd.drill.demo_figures import Outcome, broken_promises, closing_figures, latency

PLAIN_COLUMNS: Final = 200
PLAIN_INTERVAL_S: Final = 2.0
PANEL_COLUMNS: Final = 72


@dataclass(frozen=True, slots=True)
class Sample:
    """What there is to see at one moment."""

    title: str
    rates: Rates | None
    """None: nobody takes checkpoints."""
    epoch: int
    requests_per_s: float
    answered: int


class Stage:
    """Tells and shows. Times count from its making."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._live: Live | None = None
        self._plain_due_s = 0.0

    def say(self, text: str, style: str = "") -> None:
        """One line of the story, with the time."""
        self._print(Text.assemble((f"{self._elapsed_s():5.1f} s  ", "dim"), (text, style)))

    def detail(self, text: str) -> None:
        """A line that belongs to the one before."""
        self._print(Text(f"         {text}"))

    @contextmanager
    def live(self) -> Iterator[None]:
        """While inside, `show` draws in place."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def show(self, sample: Sample) -> None:
        """The newest sample. Without a terminal only one every PLAIN_INTERVAL_S is printed."""
        if self._live is not None:
            self._live.update(panel(sample), refresh=True)
        elif self._elapsed_s() >= self._plain_due_s:
            self._plain_due_s = self._elapsed_s() + PLAIN_INTERVAL_S
            self.detail(plain_line(sample))

    def close(self, outcome: Outcome) -> None:
        """Figures and verdict."""
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for name, value in closing_figures(outcome):
            table.add_row(name, Text(value, style="bold"))
        self._console.print()
        self._console.print(table)
        self._console.print()
        self._console.print(verdict(outcome))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=not self._console.is_terminal)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s


def console_for_stdout() -> Console:
    """On a pipe, lines are as wide as they need to be."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_COLUMNS)


def _figures(sample: Sample) -> Iterator[tuple[str, str]]:
    if sample.rates is not None:
        yield "checkpoints/s", f"{sample.rates.checkpoints_per_s:,.0f}"
        yield "pause p50 / p99", latency(sample.rates.pause)
        yield "ack p50 / p99", latency(sample.rates.ack)
        yield "epoch", f"{sample.epoch:,}"
    yield "requests/s", f"{sample.requests_per_s:,.0f}"
    yield "answered", f"{sample.answered:,}"


def plain_line(sample: Sample) -> str:
    """All of a sample in one line."""
    return f"{sample.title}: " + ", ".join(f"{name} {value}" for name, value in _figures(sample))


def panel(sample: Sample) -> Panel:
    """The same as a panel."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(width=18)
    table.add_column(justify="right", min_width=20)
    for name, value in _figures(sample):
        table.add_row(name, Text(value, style="bold"))
    return Panel(table, title=sample.title, title_align="left", width=PANEL_COLUMNS)


def verdict(outcome: Outcome) -> Text:
    """What it comes to."""
    broken = broken_promises(outcome)
    if broken:
        return Text("FAILED: " + "; ".join(broken), style="bold red")
    kept = Text("The guest outlived its host; nothing that anyone saw was undone.", style="bold green")
    if outcome.protection is not None and not outcome.protection.rate_was_held:
        kept.append(
            "\nThe rate that was asked for was not held: this machine was too slow or too busy for it. "
            "Answers wait longer for their checkpoint then; no promise depends on the rate.",
            style="yellow",
        )
    return kept
