"""Which writes a database has acknowledged, and whether it still has them. No I/O."""

import hashlib
from dataclasses import dataclass, field
from typing import Final

KEY_PREFIX: Final = b"write:"


def key_of(number: int) -> bytes:
    """The key of a write."""
    return b"%s%d" % (KEY_PREFIX, number)


def value_of(number: int) -> bytes:
    """Its value: no two writes have the same."""
    return b"%d %s" % (number, hashlib.sha256(b"%d" % number).hexdigest().encode())


@dataclass
class WriteBook:
    """Numbered writes, each of a key of its own, from 1 on."""

    asked: int = 0
    acknowledged: set[int] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    """What the database said in place of an acknowledgement."""
    missing: list[int] = field(default_factory=list)
    """Acknowledged writes that the database does not have."""
    wrong: list[int] = field(default_factory=list)
    """Keys that have a value that was never written to them."""
    verified: int = 0

    @property
    def intact(self) -> bool:
        """Every acknowledged write was looked for, and found as it was written."""
        looked_at_all = self.verified >= len(self.acknowledged) > 0
        return looked_at_all and not (self.missing or self.wrong)

    def ask(self) -> int:
        """The number of the next write."""
        self.asked += 1
        return self.asked

    def acknowledge(self, number: int) -> None:
        """The database says that it keeps this write. Raises ValueError for one that was never asked for."""
        if not 0 < number <= self.asked:
            raise ValueError(f"an acknowledgement of write {number}, of {self.asked}")
        self.acknowledged.add(number)

    def look(self, number: int, value: bytes | None) -> None:
        """Takes what the database has under a write's key. One without an answer may be there or not."""
        self.verified += number in self.acknowledged
        if value is None:
            if number in self.acknowledged:
                self.missing.append(number)
        elif value != value_of(number):
            self.wrong.append(number)

    def begin_verification(self) -> None:
        """Forgets an earlier one."""
        self.missing, self.wrong, self.verified = [], [], 0

    def report(self) -> dict[str, int | bool | str]:
        """The book in plain figures."""
        return {
            "intact": self.intact,
            "asked": self.asked,
            "acknowledged": len(self.acknowledged),
            "verified": self.verified,
            "missing": len(self.missing),
            "wrong": len(self.wrong),
            "refused": self.refused[0] if self.refused else "",
        }
