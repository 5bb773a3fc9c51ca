"""What a client of the chain service knows, and what every byte that comes must therefore be. No I/O.

The service (`lab/guest/inside/chain.c`) answers line n of a connection with `n H(n)`, where H(n) covers all
lines up to n. So the account knows the whole stream of answers beforehand, and judges each line.
"""

from dataclasses import dataclass, field

from ftd.drill.chain import Chain


@dataclass
class ChainAccount:
    """One connection, from its first byte on. Times are the caller's clock, in seconds."""

    chain: Chain = field(default_factory=Chain)
    answered: int = 0
    """Answers that came in their place."""
    lost_bytes: int = 0
    """Of answers that were left out."""
    repeated_bytes: int = 0
    """Of answers that had come already."""
    wrong_bytes: int = 0
    """Of lines that losing and repeating answers does not explain: a request was lost, repeated or undone."""
    latencies_s: list[float] = field(default_factory=list)
    blackout_s: float = 0.0
    """The longest time without an answer while one was due."""
    broken: str = ""
    """Why the connection ended, if it did before the client wanted."""
    _asked_s: list[float] = field(default_factory=list)
    _silent_since_s: float = 0.0
    _partial: bytes = b""

    @property
    def asked(self) -> int:
        """Requests so far."""
        return self.chain.last

    @property
    def outstanding(self) -> int:
        """Requests that have no answer yet."""
        return self.asked - self.answered

    @property
    def intact(self) -> bool:
        """No byte was lost, repeated or wrong, the connection held, and every request was answered."""
        damage = self.lost_bytes or self.repeated_bytes or self.wrong_bytes
        return not (damage or self.broken or self.outstanding or self._partial)

    def silence_s(self, now_s: float) -> float:
        """For how long an answer has been due without any coming; 0 when none is due."""
        return now_s - self._silent_since_s if self.outstanding else 0.0

    def ask(self, payload: bytes, now_s: float) -> bytes:
        """The bytes of the next request. Raises ValueError for a payload that the service refuses."""
        if not self.outstanding:
            self._silent_since_s = now_s
        self.chain.append(payload)
        self._asked_s.append(now_s)
        return payload + b"\n"

    def receive(self, data: bytes, now_s: float) -> None:
        """Takes bytes as they come, in pieces of any size."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._judge(line, now_s)

    def forget_blackouts(self) -> None:
        """Those that have ended; one that goes on counts from its beginning."""
        self.blackout_s = 0.0

    def close(self, now_s: float, why: str = "") -> None:
        """The end; `why` if the client did not want it. A blackout that goes on counts as long as it was."""
        self.blackout_s = max(self.blackout_s, self.silence_s(now_s))
        self.broken = why

    def report(self) -> dict[str, float | int | str | bool]:
        """The account in plain figures."""
        return {
            "intact": self.intact,
            "asked": self.asked,
            "answered": self.answered,
            "lost_bytes": self.lost_bytes,
            "repeated_bytes": self.repeated_bytes,
            "wrong_bytes": self.wrong_bytes,
            "blackout_ms": round(self.blackout_s * 1000, 2),
            "broken": self.broken,
        }

    def _judge(self, line: bytes, now_s: float) -> None:
        number = self._number_of(line)
        if number is None:
            self.wrong_bytes += len(line) + 1
        elif number <= self.answered:
            self.repeated_bytes += len(line) + 1
        else:
            for left_out in range(self.answered + 1, number):
                self.lost_bytes += len(self._answer(left_out))
            self.blackout_s = max(self.blackout_s, self.silence_s(now_s))
            self._silent_since_s = now_s
            self.latencies_s.append(now_s - self._asked_s[number - 1])
            self.answered = number

    def _number_of(self, line: bytes) -> int | None:
        """Which answer this is, byte for byte; None when it is none of them."""
        digits = line.partition(b" ")[0]
        if not digits.isdigit() or len(digits) > 20:
            return None
        number = int(digits)
        if not 0 < number <= self.asked or self._answer(number) != line + b"\n":
            return None
        return number

    def _answer(self, number: int) -> bytes:
        return b"%d %016x\n" % (number, self.chain.hash_of(number))
