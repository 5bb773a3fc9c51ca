"""The timeline of a drill as an SVG picture. Pure: a record in, text out."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Final

from ftd.drill.record import Change, Record, Sample

WIDTH: Final = 960
LEFT: Final = 128
RIGHT: Final = 16
TOP: Final = 44
LANE: Final = 46
BAR: Final = 22
ANSWERS: Final = 64
AXIS: Final = 30
MARK_ROOM: Final = 19
# Samples come every 0.1 s; a host that gave none for longer is shown as saying nothing.
SILENT_S: Final = 0.35
# About this wide is a letter of the labels.
LETTER: Final = 6.6
_KINDS: Final = {
    "good": ("protected", "standby", "probing"),
    "busy": ("syncing", "sealed", "standby_syncing", "leaving", "draining", "switching_over", "taking_over"),
    "alone": ("simplex", "idle", "unconfirmed"),
    "bad": ("failing_over", "fenced", "stopping", "taking_back", "forcing", "ending", "discarded"),
}
_KIND_OF: Final = {state: kind for kind, states in _KINDS.items() for state in states}


class Mark:
    """A moment with a letter; the page's legend says what it is."""

    def __init__(self, letter: str, at_s: float, text: str) -> None:
        self.letter = letter
        self.at_s = at_s
        self.text = text


class Scale:
    """From seconds since the fault to x."""

    def __init__(self, begin_s: float, end_s: float) -> None:
        self.begin_s = begin_s
        self.end_s = max(end_s, begin_s + 1e-3)
        self._per_s = (WIDTH - LEFT - RIGHT) / (self.end_s - self.begin_s)

    def x(self, at_s: float) -> float:
        """Cut off at the picture's sides."""
        return LEFT + (min(max(at_s, self.begin_s), self.end_s) - self.begin_s) * self._per_s

    def holds(self, at_s: float) -> bool:
        """Whether it is in the picture."""
        return self.begin_s <= at_s <= self.end_s

    def ticks(self) -> Iterator[float]:
        """Round times, some eight of them."""
        span_s = self.end_s - self.begin_s
        step_s = next((step for step in _STEPS_S if span_s / step <= 9), _STEPS_S[-1])
        tick = int(self.begin_s / step_s) - 1
        while tick * step_s <= self.end_s:
            if tick * step_s >= self.begin_s:
                yield tick * step_s
            tick += 1


_STEPS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)


def timeline(record: Record, marks: Sequence[Mark], begin_s: float, end_s: float, title: str) -> str:
    """Client answers above; for each host its state, epochs and heartbeats; marks through all of it."""
    scale, hosts = Scale(begin_s, end_s), (record.host, record.peer)
    bottom = TOP + ANSWERS + 12 + len(hosts) * 3 * LANE
    height = bottom + AXIS
    parts = [
        f'<svg class="timeline" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(title)}</title>",
        *_gap(record, scale, bottom),
        *_answers(record, scale),
    ]
    y = TOP + ANSWERS + 12
    for host in hosts:
        parts += _host(record, host, scale, y)
        y += 3 * LANE
    parts += _axis(scale, bottom)
    parts += _marks(marks, scale, bottom)
    return "\n".join([*parts, "</svg>"])


def _text(x: float, y: float, text: str, kind: str = "lane", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _gap(record: Record, scale: Scale, bottom: float) -> Iterator[str]:
    begin_s, end_s = record.answers.gap_begin_s, record.answers.gap_end_s
    if begin_s is None or end_s is None:
        return
    x, width = scale.x(begin_s), max(scale.x(end_s) - scale.x(begin_s), 1.0)
    yield f'<rect class="gap" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{bottom - TOP:.1f}"/>'


def _answers(record: Record, scale: Scale) -> Iterator[str]:
    """One bar for each step of some pixels: as many bins as fall into it."""
    answers = record.answers
    yield _text(8, TOP + 16, "client")
    yield _text(8, TOP + 32, "answers a second", "unit")
    step_s = max(answers.bin_s, (scale.end_s - scale.begin_s) / 300)
    bins_per_step = max(round(step_s / answers.bin_s), 1)
    step_s = bins_per_step * answers.bin_s
    rates = [
        (
            answers.first_bin_s + index * answers.bin_s,
            sum(answers.bins[index : index + bins_per_step]) / step_s,
        )
        for index in range(0, len(answers.bins), bins_per_step)
    ]
    shown = [(at_s, rate) for at_s, rate in rates if scale.holds(at_s)]
    top = max((rate for _, rate in shown), default=0.0) or 1.0
    width = max(scale.x(scale.begin_s + step_s) - LEFT, 1.0)
    for at_s, rate in shown:
        if rate:
            x, height = scale.x(at_s), rate / top * (ANSWERS - 6)
            wide = min(width, WIDTH - RIGHT - x)
            y = TOP + ANSWERS - height
            yield f'<rect class="answer" x="{x:.1f}" y="{y:.1f}" width="{wide:.2f}" height="{height:.1f}"/>'
    yield f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{TOP + ANSWERS}" y2="{TOP + ANSWERS}"/>'
    yield _text(LEFT - 6, TOP + 12, f"{top:,.0f}", "unit", "end")


def _host(record: Record, host: str, scale: Scale, y: float) -> Iterator[str]:
    samples = [sample for sample in record.samples if sample.host == host]
    changes = [change for change in record.changes if change.host == host]
    yield f'<line class="parting" x1="8" x2="{WIDTH - RIGHT}" y1="{y + 2:.1f}" y2="{y + 2:.1f}"/>'
    yield _text(8, y + 24, host)
    yield from _states(samples, changes, scale, y + 9)
    for row, (kind, label) in enumerate(
        (("epoch", "epochs a second"), ("heartbeat", "heartbeats a second")), 1
    ):
        below = y + (row + 1) * LANE - 6
        yield _text(8, below - 10, label, "unit")
        yield f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{below:.1f}" y2="{below:.1f}"/>'
        yield from _rate(samples, kind, scale, below)


def segments(samples: Iterable[Sample], changes: Iterable[Change]) -> list[tuple[float, float, str]]:
    """What a host was, from when to when, by its own account; nothing where it said nothing."""
    known = [(sample.at_s, sample.state) for sample in samples]
    known += [(change.at_s, change.after) for change in changes]
    known.sort()
    found: list[tuple[float, float, str]] = []
    for (at_s, state), (next_s, _) in pairwise(known):
        end_s = next_s if next_s - at_s <= SILENT_S else at_s
        if found and found[-1][1] == at_s and found[-1][2] == state:
            found[-1] = (found[-1][0], end_s, found[-1][2])
        else:
            found.append((at_s, end_s, state))
    return [segment for segment in found if segment[1] > segment[0]]


def _states(samples: Iterable[Sample], changes: Iterable[Change], scale: Scale, y: float) -> Iterator[str]:
    for begin_s, end_s, state in segments(samples, changes):
        if end_s < scale.begin_s or begin_s > scale.end_s:
            continue
        x, width = scale.x(begin_s), max(scale.x(end_s) - scale.x(begin_s), 1.0)
        kind = _KIND_OF.get(state, "bad")
        yield (
            f'<rect class="state {kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}">'
            f"<title>{escape(state)}</title></rect>"
        )
        if width > (len(state) + 1) * LETTER:
            yield _text(x + width / 2, y + BAR - 7, state, "in-bar", "middle")


def _rate(samples: Sequence[Sample], kind: str, scale: Scale, below: float) -> Iterator[str]:
    runs = list(_runs(samples, kind))
    top = max((rate for run in runs for at_s, rate in run if scale.holds(at_s)), default=0.0)
    if not top:
        return
    for run in runs:
        points = " ".join(
            f"{scale.x(at_s):.1f},{below - rate / top * (LANE - 16):.1f}"
            for at_s, rate in run
            if scale.holds(at_s)
        )
        if points:
            yield f'<polyline class="{kind}" points="{points}"/>'
    yield _text(LEFT - 6, below - LANE + 22, f"{top:,.0f}", "unit", "end")


def _runs(samples: Sequence[Sample], kind: str) -> Iterator[list[tuple[float, float]]]:
    """Rates between samples of one copy, without a pause, of one generation."""
    run: list[tuple[float, float]] = []
    for before, sample in pairwise(samples):
        seconds = sample.at_s - before.at_s
        grown = sample.epoch - before.epoch if kind == "epoch" else sample.heartbeats - before.heartbeats
        same = (before.role, before.generation) == (sample.role, sample.generation)
        if not same or not 0 < seconds <= SILENT_S or grown < 0:
            if run:
                yield run
            run = []
            continue
        run.append((sample.at_s, grown / seconds))
    if run:
        yield run


def _axis(scale: Scale, bottom: float) -> Iterator[str]:
    yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    in_ms = scale.end_s - scale.begin_s < 2
    for at_s in scale.ticks():
        x = scale.x(at_s)
        text = f"{at_s * 1000:.0f} ms" if in_ms else f"{at_s:g} s"
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
        anchor = "end" if x > WIDTH - RIGHT - 24 else "middle"
        yield _text(x, bottom + 19, text, "unit", anchor)


def _marks(marks: Iterable[Mark], scale: Scale, bottom: float) -> Iterator[str]:
    """Letters above; those that would lie on each other move to the right, joined to their line."""
    free_x = 0.0
    for mark in marks:
        if not scale.holds(mark.at_s):
            continue
        x = scale.x(mark.at_s)
        at_x = min(max(x, free_x), WIDTH - RIGHT)
        free_x = at_x + MARK_ROOM
        yield f'<path class="mark" d="M{at_x:.1f} 26 L{x:.1f} {TOP - 4} V{bottom}"/>'
        yield f'<circle class="mark" cx="{at_x:.1f}" cy="16" r="9"/>'
        yield _text(at_x, 20, mark.letter, "letter", "middle")
