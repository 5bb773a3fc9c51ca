"""Operators and the daemons that serve them: what is asked of workers, at any time, sensible or not."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftd.errors import ControlError
from ftd.protection.wishes import Wish
from ftd.protocol.control import FailoverWorkerParams, Nothing
from ftd.replication.states import ACTIVE_ALONE
from tests.sim import trio_stand_in as trio
from tests.sim.clockwork import MS
from tests.sim.worker import Worker

if TYPE_CHECKING:
    from tests.sim.world import World

Request = Callable[[], Coroutine[Any, Any, object]]
_RPC_S = 0.003


@dataclass
class Asked:
    """A request and what became of it."""

    what: str
    worker: Worker
    answer: str | None = None


class Operators:
    """They see what `ftctl status` shows, and are wrong now and then."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked: list[Asked] = []

    def do_something(self) -> None:
        """One request."""
        random = self._world.clockwork.random
        choices: list[Callable[[], None]] = [self.enter] * 8 + [self.switchover] * 4 + [self.leave] * 3
        choices += [self.contradict] * 3
        choices += [self.failover] * 4 + [self.failover_forced] * 3 + [self.start_where_it_was] * 2
        if random.random() < 0.04:
            choices = [self.stop]
        random.choice(choices)()

    def _ask(self, what: str, worker: Worker, request: Request) -> None:
        asked = Asked(what, worker)
        self.asked.append(asked)
        self._world.timeline.note(worker.label, "operator: {}", what)
        trio.start(self._await(asked, request), worker.process)

    async def _await(self, asked: Asked, request: Request) -> None:
        await trio.sleep(_RPC_S)
        try:
            await request()
            asked.answer = "done"
        except ControlError as error:
            asked.answer = error.message
        self._world.timeline.note(asked.worker.label, "answer to {}: {}", asked.what, asked.answer)

    def _active(self) -> Worker | None:
        return self._world.pick(lambda worker: worker.is_active)

    def _standby(self) -> Worker | None:
        return self._world.pick(lambda worker: worker.lives and not worker.is_active)

    def enter(self) -> None:
        """Protects the guest with the other host, from now on."""
        if worker := self._active():
            self._ask("enter", worker, lambda: self._enter(worker))

    def enter_if_unwanted(self) -> None:
        """Where protection was left, and the guest runs alone."""
        worker = self._active()
        if worker is None or worker.copy.core.state not in ACTIVE_ALONE:
            return
        if self._world.daemon_of(worker.host).wish is None:
            self._ask("enter", worker, lambda: self._enter(worker))

    async def _enter(self, worker: Worker) -> None:
        """As Operations.enter."""
        daemon = self._world.daemon_of(worker.host)
        if daemon.busy or not daemon.runs:
            return
        before, daemon.wish, daemon.busy = daemon.wish, Wish.ENTERED, True
        try:
            await daemon.enter(worker, wanted=True)
        except ControlError:
            if before is None:
                daemon.wish = None
            raise
        finally:
            daemon.busy = False

    def leave(self) -> None:
        """Ends protection, and that it is wanted."""
        if worker := self._active():
            self._world.disturb("leave")
            self._ask("leave", worker, lambda: self._leave(worker))

    async def _leave(self, worker: Worker) -> None:
        """As Operations.leave."""
        daemon = self._world.daemon_of(worker.host)
        if daemon.runs:
            daemon.wish = None
            daemon.stand_back()
        await worker.service._leave(Nothing())

    def switchover(self) -> None:
        """Moves the guest."""
        if worker := self._active():
            self._world.disturb("switchover")
            self._ask("switchover", worker, lambda: worker.service._switchover(Nothing()))

    def failover(self) -> None:
        """Takes the guest over, if the arbiter agrees."""
        if worker := self._standby():
            self._world.disturb("failover")
            self._ask("failover", worker, lambda: worker.service._failover(FailoverWorkerParams(force=False)))

    def contradict(self) -> None:
        """Two operators at once, one on each host."""
        random = self._world.clockwork.random
        self.failover()
        other = random.choice((self.leave, self.switchover))
        self._world.clockwork.after(random.randrange(8 * MS), other)

    def failover_forced(self) -> None:
        """Takes it over on the operator's word: this operator has made sure that the primary is dead, and did
        not win a generation before it died."""
        worker = self._standby()
        if worker is None or any(other.lives for other in self._world.workers if other is not worker):
            return
        if self._world.generation() == worker.copy.core.generation:
            force = FailoverWorkerParams(force=True)
            self._ask("failover --force", worker, lambda: worker.service._failover(force))

    def stop(self) -> None:
        """Ends the guest."""
        if worker := self._active():
            self._world.outside.guest_ended = True
            self._world.disturb("stop")
            self._ask("vm stop", worker, lambda: worker.service._stop(Nothing()))

    def start_where_it_was(self) -> None:
        """Somebody starts the VM on a host that has lost it: the arbiter must refuse."""
        if self._world.fencing:
            return  # its daemon asks the other host first
        for host in self._world.hosts:
            if self._world.holder() not in ("", host.name) and self._world.has_room(host):
                self._world.timeline.note(host.name, "operator: vm start")
                self._world.start_active(host)
                return

    def unanswered(self) -> list[str]:
        """Requests of workers that still live."""
        return [
            f"{asked.what} on {asked.worker.label}"
            for asked in self.asked
            if asked.answer is None and asked.worker.process.alive
        ]
