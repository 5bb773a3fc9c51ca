"""What becomes of the copy that a host still has when the holder of the VM asks it for a standby.

A copy here may be an old primary that was frozen, one that waits for an arbiter which it cannot reach, or a
standby of an earlier pair. It may also be the only whole copy beside the holder's, and the request a late
one. So two things are told apart, and everything else is left alone:

- A standby to which no primary has come can never activate, and whoever asked for it has lost sight of it:
  it may be replaced. With a pair it is left alone, though it has no complete epoch yet: it becomes complete
  at any moment, or notices by itself that its primary is lost.
- A copy of an *earlier* generation than the one that the arbiter has given to the host that asks can never
  win again: its claim would be for a generation that is given away, and generations are not given twice.
  That stays true whenever the arbiter's answer is read, so it does not matter that the answer may be
  outdated, nor that the request may be late. Such a copy is ended, whatever it does, also one that does not
  answer.

A copy of the same generation is never ended: that is what a good standby of the holder looks like.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ftd.arbiter.contract import Record
from ftd.vm_states import ENDED_STATES


class Verdict(enum.Enum):
    """What to do with the copy."""

    CLEAR = "it has ended: clear it away"
    STOP = "nobody came to it: ask it to end"
    END = "its generation is over: end it"
    KEEP = "it may own the guest, or come to own it"


@dataclass(frozen=True)
class CopyHere:
    """The copy, as far as it is known. ``state`` None: it does not answer."""

    state: str | None
    generation: int
    """As it says; of a silent one, the generation that it was started for (0: not known), which is no later
    than what it has now, and earlier than any that another host has won since."""
    primary: str | None
    """Standby: the host that it was started for."""
    paired: bool = False
    """It has a connection to its peer, or had one."""


@dataclass(frozen=True)
class Asked:
    """Who asks for a standby, and in which generation."""

    host: str
    generation: int


def needs_record(copy: CopyHere, asked: Asked) -> bool:
    """Whether the verdict depends on what the arbiter has recorded."""
    return judge(copy, asked, Record("", asked.generation, asked.host, b"")) is Verdict.END


def judge(copy: CopyHere, asked: Asked, record: Record | None) -> Verdict:
    """``record``: what the arbiter says of the VM; None: nothing is recorded, or was not asked."""
    if copy.state in ENDED_STATES:
        return Verdict.CLEAR
    if copy.state == "standby_syncing" and not copy.paired and copy.primary == asked.host:
        return Verdict.STOP
    given = record is not None and (record.generation, record.holder) == (asked.generation, asked.host)
    return Verdict.END if given and copy.generation < asked.generation else Verdict.KEEP
