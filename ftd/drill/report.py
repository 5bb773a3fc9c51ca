"""What becomes of a record: judged, told in a few lines, written as a page and as JSON."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ftd.drill.record import Record
from ftd.drill.report_page import page
from ftd.drill.verdict import Figures, Verdict, figures_of, verdict_of
from ftd.errors import ControlError, ErrorKind


class Judged(msgspec.Struct, frozen=True):
    """All that is written down."""

    verdict: Verdict
    figures: Figures
    record: Record


def judged(record: Record) -> Judged:
    """With figures and verdict."""
    return Judged(verdict_of(record), figures_of(record), record)


def summary(result: Judged) -> Iterator[str]:
    """Lines for a terminal."""
    figures, answers = result.figures, result.record.answers
    for name, value, unit in (
        ("detection", figures.detection_ms, "ms"),
        ("decision", figures.decision_ms, "ms"),
        ("activation", figures.activation_ms, "ms"),
        ("blackout", figures.blackout_ms, "ms"),
        ("longest wait", figures.longest_wait_ms, "ms"),
        ("protected again", figures.protected_again_s, "s"),
    ):
        if value is not None:
            yield f"{name:<16}{value:>10,.1f} {unit}"
    yield f"{'answers':<16}{answers.answered:>10,} of {answers.asked:,}, {answers.repeated} asked again"
    for check in result.verdict.checks:
        if not check.kept:
            yield f"NOT KEPT: {check.what}: {check.found}"
    yield f"drill of VM {result.record.vm}, {result.record.fault}: " + (
        "passed" if result.verdict.passed else "FAILED"
    )


def check_writable(path: Path) -> None:
    """Before anything is done to a guest. Raises ControlError."""
    folder = path if path.is_dir() or path.suffix == "" else path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, os.strerror(13))
    except OSError as error:
        message = f"--report {path}: cannot write to {folder}: {error.strerror}. Nothing was done"
        raise ControlError(ErrorKind.CONFIG, message) from error


def write(result: Judged, path: Path) -> list[Path]:
    """The page and, beside it, JSON; returns both paths. Raises ControlError."""
    if path.is_dir() or path.suffix == "":
        began = datetime.fromtimestamp(result.record.began_realtime_ns / 1e9, UTC)
        path = path / f"{result.record.vm}-{result.record.fault}-{began:%Y%m%dT%H%M%SZ}.html"
    data = path.with_suffix(".json")
    try:
        path.write_text(page(result.record, result.figures, result.verdict), encoding="utf-8")
        data.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    except OSError as error:
        message = f"the drill has ended, but its report cannot be written to {path}: {error.strerror}"
        raise ControlError(ErrorKind.CONFIG, message) from error
    return [path, data]
