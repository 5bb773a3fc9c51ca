"""What happened in a run, kept cheaply and made readable when somebody wants to read it."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.clockwork import MS, Clockwork


class Timeline:
    """Events of one run. ``detailed``: each epoch, acknowledgement and output as well."""

    def __init__(self, clockwork: Clockwork, *, detailed: bool = False) -> None:
        self.detailed = detailed
        self._clockwork = clockwork
        self._events: list[tuple[int, str, str, tuple[object, ...]]] = []

    def note(self, where: str, text: str, *values: object) -> None:
        """``text`` is a format string for ``values``; it is filled in only when the timeline is printed."""
        self._events.append((self._clockwork.now_us, where, text, values))

    def detail(self, where: str, text: str, *values: object) -> None:
        """As ``note``, for what happens hundreds of times a run."""
        if self.detailed:
            self.note(where, text, *values)

    def lines(self) -> list[str]:
        """One line an event: milliseconds, where, what."""
        return [
            f"{at / MS:10.3f} ms  {where:<8} {text.format(*values)}"
            for at, where, text, values in self._events
        ]


class Logger:
    """Takes the place of a production module's logger: its lines go into the timeline of the run."""

    def __init__(self) -> None:
        self.timeline: Timeline | None = None
        self.where: Callable[[], str] = str
        self.on_transition: Callable[[object], None] = lambda state: None
        """Called with its new state when a decision core changes it."""

    def _log(self, event: str, **fields: object) -> None:
        if event == "state":
            self.on_transition(fields["after"])
        if self.timeline is not None:
            told = ", ".join(f"{name} {value}" for name, value in fields.items())
            self.timeline.note(self.where(), "{}{}{}", event, ": " if told else "", told)

    info = warning = error = _log
