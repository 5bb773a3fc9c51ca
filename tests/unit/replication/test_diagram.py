"""docs/STATES.md is what the tables say."""

from __future__ import annotations

from pathlib import Path

from ftd.replication.diagram import render
from ftd.replication.states import ActiveState, StandbyState

DOCUMENT = Path(__file__).parents[3] / "docs/STATES.md"


def test_document_is_current() -> None:
    assert DOCUMENT.read_text() == render(), "run: python -m ftd.replication.diagram > docs/STATES.md"


def test_document_names_every_state() -> None:
    text = DOCUMENT.read_text()
    assert all(state.value in text for state in (*ActiveState, *StandbyState))
