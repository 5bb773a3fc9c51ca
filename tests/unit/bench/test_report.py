"""The table, the JSON, and when the bench counts as passed."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.model import Record, Target, row
from bench.report import all_met, number, print_table, write_json

MET = row("rate", "/s", 2500, target=Target(2490))
SHORT = row("pause", "µs", 130, reference=100, target=Target(1.2, of_reference=True, at_most=True))
SHOWN = row("harvest", "µs", 0.5)
MISSING = row("work", "/s", None, target=Target(1), note="the worker is [gone]")


def drawn() -> str:
    screen = io.StringIO()
    print_table([MET, SHORT, SHOWN, MISSING], Console(file=screen, width=130))
    return screen.getvalue()


def test_every_row_has_its_verdict() -> None:
    lines = {line.split("│")[1].strip(): line for line in drawn().splitlines() if line.startswith("│")}
    assert " met " in lines["rate"]
    assert "not met" not in lines["rate"]
    assert "not met" in lines["pause"]
    assert "1.3" in lines["pause"]
    assert "met" not in lines["harvest"]


def test_reason_of_a_missing_figure_is_told_as_it_is() -> None:
    assert "not measured: the worker is [gone]" in drawn()


def test_passed_only_when_every_target_is_met() -> None:
    assert all_met([MET, SHOWN])
    assert not all_met([MET, SHORT])
    assert not all_met([MET, MISSING])


def test_json_has_every_run(tmp_path: Path) -> None:
    path = tmp_path / "results" / "bench.json"
    write_json([MET, SHORT], [Record("floor", {"rate": 2500}, {"rounds_per_second": 5.0})], path)
    document = json.loads(path.read_text())
    assert [entry["figure"] for entry in document["rows"]] == ["rate", "pause"]
    assert document["runs"] == [{"side": "floor", "what": {"rate": 2500}, "gave": {"rounds_per_second": 5.0}}]
    assert {"processor", "processors", "kernel", "memory_mib"} <= set(document["machine"])
    assert document["versions"]["ftd"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (12345.6, "12,346"), (0.8312, "0.831"), (57.44, "57.4"), (999.7, "1,000")],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text
