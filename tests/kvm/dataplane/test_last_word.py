"""What a standby says last on one connection is not overtaken by its end, which shows on the other."""

from __future__ import annotations

import threading
from typing import Final

from ftd.dataplane.core import LEAVE_ACK
from ftd.dataplane.events import EventKind
from tests.kvm.dataplane.pairs import Pair, Setup, wait_until
from tests.kvm.dataplane.relay import Relay

SETUP: Final = Setup(rate_hz=200, heartbeat_interval_ms=20, heartbeat_timeout_ms=20_000, watchdog_ms=10_000)
BEATS_MEANWHILE: Final = 5


def test_a_delayed_leave_ack_is_not_overtaken() -> None:
    with Relay() as relay:
        pair = Pair(SETUP, SETUP.booted("ledger"), (relay.far, relay.near))
        pair.wait_for(EventKind.PROTECTED)
        relay.block()  # what the standby says on the data connection is under way for long
        pair.primary.leave()
        pair.wait_for(EventKind.LEAVE, on_standby=True)
        pair.standby.stop()
        assert pair.standby.answer(LEAVE_ACK)
        parting = threading.Thread(target=part, args=(pair,))
        parting.start()
        sent = pair.active.counter("heartbeats_sent")
        wait_until(
            lambda: pair.active.counter("heartbeats_sent") > sent + BEATS_MEANWHILE or ended(pair),
            "the primary goes on beating",
        )
        relay.unblock()
        pair.wait_for(EventKind.LEAVE_ACKED)
        pair.end(release_output=True, resume_guest=True)
        parting.join()
        pair.close()


def part(pair: Pair) -> None:
    """As the decision core of a standby that was left: OUTWAIT, DROP."""
    pair.standby.outwait()
    pair.free_standby()


def ended(pair: Pair) -> bool:
    pair.news.extend(pair.active.take_events())
    return any(event.kind is EventKind.PEER_LOST for event in pair.news)
