"""The daemons' part: a wish on each host's disk, standbys made for the peer, guests protected again.

When to try is decided by the production's `protection/pursuit`, which copies may be ended for a new standby
by its `protection/stale`. What asks and answers is a model of `keeper`, `entering`, `standbys` and
`stale_copies`. A request may be late, by more than whoever sent it waits for the answer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftd.errors import ControlError, ErrorKind
from ftd.protection import stale
from ftd.protection.pursuit import Facts, Pursuits
from ftd.protection.wishes import Wish
from ftd.protocol.control import EnterWorkerParams, Nothing
from ftd.replication.states import StandbyState
from ftd.vm_states import UNPROTECTED_STATES
from ftd.worker.status import shown_state
from tests.sim import trio_stand_in as trio
from tests.sim.clockwork import MS, SECOND
from tests.sim.process import Host
from tests.sim.worker import VM, Worker

if TYPE_CHECKING:
    from tests.sim.world import World

_RPC_S = 0.003
_LATE = 0.08
"""Share of requests that come after their sender has given up."""


@dataclass(frozen=True)
class Prepare:
    """What one daemon asks of the other."""

    primary: Worker
    generation: int
    token: bytes
    wanted: bool


class Daemon:
    """The daemon of one host. It lives as long as its host; only its wish outlives a loss of power."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self.host = host
        self.wish: Wish | None = None
        self.busy = False
        self._trying: Worker | None = None
        self._prepared: Worker | None = None
        self._pursuits = Pursuits(random.Random(world.clockwork.random.random()))
        world.clockwork.after(world.clockwork.random.randrange(300 * MS), self._look_again)

    def power_lost(self) -> None:
        """All but the disk is gone."""
        self.busy, self._trying, self._prepared = False, None, None
        self._pursuits = Pursuits(random.Random(self._world.clockwork.random.random()))

    @property
    def runs(self) -> bool:
        """It can do something now."""
        return self.host.up and not self.host.frozen

    @property
    def wants_protection(self) -> bool:
        """Of a guest that runs here."""
        return self.wish is not None and self._alone() is not None

    # Keeping up protection.

    def _look_again(self) -> None:
        self._world.clockwork.after(
            self._world.clockwork.random.randrange(200 * MS, 400 * MS), self._look_again
        )
        if self.runs:
            self._look()

    def _alone(self) -> Worker | None:
        """The copy here that runs the guest unprotected, and answers."""
        for worker in self._world.workers:
            if worker.host is self.host and worker.is_active and worker.answers:
                return worker if shown_state(worker.copy.core.state) in UNPROTECTED_STATES else None
        return None

    def _look(self) -> None:
        if self._trying is not None and not self._trying.process.alive:
            self._trying, self.busy = None, False
            self._pursuits.given_up(VM)
        worker = self._alone()
        if worker is None or self.wish is None:
            self._pursuits.forget(VM)
            return
        self.wish = Wish.ENTERED
        facts = Facts(candidates=(self._world.other(self.host).name,), runs_alone=True, busy=self.busy)
        host = self._pursuits.next_host(VM, facts, self._world.clockwork.now_us / SECOND)
        if host is not None:
            self._pursuits.begun(VM, host)
            self.busy, self._trying = True, worker
            self._world.timeline.note(self.host.name, "protects {} again by itself", worker.label)
            trio.start(self._try(worker), worker.process)

    async def _try(self, worker: Worker) -> None:
        try:
            await self.enter(worker, wanted=True)
        except ControlError as error:
            away, now_s = error.kind is ErrorKind.PEER_UNREACHABLE, self._world.clockwork.now_us / SECOND
            if self._trying is worker:
                self._pursuits.failed(VM, error.message, now_s, away=away)
        else:
            if self._trying is worker:
                self._pursuits.succeeded(VM)
        if self._trying is worker:
            self._trying, self.busy = None, False

    def stand_back(self) -> None:
        """An operator wants something else than what is being tried."""
        if self._trying is not None:
            self._trying, self.busy = None, False
            self._pursuits.given_up(VM)
            self.undo()

    # Entering.

    async def enter(self, worker: Worker, *, wanted: bool) -> None:
        """As Entering. Raises ControlError."""
        if shown_state(worker.copy.core.state) not in UNPROTECTED_STATES:
            raise ControlError(ErrorKind.WRONG_STATE, "runs not alone")
        token = self._world.clockwork.random.randbytes(16)
        request = Prepare(worker, worker.generation, token, wanted)
        await trio.sleep(_RPC_S)
        standby = self._send(request)
        await trio.sleep(_RPC_S)
        self._prepared = standby
        params = EnterWorkerParams(
            peer=standby.host.name, address=standby.host.name, port=standby.number, token=token
        )
        try:
            await worker.service._enter(params)
        except ControlError:
            self.undo()
            raise

    def _send(self, request: Prepare) -> Worker:
        world = self._world
        peer = world.daemon_of(world.other(self.host))
        if world.clockwork.random.random() < _LATE:
            delay_us = world.clockwork.random.randrange(100 * MS, 4 * SECOND)
            world.clockwork.after(delay_us, lambda: peer.take_late(request))
            raise ControlError(ErrorKind.PEER_UNREACHABLE, "no answer in time")
        if not peer.runs or world.network.cut.get((self.host.name, peer.host.name, "data")):
            raise ControlError(ErrorKind.PEER_UNREACHABLE, "no connection")
        return peer.prepare(request)

    def undo(self) -> None:
        """As Standbys.discard: only what never was complete."""
        standby, self._prepared = self._prepared, None
        if standby is not None and standby.lives and standby.copy.core.state is StandbyState.STANDBY_SYNCING:
            trio.start(self._stop_quietly(standby), standby.process)

    async def _stop_quietly(self, standby: Worker) -> None:
        try:
            await standby.service._stop(Nothing())
        except ControlError as error:
            self._world.timeline.note(standby.label, "not discarded: {}", error.message)

    # Standbys for the peer.

    def take_late(self, request: Prepare) -> None:
        """Nobody waits for the answer any more."""
        if self.runs:
            self._world.timeline.note(self.host.name, "a late request of generation {}", request.generation)
            try:
                self.prepare(request)
            except ControlError as error:
                self._world.timeline.note(self.host.name, "refused: {}", error.message)

    def prepare(self, request: Prepare) -> Worker:
        """As Standbys.prepare. Raises ControlError."""
        for worker in self._world.workers:
            if worker.host is self.host and worker.process.alive:
                self._clear(worker, request)
        self.wish = Wish.STANDBY if request.wanted else None
        return self._world.make_standby(self.host, request.primary, request.generation, request.token)

    def _clear(self, worker: Worker, request: Prepare) -> None:
        """As StaleCopies."""
        if worker.copy is None:
            raise ControlError(ErrorKind.WRONG_STATE, "a worker starts here")
        asked = stale.Asked(request.primary.host.name, request.generation)
        copy = self._describe(worker)
        record = self._world.record_seen_by(self.host) if stale.needs_record(copy, asked) else None
        match stale.judge(copy, asked, record):
            case stale.Verdict.CLEAR:
                worker.process.end()
            case stale.Verdict.STOP:
                trio.start(self._stop_quietly(worker), worker.process)
                raise ControlError(ErrorKind.REFUSED, "an incomplete standby is being stopped")
            case stale.Verdict.END:
                self._world.end_stale(worker)
            case stale.Verdict.KEEP:
                raise ControlError(ErrorKind.REFUSED, f"{worker.label} is {worker.state()}")

    @staticmethod
    def _describe(worker: Worker) -> stale.CopyHere:
        if not worker.answers:
            return stale.CopyHere(None, worker.spec.generation, worker.spec.peer)
        primary = None if worker.is_active else worker.spec.peer
        paired = worker.machine.standby is not None
        return stale.CopyHere(shown_state(worker.copy.core.state), worker.generation, primary, paired)
