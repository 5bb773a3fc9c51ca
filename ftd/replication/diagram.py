"""docs/STATES.md, drawn from the tables: ``python -m ftd.replication.diagram > docs/STATES.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from ftd.replication import events as ev
from ftd.replication.states import ACTIVE_ALONE, ACTIVE_OUTPUT, GUEST_RUNS, ActiveState
from ftd.replication.table import ACTIVE_TABLE, STANDBY_TABLE, Row, S, Table

_HEAD = """\
# States of a protected VM

Generated from `ftd/replication/table.py` by `python -m ftd.replication.diagram > docs/STATES.md`; a test
fails when it is not current. What the states mean stands in [ARCHITECTURE.md](ARCHITECTURE.md) and in
`ftd/replication/states.py`.

Drawings leave out what changes no state. An event that a state does not list is a fault of the program and
raises; a request that it does not list is refused with a sentence. Final states take what was on its way and
do nothing, and so do states without a pair with late reports of one; an answer to a probe that nobody waits
for is dropped.
"""

_ALONE = "idle_or_simplex"


def render() -> str:
    """The whole document."""
    return "\n".join(
        [
            _HEAD,
            "## Active side",
            "",
            *_drawing(ACTIVE_TABLE),
            "",
            "| state | guest | output |",
            "| --- | --- | --- |",
            *(f"| {state.value} | {_guest(state)} | {ACTIVE_OUTPUT[state].value} |" for state in ActiveState),
            "",
            *_listing(ACTIVE_TABLE),
            "",
            "## Standby side",
            "",
            *_drawing(STANDBY_TABLE),
            "",
            *_listing(STANDBY_TABLE),
            "",
        ]
    )


def _guest(state: ActiveState) -> str:
    return "runs" if state in GUEST_RUNS else "stopped"


def _drawing(table: Mapping[tuple[S, type[ev.Event]], Row[S]]) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), row in table.items():
        if row.next is not state:
            arrows.setdefault((state.value, _next(row)), []).append(event.__name__)
    for (source, target), names in arrows.items():
        yield f"    {source} --> {target}: {', '.join(names)}"
    if any(target == _ALONE for _, target in arrows):
        for alone in sorted(ACTIVE_ALONE, key=str):
            yield f"    {_ALONE} --> {alone.value}: whichever it was"
    yield "```"


def _listing(table: Table[S]) -> Iterator[str]:
    yield "| state | event | next | does, in this order |"
    yield "| --- | --- | --- | --- |"
    rows = [(key, row) for key, row in table.items() if row.do or row.next is not key[0]]
    # A stable sort: states stand together, in the order in which the table first names them.
    order = {state: index for index, state in enumerate(dict.fromkeys(key[0] for key, _ in rows))}
    rows.sort(key=lambda item: order[item[0][0]])
    for state, group in groupby(rows, key=lambda item: item[0][0]):
        for (_, event), row in group:
            does = "; ".join(verb.value for verb in row.do)
            yield f"| {state.value} | {event.__name__} | {_next(row)} | {does} |"


def _next(row: Row[S]) -> str:
    return _ALONE if row.next is None else str(row.next.value)


if __name__ == "__main__":
    print(render(), end="")
