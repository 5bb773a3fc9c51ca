"""Output needs a young echo, and whoever takes over waits until the other can have none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ftd.dataplane.events import Event, EventKind, LostReason
from tests.kvm.dataplane.pairs import Pair, Setup, wait_until
from tests.kvm.dataplane.relay import Relay, tcp_pair
from tests.kvm.dataplane.scenarios import ask, console_of

# The timeout is far beyond what a test takes; the watchdog is short, and an echo on a busy machine shorter.
WATCHFUL: Final = Setup(rate_hz=200, heartbeat_interval_ms=20, heartbeat_timeout_ms=30_000, watchdog_ms=1000)
OUTWAITED: Final = Setup(rate_hz=200, heartbeat_interval_ms=100, heartbeat_timeout_ms=3000)


@contextmanager
def beating_through(relay: Relay, setup: Setup, guest: str = "ledger") -> Iterator[Pair]:
    """A pair whose data goes straight and whose heartbeats go through the relay."""
    with relay:
        pair = Pair(setup, setup.booted(guest), tcp_pair(), beats=(relay.near, relay.far))
        try:
            yield pair
        finally:
            relay.unblock()
            pair.close()


def test_acknowledged_output_waits_for_an_echo() -> None:
    """Promise 4. Epochs are acknowledged all the time; the peer is heard; only the echoes do not come."""
    relay = Relay()
    with beating_through(relay, WATCHFUL) as pair:
        pair.wait_for(EventKind.PROTECTED)
        with console_of(pair.active) as client:
            assert ask(client, 1, "a").startswith("A 1 ")
            doubts = pair.active.counter("doubts")
            relay.block()
            wait_until(lambda: pair.active.counter("doubts") > doubts, "the watchdog has run out")
            released, acked = pair.active.counter("output_bytes_released"), pair.primary.acked
            produced = pair.active.counter("output_bytes_produced")
            client.sendall(b"R 2 b\n")
            wait_until(lambda: pair.active.counter("output_bytes_produced") > produced, "the guest answers")
            pair.wait_for_epochs(20)
            assert pair.primary.acked >= acked + 20
            assert pair.active.counter("output_bytes_released") == released
            relay.unblock()
            wait_until(
                lambda: pair.active.counter("output_bytes_released") > released, "a fresh echo lets it go"
            )
            assert ask(client, 3, "c").startswith("A 2 "), "nothing is lost, nothing overtakes"
        assert not {event.kind for event in pair.active.take_events()} & {EventKind.PEER_LOST}


def test_a_link_that_is_too_slow_is_not_entered() -> None:
    """No echo is ever young enough: the guest stays unprotected, instead of being held for ever."""
    setup = Setup(rate_hz=200, heartbeat_interval_ms=20, heartbeat_timeout_ms=30_000, watchdog_ms=25)
    relay = Relay(delay_s=0.3)
    with beating_through(relay, setup) as pair:
        wait_until(lambda: bool(find_loss(pair)), "the pair is given up")
        loss = find_loss(pair)[0]
        assert (loss.reason, loss.epoch) == (LostReason.SLOW, 0)
        assert loss.detail >= 300_000_000
        assert pair.active.counter("epochs_sealed") == 0
        pair.end(release_output=True, resume_guest=True)
        with console_of(pair.active) as client:
            assert ask(client, 1, "a").startswith("A 1 ")


def find_loss(pair: Pair) -> list[Event]:
    pair.news.extend(pair.active.take_events())
    return [event for event in pair.news if event.kind is EventKind.PEER_LOST]


def test_a_primary_that_hears_of_it_is_not_waited_for() -> None:
    """It shuts its gate, closes, and the standby may go on at once."""
    relay = Relay()
    with beating_through(relay, WATCHFUL) as pair:
        pair.wait_for(EventKind.PROTECTED)
        began_s = time.monotonic()
        pair.standby.stop()
        pair.standby.close()
        pair.standby.outwait()
        assert time.monotonic() - began_s < WATCHFUL.heartbeat_timeout_ms / 1000 / 2
        wait_until(lambda: bool(find_loss(pair)), "the primary knows")


def test_a_primary_that_does_not_hear_of_it_is_outwaited() -> None:
    """What it was told last entitles it to let output go until its watchdog runs out."""
    relay = Relay()
    with beating_through(relay, OUTWAITED) as pair:
        pair.wait_for(EventKind.PROTECTED)
        answered = pair.passive.counter("heartbeats_sent")
        wait_until(lambda: pair.passive.counter("heartbeats_sent") > answered + 4, "heartbeats are answered")
        relay.block()
        began_s = time.monotonic()
        pair.standby.stop()
        pair.standby.outwait()  # without close(): it is told nothing
        outwaited_s = time.monotonic() - began_s
        # The last answer was given at most an interval, and what a busy machine adds, before the stop.
        assert outwaited_s > OUTWAITED.heartbeat_timeout_ms / 1000 - 1
        assert pair.active.counter("doubts") > 0, "its watchdog has run out meanwhile"
