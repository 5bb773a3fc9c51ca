"""``python -m bench.lab [--row NAME]... [--kills N] [--quick] [--json FILE]``."""

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import trio
from rich.console import Console

from bench.lab.lab import Lab
from bench.lab.rows import ROWS
from bench.lab.scene import running
from bench.lab.vm import Protection
from bench.model import NotMeasuredError, Record, Row
from bench.report import all_met, print_table, write_json
from lab.errors import LabError, MissingError, first_of

JSON_PATH = Path("bench-results") / "lab.json"
TABLE_WIDTH = 160
KILLS = 20
KILLS_QUICK = 2
EXIT_MISSING = 77
"""As the lab's: something is missing on this machine, and could not be had."""


@click.command()
@click.option("--row", "names", multiple=True, type=click.Choice(list(ROWS)), help="Only this; repeatable.")
@click.option("--kills", type=click.IntRange(1), help=f"Host power losses; else {KILLS}.")
@click.option("--minutes", type=click.FloatRange(0), help="Begin no power loss after so long.")
@click.option("--rate", "rate_hz", default=200, show_default=True, help="Checkpoints a second.")
@click.option("--timeout", "timeout_ms", default=200, show_default=True, help="Heartbeat timeout, in ms.")
@click.option("--vcpus", default=1, show_default=True, help="Of the guest.")
@click.option("--quick", is_flag=True, help="Short and once each: to see that it works, not to quote.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path),
    default=JSON_PATH,
    show_default=True,
    help="Write the figures, and every measurement behind them, here.",
)
def main(
    names: tuple[str, ...],
    kills: int | None,
    minutes: float | None,
    rate_hz: int,
    timeout_ms: int,
    vcpus: int,
    quick: bool,
    json_path: Path,
) -> None:
    """Measure what clients of a real guest see, in the lab. Exits 1 unless every target is met."""
    interval_ms = min(50, timeout_ms // 4)
    protection = Protection(rate_hz, interval_ms, timeout_ms, vcpus)
    chosen = [name for name in ROWS if not names or name in names]
    kills = kills or (KILLS_QUICK if quick else KILLS)
    rows: list[Row] = []
    records: list[Record] = []
    try:
        make = partial(
            Lab,
            kills_wanted=kills,
            quick=quick,
            records=records,
            minutes=math.inf if minutes is None else minutes,
        )
        trio.run(partial(_measure, chosen, protection, make, rows, records, json_path))
    except* MissingError as group:
        click.echo(f"bench: {first_of(group)}", err=True)
        sys.exit(EXIT_MISSING)
    except* LabError as group:
        raise click.ClickException(str(first_of(group))) from group
    print_table(rows, Console(width=TABLE_WIDTH), sides=("ftd", "other"))
    sys.exit(0 if all_met(rows) else 1)


async def _measure(
    chosen: Sequence[str],
    protection: Protection,
    make: Callable[..., Lab],
    rows: list[Row],
    records: list[Record],
    json_path: Path,
) -> None:
    """Fills both lists, and writes the JSON anew after each row and each power loss: a long run may not come
    to its end."""
    progress = Console(stderr=True)

    def tell(text: str) -> None:
        write_json(rows, records, json_path)
        progress.print(text)

    async with running(protection, with_qemu="migration" in chosen) as scene:
        lab = make(scene, tell=tell)
        for name in chosen:
            began_s = trio.current_time()
            try:
                rows += await ROWS[name](lab)
            except* NotMeasuredError as group:
                rows.append(not_measured(name, str(first_of(group))))
            tell(f"{name}: {trio.current_time() - began_s:.0f} s")


def not_measured(name: str, why: str) -> Row:
    """A row that meets no target, whatever that is."""
    return Row(name, None, None, None, "", "to be measured", False, f"{name}: {why}")


if __name__ == "__main__":
    main()
