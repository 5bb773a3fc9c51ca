"""``python -m bench.kernel [--quick] [--here] [--lines FILE] [--json FILE]``."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from bench.kernel import program
from bench.kernel.figures import cold, faults, harvest, hot_set, overshoot, rounds_of, threads
from bench.kernel.medians import print_medians
from bench.kernel.samples import Cycle, Host, HotSet, Overshoot, Sample, parse, record
from bench.model import NotMeasuredError, Row
from bench.report import all_met, print_table, write_json
from lab.errors import LabError, MissingError

JSON_PATH = Path("bench-results") / "kernel.json"
TABLE_WIDTH = 150
QUICK = ("--rounds", "3", "--pages-max", "10000", "--overshoot-rounds", "30", "--hot-seconds", "1")
S = TypeVar("S")
EXIT_MISSING = 77
"""As the lab's: something is missing on this machine, and could not be had."""


@click.command()
@click.option("--quick", is_flag=True, help="Few rounds, few pages: to see that it works, not to quote.")
@click.option("--here", is_flag=True, help="On this machine's own KVM, not in the lab.")
@click.option("--kernel", "release", metavar="RELEASE", help="The lab host's kernel; else the newest.")
@click.option(
    "--lines", type=click.Path(path_type=Path, exists=True), help="Judge these lines; measure nothing."
)
@click.option("--keep", type=click.Path(path_type=Path), help="Write the program's lines here, for --lines.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    default=JSON_PATH,
    show_default=True,
    help="Write the figures, and every sample behind them, here.",
)
def main(
    quick: bool, here: bool, release: str | None, lines: Path | None, keep: Path | None, json_path: Path
) -> None:
    """Measure memory tracking against the dirty ring and the bitmap. Exits 1 unless every target is met."""
    try:
        output = lines.read_text() if lines else _measure(QUICK if quick else (), here, release)
        if keep:
            keep.write_text(output)
        samples = parse(output.splitlines())
    except MissingError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(EXIT_MISSING)
    except (LabError, NotMeasuredError, subprocess.CalledProcessError) as error:
        raise click.ClickException(str(error)) from error
    rows = rows_of(samples)
    host = next((sample.described() for sample in samples if isinstance(sample, Host)), None)
    console = Console(width=TABLE_WIDTH)
    print_medians(rounds_of(_of(samples, Cycle)), console)
    print_table(rows, console, sides=("MT", "other"), host=host)
    write_json(rows, [record(sample) for sample in samples], json_path, host=host)
    sys.exit(0 if all_met(rows) else 1)


def rows_of(samples: list[Sample]) -> list[Row]:
    """All rows of the table."""
    cycles = _of(samples, Cycle)
    rounds = rounds_of(cycles)
    return [
        *harvest(rounds),
        *cold(rounds_of(cycles, cold=True)),
        *threads(rounds),
        *faults(rounds),
        *overshoot(_of(samples, Overshoot)),
        *hot_set(_of(samples, HotSet)),
    ]


def _of(samples: list[Sample], kind: type[S]) -> list[S]:
    return [sample for sample in samples if isinstance(sample, kind)]


def _measure(arguments: tuple[str, ...], here: bool, release: str | None) -> str:
    with tempfile.TemporaryDirectory(prefix="ftd-bench-kernel-") as out_dir:
        built = program.build(Path(out_dir))
        if here:
            return program.run_here(built, arguments)
        return program.run_in_lab(built, arguments, release)


if __name__ == "__main__":
    main()
