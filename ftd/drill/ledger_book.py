"""What a ledger client knows: requests asked and answered, and every promise that an answer breaks. No I/O.

A connection starts with ``?``. Until the guest introduces itself (``L``), what comes is left over from an
earlier connection. Then the requests not yet answered are asked again, in order, and the answers come in that
order.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ftd.drill.chain import Chain

_LINE = re.compile(rb"(?:([ADL]) (\d{1,20}) ([0-9a-f]{16})|([EG]) (\d{1,20}))")


class BreachKind(enum.Enum):
    """How a promise was broken."""

    MISMATCH = "the hash is not the chain's: a page or a request was lost or mixed up"
    LOST = "the guest no longer knows a request that it answered"
    ORDER = "an answer came out of order, or to a request that was never asked"


@dataclass(frozen=True)
class Breach:
    """A promise found broken."""

    kind: BreachKind
    number: int
    line: str


@dataclass(frozen=True)
class Answer:
    """A request answered for the first time; `repeated` when the guest had chained it already."""

    number: int
    latency_s: float
    repeated: bool


def is_introduction(line: bytes) -> bool:
    """Whether this line is the guest's answer to ``?``."""
    match = _LINE.fullmatch(line)
    return match is not None and match[1] == b"L"


class GapError(Exception):
    """The guest misses an earlier request, which was lost on the way: ask again from a new session."""


@dataclass
class Book:
    """The account of one ledger from its first request on. Times are the caller's clock, in seconds."""

    chain: Chain = field(default_factory=Chain)
    answered: int = 0
    repeated: int = 0
    discarded: int = 0
    breaches: list[Breach] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    blackout_s: float = 0.0
    _waiting: dict[int, tuple[bytes, float]] = field(default_factory=dict)
    _silent_since_s: float = 0.0

    @property
    def asked(self) -> int:
        """The number of the newest request."""
        return self.chain.last

    @property
    def outstanding(self) -> int:
        """Requests asked and not answered."""
        return self.asked - self.answered

    def silence_s(self, now_s: float) -> float:
        """For how long a request has waited without any answer coming; 0 when none waits."""
        return now_s - self._silent_since_s if self.outstanding else 0.0

    def ask(self, payload: bytes, now_s: float) -> bytes:
        """Chains the next request and returns its line."""
        if not self.outstanding:
            self._silent_since_s = now_s
        self.chain.append(payload)
        self._waiting[self.asked] = (payload, now_s)
        return _request_line(self.asked, payload)

    def ask_again(self) -> Iterator[bytes]:
        """The lines of all requests not answered, in order."""
        for number in range(self.answered + 1, self.asked + 1):
            yield _request_line(number, self._waiting[number][0])

    def read(self, line: bytes, now_s: float, *, leftover: bool = False) -> Answer | Breach | None:
        """Takes one line without its newline. None when it says nothing new.

        A `leftover` line came before the guest's introduction: it may be false, but it cannot answer.
        Raises GapError when the guest asks for an earlier request than it got.
        """
        match = _LINE.fullmatch(line)
        if match is None:
            self.discarded += 1
            return None
        kind = (match[1] or match[4]).decode()
        number = int(match[2] or match[5])
        if number > self.asked + (kind == "E"):
            return self._breach(BreachKind.ORDER, number, line)
        if (
            match[3] is not None
            and self.chain.knows(number)
            and int(match[3], 16) != self.chain.hash_of(number)
        ):
            return self._breach(BreachKind.MISMATCH, number, line)
        if kind == "L":
            return self._read_introduction(number, line)
        if kind == "G":
            return self._breach(BreachKind.LOST, number, line)
        if leftover:
            self.discarded += 1
            return None
        if kind == "E":
            return self._read_gap(number, line)
        return self._read_answer(number, line, now_s, repeated=kind == "D")

    def _read_introduction(self, last: int, line: bytes) -> Breach | None:
        return self._breach(BreachKind.LOST, last + 1, line) if last < self.answered else None

    def _read_gap(self, expected: int, line: bytes) -> Breach:
        if expected <= self.answered:
            return self._breach(BreachKind.LOST, expected, line)
        raise GapError(f"the guest expects request {expected}")

    def _read_answer(self, number: int, line: bytes, now_s: float, repeated: bool) -> Answer | Breach | None:
        self.repeated += repeated
        if number <= self.answered:
            return None
        if number > self.answered + 1:
            return self._breach(BreachKind.ORDER, number, line)
        _, asked_s = self._waiting.pop(number)
        self.blackout_s = max(self.blackout_s, self.silence_s(now_s))
        self._silent_since_s = now_s
        self.answered = number
        answer = Answer(number, now_s - asked_s, repeated)
        self.latencies_s.append(answer.latency_s)
        return answer

    def _breach(self, kind: BreachKind, number: int, line: bytes) -> Breach:
        breach = Breach(kind, number, line.decode("ascii"))
        self.breaches.append(breach)
        return breach


def _request_line(number: int, payload: bytes) -> bytes:
    return b"R %d %s\n" % (number, payload)
