"""Arbiters: who may run a VM. ``contract`` says what each promises; ``make`` gives the one that a host is
configured for."""

from __future__ import annotations

from pathlib import Path

from ftd.arbiter.contract import Arbiter
from ftd.arbiter.local import LocalArbiter

__all__ = ["make"]


def make(kind: str, directory: Path) -> Arbiter:
    """The arbiter of this kind; ``directory`` is where kind "local" keeps its records.

    Raises ValueError for a kind that there is not. Touches nothing yet: what is wrong shows with the first
    question.
    """
    if kind == "local":
        return LocalArbiter(directory)
    raise ValueError(f"arbiter kind {kind!r} is not known: there is 'local'")
