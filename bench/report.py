"""The table on the terminal and the JSON beside it."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

import ftd
from bench.model import Record, Row

VERDICTS = {True: "[green]met[/]", False: "[red]not met[/]", None: ""}
SIDES = ("product", "floor")


def machine() -> dict[str, str | int]:
    """What the figures were taken on."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "processors": os.cpu_count() or 0,
        "memory_mib": pages * page_bytes >> 20,
        "kernel": platform.release(),
        "system": platform.version(),
    }


def versions() -> dict[str, str]:
    """What was measured, and with what."""
    return {"ftd": ftd.__version__, "python": platform.python_version()}


def print_table(
    rows: Sequence[Row],
    console: Console,
    *,
    sides: tuple[str, str] = SIDES,
    host: Mapping[str, str | int] | None = None,
) -> None:
    """Prints the table, and below it why figures are missing. `host`: where they were taken, if not here."""
    host = host or machine()
    title = f"{host['processor']} · {host['processors']} processors · {host['kernel']}"
    table = Table(title=title)
    numbers = (*sides, "ratio")
    for heading in ("figure", *numbers, "unit", "target", ""):
        table.add_column(heading, justify="right" if heading in numbers else "left", no_wrap=True)
    for row in rows:
        values = (number(row.product), number(row.reference), number(row.ratio))
        table.add_row(row.figure, *values, row.unit, row.target, VERDICTS[row.passed])
    console.print(table)
    for note in sorted({row.note for row in rows if row.note}):
        console.print(f"not measured: {note}", markup=False)


def write_json(
    rows: Sequence[Row],
    records: Sequence[Record],
    path: Path,
    *,
    host: Mapping[str, str | int] | None = None,
) -> None:
    """Writes the machine (`host`, if not this one), all rows, and every run that they were made from."""
    document = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": host or machine(),
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
        "runs": [asdict(record) for record in records],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def all_met(rows: Sequence[Row]) -> bool:
    """Whether every target was met; a figure that was not measured meets none."""
    return all(row.passed is not False for row in rows)


def number(value: float | None) -> str:
    """Three to four digits that matter."""
    if value is None:
        return "—"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
