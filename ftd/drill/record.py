"""All that one drill saw, in the shape in which it is written as JSON. Times are seconds since the fault."""

from typing import Final

import msgspec

from ftd.drill.catalogue import Survivor

FORMAT: Final = 1
ANSWER_BIN_S: Final = 0.02


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base: immutable, by name."""


class Sample(Part, frozen=True, kw_only=True):
    """What a host's worker said of itself when it was asked."""

    at_s: float
    host: str
    role: str
    state: str
    generation: int
    epoch: int
    heartbeats: int
    """Received so far."""


class Change(Part, frozen=True, kw_only=True):
    """What happened to a copy, by its own account: `ftd.protocol.control.StateChange`."""

    at_s: float
    host: str
    on: str
    before: str
    after: str


class Step(Part, frozen=True, kw_only=True):
    """What the drill itself did or saw."""

    at_s: float
    text: str


class Answers(Part, frozen=True, kw_only=True):
    """What the observer outside saw."""

    probe: str
    asked: int
    answered: int
    lost: int
    repeated: int
    breaches: list[str]
    bin_s: float
    first_bin_s: float
    bins: list[int]
    """Answers in each stretch of `bin_s`, from `first_bin_s` on."""
    gap_begin_s: float | None = None
    """The longest time without an answer from the fault until it was over, and shortly after."""
    gap_end_s: float | None = None
    longest_wait_s: float | None = None
    """The same from the fault until the observer stopped asking."""


class Record(Part, frozen=True, kw_only=True):
    """One drill."""

    format: int = FORMAT
    version: str
    vm: str
    fault: str
    does: str
    promised: Survivor
    """Where the guest was to run afterwards."""
    host: str
    """On which the drill ran."""
    guest_on: str
    """The host that ran the guest before."""
    peer: str
    began_realtime_ns: int
    heartbeat_timeout_ms: int
    blackout_max_ms: int
    protect_within_s: float
    begin_s: float
    """Negative: observed before the fault."""
    end_s: float
    generation_before: int
    generation_after: int | None = None
    """Right after the outcome; None: it never came."""
    survivor: str | None = None
    """The host that runs the guest after it."""
    active_at_end: list[str]
    """Hosts that run the guest at the end."""
    outcome_s: float | None = None
    undone_s: float | None = None
    protected_again_s: float | None = None
    asked_to_protect: bool = False
    """The drill had to ask for it."""
    clock_uncertainty_ms: float
    """Of the peer's times on this time scale, either way."""
    samples: list[Sample]
    changes: list[Change]
    steps: list[Step]
    answers: Answers
    problem: str = ""
    """What ended the drill early."""
