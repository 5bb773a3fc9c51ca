"""The table on the terminal and the JSON beside it."""

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.model import Row

VERDICTS = {True: "[green]pass[/]", False: "[red]fail[/]", None: ""}


def machine() -> dict[str, str | int]:
    """What the figures were taken on."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    return {
        "processor": model,
        "processors": os.cpu_count() or 0,
        "kernel": platform.release(),
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def print_table(rows: list[Row], console: Console) -> None:
    """Prints the table, and below it why figures are missing."""
    table = Table(title=" · ".join(str(value) for value in machine().values()))
    for heading in ("figure", "product", "reference", "unit", "target", ""):
        table.add_column(heading, justify="right" if heading in ("product", "reference") else "left")
    for row in rows:
        values = (_number(row.product), _number(row.reference), row.unit, row.target)
        table.add_row(row.figure, *values, VERDICTS[row.passed])
    console.print(table)
    for note in sorted({row.note for row in rows if row.note}):
        console.print(f"not measured: {note}")


def write_json(rows: list[Row], path: Path) -> None:
    """Writes the machine and all rows."""
    document = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _number(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
