"""The world outside a guest: a client that asks and is answered, and the eyes through which checkers look."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ftd.dataplane.events import LostReason
from tests.sim.checkers import Checkers, Checkpoint
from tests.sim.clockwork import MS, Clockwork
from tests.sim.history import History
from tests.sim.timeline import Timeline

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.standby import Standby

PATIENCE_US = 150 * MS
"""A client without an answer for that long tries the other host."""


class Outside:
    """A client with one request at a time, and everything that guests make visible."""

    def __init__(self, clockwork: Clockwork, timeline: Timeline, hosts: tuple[str, str]) -> None:
        self.timeline = timeline
        self.history = History()
        self.checkers = Checkers(self.history)
        self.guest_ended = False
        """The guest shut down, or somebody asked for that: it need not run, nor is it started anew."""
        self.on_seal: Callable[[], None] = lambda: None
        self.answered = 0
        """Requests that got their answer; the next one is this number."""
        self._clockwork = clockwork
        self._hosts = hosts
        self._connected_to = 0
        self._asked_us = 0

    # The client.

    def guest_step(self, machine: Machine) -> int:
        """The guest takes the client's request, if it reaches this host, and does something."""
        node = self.history.step(machine.node)
        waits_us = self._clockwork.now_us - self._asked_us
        if waits_us > PATIENCE_US:
            self._asked_us = self._clockwork.now_us
            self._connected_to = 1 - self._connected_to
        if self._hosts[self._connected_to] == machine.process.host.name:
            self.history.answers[node] = self.answered
        return node

    def see(self, machine: Machine, node: int) -> None:
        """Output leaves ``machine``."""
        self.timeline.detail(machine.label, "output {} is seen", node)
        self.checkers.seen(machine.label, machine.generation(), node)
        if self.history.answers.get(node) == self.answered:
            self.answered += 1
            self._asked_us = self._clockwork.now_us

    # What checkers are told.

    def sealed(self, machine: Machine, pair: int, epoch: int) -> None:
        """An epoch came into being."""
        self.timeline.detail(machine.label, "seals epoch {} at state {}", epoch, machine.node)
        self.on_seal()
        self.checkers.sealed(pair, epoch, Checkpoint(machine.node, tuple(machine.memory)))

    def arrived(self, pair: int, epoch: int) -> None:
        """A standby's kernel holds all of an epoch."""
        self.checkers.arrived(pair, epoch)

    def acknowledged(self, machine: Machine, pair: int, epoch: int) -> None:
        """The active side took an acknowledgement."""
        self.timeline.detail(machine.label, "epoch {} is acknowledged", epoch)
        self.checkers.acknowledged(pair, epoch)

    def activated(self, machine: Machine, standby: Standby) -> None:
        """A standby resumes the guest."""
        self.timeline.note(
            machine.label, "resumes the guest from epoch {}, state {}", standby.epoch, machine.node
        )
        resumed = Checkpoint(machine.node, tuple(machine.memory))
        self.checkers.activated(machine.label, standby.pair, standby.epoch, resumed)

    def peer_lost(self, machine: Machine, reason: LostReason) -> None:
        """A data plane takes its peer for lost."""
        side = machine.primary or machine.standby
        assert side is not None
        self.timeline.note(machine.label, "data plane lost its peer: {}", reason.name.lower())
        self.checkers.peer_lost(machine.label, side.pair, reason.name.lower())
