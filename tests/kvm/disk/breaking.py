"""``python -m tests.kvm.disk.breaking SCENARIO FOLDER``: a disk breaks, by broken_disk.c, preloaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from ftd.dataplane.events import EventKind, LostReason
from tests.kvm.cycle.machines import Joined, until
from tests.kvm.disk.scribblers import Scribbling, counter, scribbling, wrong_units

SWITCH: Final = Path(os.environ.get("FTD_BROKEN_SWITCH", "/nonexistent"))


def more(pair: Joined, requests: int = 200) -> None:
    goal = counter(pair.active, 0) + requests
    until(lambda: counter(pair.active, 0) >= goal or counter(pair.active, 1) > 0, "the guest goes on")
    assert not counter(pair.active, 1), "the disk is not as it was left"


def failed(pair: Joined, how: str, count: int = 20) -> None:
    """Requests of the guest fail, and go well again afterwards."""
    goal = counter(pair.active, 5) + count
    SWITCH.write_text(how)
    until(lambda: counter(pair.active, 5) >= goal or counter(pair.active, 1) > 0, f"requests fail: {how}")
    SWITCH.unlink()
    more(pair)


def guest_is_told(pair: Joined, setup: Scribbling) -> None:
    """The active side's disk: the guest gets errors, protected or not, and both copies stay alike."""
    more(pair)
    failed(pair, "write 5")
    pair.protect()
    for how in ("write 5", "write 28", "short", "read 5", "flush 5"):
        failed(pair, how)
    pair.drain()
    pair.active.kill()
    active, waiting = setup.image("active").read_bytes(), setup.image("waiting").read_bytes()
    assert wrong_units(pair.waiting, setup.image("waiting"), setup) == []
    known_equal = [
        at for at in range(0, len(active), 4096) if active[at : at + 4096] != waiting[at : at + 4096]
    ]
    # What was executed after the last epoch, and is executed again: a request a slot at most.
    assert len(known_equal) <= setup.depth, known_equal


def unreadable_at_enter(pair: Joined, setup: Scribbling) -> None:
    """A block that cannot be read ends the first synchronisation; the guest goes on alone."""
    more(pair)
    SWITCH.write_text("read 5")
    lost = begin(pair)
    SWITCH.unlink()
    assert (lost.reason, lost.detail, lost.epoch) == (LostReason.DISK_HERE, 5, 0)
    more(pair)


def standby_breaks(pair: Joined, setup: Scribbling, how: str, detail: int) -> None:
    """The standby says why, has nothing to activate from, and the primary hears of it."""
    more(pair)
    pair.protect()
    SWITCH.write_text(how)
    told = pair.expect(pair.waiting, EventKind.DISK_FAILED)
    lost = pair.expect(pair.active, EventKind.PEER_LOST)
    assert told.detail == detail
    assert (lost.reason, lost.detail) == (LostReason.DISK_THERE, detail)
    assert pair.standby is not None
    pair.standby.stop()
    assert pair.standby.state() == b"", (
        "an image that lacks a part of what was acknowledged must not be activated"
    )


def begin(pair: Joined):  # type: ignore[no-untyped-def]
    pair.start()
    return pair.expect(pair.active, EventKind.PEER_LOST)


def main(scenario: str, folder: Path) -> None:
    setup = Scribbling(folder=folder, units=64)
    with scribbling(setup) as pair:
        match scenario:
            case "guest-is-told":
                guest_is_told(pair, setup)
            case "unreadable-at-enter":
                unreadable_at_enter(pair, setup)
            case "standby-write":
                standby_breaks(pair, setup, "write 5", 5)
            case "standby-short":
                standby_breaks(pair, setup, "short", 5)
            case "standby-flush":
                standby_breaks(pair, setup, "flush 5", 5)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
