"""``python -m bench [--quick] [--only NAME]... [--json FILE]``."""

import os
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from bench.build import build
from bench.figures import FIGURES, bench_of
from bench.model import NotMeasuredError, Row
from bench.report import print_table, write_json


@click.command()
@click.option("--quick", is_flag=True, help="Short runs, once each: to see that it works, not to quote.")
@click.option("--only", multiple=True, type=click.Choice(list(FIGURES)), help="Measure this; repeatable.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(quick: bool, only: tuple[str, ...], json_path: Path | None) -> None:
    """Measure the product and the floor in turns. Exits 1 unless every target is met."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise click.ClickException("/dev/kvm cannot be used: run on a KVM host, as root or in the group kvm")
    progress = Console(stderr=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ftd-bench-") as out_dir:
        bench = bench_of(build(Path(out_dir)), quick)
        for name in only or FIGURES:
            progress.print(f"measuring {name}")
            try:
                rows.extend(FIGURES[name](bench))
            except NotMeasuredError as error:
                raise click.ClickException(f"{name}: the reference could not be measured: {error}") from error
    print_table(rows, Console())
    if json_path is not None:
        write_json(rows, json_path)
    sys.exit(any(row.passed is False for row in rows))


if __name__ == "__main__":
    main()
