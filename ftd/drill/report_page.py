"""A drill's report as one page that needs nothing beside it: no script, no other file. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from ftd.drill.catalogue import Survivor
from ftd.drill.record import Record
from ftd.drill.report_timeline import Mark, timeline
from ftd.drill.verdict import Figures, Verdict
from ftd.protocol.control import GUEST_RUNS, LOSS_SEEN

STYLE: Final = Path(__file__).with_name("report.css")
_TOLD: Final = {
    LOSS_SEEN: "{host} notices the loss",
    "Handover": "{host} is handed the guest",
    "ClaimWon": "{host} wins the next generation",
    "ClaimLost": "{host} loses it, and stops",
    GUEST_RUNS: "the guest runs on {host}",
}
_ZOOM_BEFORE: Final = 0.25
_ZOOM_AFTER: Final = 0.6
_ZOOM_MIN_S: Final = 0.4


def page(record: Record, figures: Figures, verdict: Verdict) -> str:
    """HTML."""
    marks = marks_of(record)
    title = f"Drill of VM {record.vm}: {record.fault}"
    began = datetime.fromtimestamp(record.began_realtime_ns / 1e9, UTC)
    body = [
        f"<header><h1>{escape(title)}</h1>",
        _pill(verdict),
        f"<p>{escape(_sentence(record))}</p>",
        f'<p class="quiet">{began:%Y-%m-%d %H:%M:%S} UTC; ftd {escape(record.version)}; heartbeat timeout '
        f"{record.heartbeat_timeout_ms:,} ms; times are from the "
        f"fault on; those of {escape(record.peer)} to ±{record.clock_uncertainty_ms:.1f} ms</p></header>",
        '<section class="figures">',
        *_figures(record, figures),
        "</section>",
        "<section><h2>Verdict</h2>",
        _table(("what had to be", "what was found", ""), _verdict_rows(verdict)),
        "</section>",
        "<section><h2>Around the fault</h2>",
        timeline(record, marks, *zoom(record, marks), "Timeline around the fault"),
        _legend(marks),
        "</section>",
        "<section><h2>The whole drill</h2>",
        timeline(record, marks, record.begin_s, record.end_s, "Timeline of the whole drill"),
        "</section>",
        "<section><h2>What the drill did</h2>",
        _table(("time", "step"), ((_seconds(step.at_s), escape(step.text)) for step in record.steps)),
        "</section>",
        "<section><h2>What the hosts say happened</h2>",
        _table(("time", "host", "event", "state"), _changes(record)),
        "</section>",
    ]
    return _document(title, "\n".join(body))


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE.read_text()}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def marks_of(record: Record) -> list[Mark]:
    """What is marked in the pictures, by time; the letters follow."""
    moments = [(0.0, f"the fault: {record.fault}")]
    for change in record.changes:
        if change.on in _TOLD and change.at_s >= 0:
            moments.append((change.at_s, _TOLD[change.on].format(host=change.host)))
    if record.answers.gap_end_s is not None:
        moments.append((record.answers.gap_end_s, "the client has answers again"))
    if record.undone_s is not None:
        moments.append((record.undone_s, "the fault is undone"))
    if record.protected_again_s and record.promised is not Survivor.UNMOVED:
        moments.append((record.protected_again_s, "protected again"))
    moments.sort(key=lambda moment: moment[0])
    return [Mark(letter, at_s, text) for letter, (at_s, text) in zip(ascii_uppercase, moments, strict=False)]


def zoom(record: Record, marks: Sequence[Mark]) -> tuple[float, float]:
    """From shortly before the fault until shortly after the client has answers again."""
    gap_end_s = record.answers.gap_end_s or 0.0
    ran_s = [mark.at_s for mark in marks if mark.text.startswith("the guest runs")]
    end_s = max([gap_end_s, *ran_s[:1], _ZOOM_MIN_S])
    gap_begin_s = min(record.answers.gap_begin_s or 0.0, 0.0)
    begin_s = max(record.begin_s, min(gap_begin_s, 0.0) - _ZOOM_BEFORE * end_s)
    return begin_s, min(record.end_s, end_s * (1 + _ZOOM_AFTER))


def _pill(verdict: Verdict) -> str:
    word, kind = ("passed", "passed") if verdict.passed else ("failed", "failed")
    return f'<p class="pill {kind}">{word}</p>'


def _sentence(record: Record) -> str:
    other = record.peer if record.guest_on == record.host else record.host
    where = f"VM {record.vm} ran on {record.guest_on}, protected by {other}; the drill on {record.host}"
    after = (
        f"Afterwards it ran on {record.survivor}"
        if record.survivor
        else "Afterwards nobody was seen to run it"
    )
    return f"{where}. The drill: {record.does}. {after}. Observed by {record.answers.probe}."


def _figures(record: Record, figures: Figures) -> Iterator[str]:
    answers = record.answers
    for name, value in (
        ("detection", _ms(figures.detection_ms)),
        ("decision", _ms(figures.decision_ms)),
        ("activation", _ms(figures.activation_ms)),
        ("blackout at the client", _ms(figures.blackout_ms)),
        ("longest wait in the drill", _ms(figures.longest_wait_ms)),
        ("protected again", "-" if not figures.protected_again_s else f"{figures.protected_again_s:.1f} s"),
        ("answers lost", f"{answers.lost:,} of {answers.asked:,}"),
        ("asked again", f"{answers.repeated:,}"),
    ):
        yield f'<div class="figure"><span>{escape(value)}</span><em>{escape(name)}</em></div>'


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"


def _verdict_rows(verdict: Verdict) -> Iterator[tuple[str, ...]]:
    for check in verdict.checks:
        mark = '<b class="passed">kept</b>' if check.kept else '<b class="failed">not kept</b>'
        yield escape(check.what), escape(check.found), mark


def _changes(record: Record) -> Iterator[tuple[str, ...]]:
    for change in record.changes:
        state = change.after if change.before == change.after else f"{change.before} → {change.after}"
        yield _seconds(change.at_s), escape(change.host), escape(change.on), escape(state)


def _legend(marks: Iterable[Mark]) -> str:
    items = (
        f"<li><b>{mark.letter}</b> {escape(_seconds(mark.at_s))} {escape(mark.text)}</li>" for mark in marks
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _seconds(at_s: float) -> str:
    return f"{at_s:+.3f} s"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
