"""``python -m bench [--quick] [--only NAME]... [--json FILE]``."""

import os
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from bench.build import build
from bench.figures import DEFAULT, FIGURES
from bench.floor import Floor
from bench.model import NotMeasuredError, Row
from bench.product import Product
from bench.report import all_met, print_table, write_json
from bench.side_by_side import Bench

JSON_PATH = Path("bench-results") / "bench.json"
TABLE_WIDTH = 150
"""A table that is cut or folded is of no use in a log."""


@click.command()
@click.option("--quick", is_flag=True, help="Short runs, once each: to see that it works, not to quote.")
@click.option("--only", multiple=True, type=click.Choice(list(FIGURES)), help="Measure this; repeatable.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    default=JSON_PATH,
    show_default=True,
    help="Write the figures, and every run behind them, here.",
)
def main(quick: bool, only: tuple[str, ...], json_path: Path) -> None:
    """Measure the product and the floor in turns. Exits 1 unless every target is met."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise click.ClickException("/dev/kvm cannot be used: run on a KVM host, as root or in the group kvm")
    progress = Console(stderr=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ftd-bench-") as out_dir:
        programs = build(Path(out_dir))
        product, floor = Product(programs.toucher), Floor(programs.floor, programs.toucher)
        bench = Bench(product, floor, programs, quick)
        for name in only or DEFAULT:
            began_s = time.monotonic()
            try:
                rows.extend(FIGURES[name](bench))
            except NotMeasuredError as error:
                raise click.ClickException(f"{name}: the reference could not be measured: {error}") from error
            progress.print(f"{name}: {time.monotonic() - began_s:.0f} s")
    print_table(rows, Console(width=TABLE_WIDTH))
    write_json(rows, bench.records, json_path)
    sys.exit(0 if all_met(rows) else 1)


if __name__ == "__main__":
    main()
