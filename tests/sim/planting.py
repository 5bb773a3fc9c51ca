"""Puts a fault in the place of what is right, and takes it out again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Planting:
    """What was replaced, to be put back."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def attribute(self, owner: Any, name: str, value: Any) -> None:
        """``owner.name`` is ``value`` from here on."""
        before = owner.__dict__[name]
        self._undo.append(lambda: setattr(owner, name, before))
        setattr(owner, name, value)

    def row(self, table: dict[Any, Any], key: Any, row: Any) -> None:
        """A transition goes elsewhere, or does something else."""
        before = table[key]
        assert before != row, "a mutant differs"
        self._undo.append(lambda: table.__setitem__(key, before))
        table[key] = row

    def take_out(self) -> None:
        """Everything is right again."""
        while self._undo:
            self._undo.pop()()


@dataclass(frozen=True)
class Mutant:
    """``why``: which rule it breaks. ``seen_by_core``: the decision core's own checks refuse to act on it."""

    why: str
    plant: Callable[[Planting], None]
    seen_by_core: bool = False
