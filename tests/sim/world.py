"""One run: two hosts, what happens to them, and whether the promises held."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator

import msgspec

from ftd.arbiter.contract import Record
from ftd.errors import ControlError, ErrorKind
from ftd.protection.wishes import Wish
from ftd.replication.states import ActiveState
from tests.sim import production, trio_stand_in
from tests.sim.checkers import PromiseBroken
from tests.sim.clockwork import MS, SECOND, Clockwork
from tests.sim.daemons import Daemon
from tests.sim.disk import Disk, SimPath
from tests.sim.faults import Faults
from tests.sim.fencing import Fencing
from tests.sim.network import Network
from tests.sim.operators import Operators
from tests.sim.outside import Outside
from tests.sim.process import Host
from tests.sim.timeline import Timeline
from tests.sim.worker import Worker, make_spec

HOSTS = ("alpha", "beta")
RECOVERY_US = 8 * SECOND
"""Bound of "the guest runs again": the longest timeout, the arbiter's deadline, and the longest wait between
two tries of a claim, twice, because a second loss may follow the first."""
PROTECTED_AGAIN_US = 16 * SECOND
"""Bound of "and is protected again": all of the above, the longest wait between two tries, and one of them to
end a copy that stands in the way."""
TROUBLE_AT_TRANSITION = 0.12
"""How often something goes wrong, or is asked for, right after a copy has changed its state."""
WITHOUT_ARBITER = 0.15
"""Share of runs in which hosts turn each other off instead."""
LOOKS_QUIET = 7
"""A run is over when nothing was left open for as many looks."""
_LOOK_US = 100 * MS


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, *, detailed: bool = False) -> None:
        self.clockwork = Clockwork(seed)
        self.timeline = Timeline(self.clockwork, detailed=detailed)
        self.network = Network(self.clockwork)
        self.disk = Disk(self.clockwork)
        self.disk.crash = self.lose_power
        self.workers: list[Worker] = []
        self.hosts = tuple(Host(self.clockwork, self.network, name) for name in HOSTS)
        self.outside = Outside(self.clockwork, self.timeline, HOSTS)
        self.proved: Record | None = None
        """Without an arbiter: the claim that was won last."""
        without_arbiter = self.clockwork.random.random() < WITHOUT_ARBITER
        self.fencing = tuple(Fencing(self, host) for host in self.hosts) if without_arbiter else ()
        self.daemons = tuple(Daemon(self, host) for host in self.hosts)
        self.operators = Operators(self)
        self.faults = Faults(self)
        self.outside.checkers.newest_pair = lambda: self.network.connections
        self.outside.on_seal = self.faults.at_seal
        self.network.arrived = self.outside.arrived
        self.healed = False
        self.lost_for_good = ""
        """Why the guest cannot run any more though nothing was done wrong; empty while it can."""
        self._failure: BaseException | None = None
        random_ = self.clockwork.random
        self.timeout_ms = random_.choice((300, 500, 900))
        self._interval_ms = self.timeout_ms // random_.choice((3, 4, 6))
        self._rate_hz = random_.choice((10, 20, 30))

    # Workers.

    def start_active(self, host: Host) -> None:
        """As `vm start`."""
        daemon = self.daemon_of(host)
        daemon.wish = Wish.ENTERED if daemon.wish is Wish.ENTERED else None
        worker = self._make_worker(host, "active")
        worker.start_active()

    def make_standby(self, host: Host, primary: Worker, generation: int, token: bytes) -> Worker:
        """On ``host``, which has room: it waits for ``primary``."""
        standby = self._make_worker(host, "standby")
        standby.spec = msgspec.structs.replace(
            standby.spec, generation=generation, token=token, peer=primary.host.name
        )
        standby.start_standby()
        return standby

    def _make_worker(self, host: Host, role: str) -> Worker:
        spec = make_spec(
            host.name, role, timeout_ms=self.timeout_ms, interval_ms=self._interval_ms, rate_hz=self._rate_hz
        )
        fencing = self.fencing[self.hosts.index(host)] if self.fencing else None
        number = len(self.workers) + 1
        worker = Worker(host, self.disk, self.outside, spec, number, self._program_failed, fencing)
        self.workers.append(worker)
        return worker

    def has_room(self, host: Host) -> bool:
        """A host runs one copy at a time; what has ended is cleared away."""
        return (
            host.up and not host.frozen and not any(w.host is host and w.process.alive for w in self.workers)
        )

    def other(self, host: Host) -> Host:
        """The peer."""
        return self.hosts[1 - self.hosts.index(host)]

    def daemon_of(self, host: Host) -> Daemon:
        """The ftd of that host."""
        return self.daemons[self.hosts.index(host)]

    def pick(self, wanted: Callable[[Worker], bool]) -> Worker | None:
        """One of the workers that are ``wanted``; None: there is none."""
        found = [worker for worker in self.workers if wanted(worker)]
        return self.clockwork.random.choice(found) if found else None

    def holder(self) -> str:
        """Whom the arbiter's record names; empty: nobody."""
        record = self._record()
        return "" if record is None else record.holder

    def generation(self) -> int:
        """The newest that was handed out."""
        record = self._record()
        return 0 if record is None else record.generation

    def record_name(self) -> str:
        """The arbiter's file; empty: there is none yet."""
        return next((name for name in self.disk.files if name.endswith(".json")), "")

    def _record(self) -> Record | None:
        """As it would read if nobody had damaged it."""
        if self.proved is not None:
            return self.proved
        name = self.record_name()
        raw = self.disk.damaged.get(name) or self.disk.files.get(name)
        if raw is None:
            return None
        whole = Disk(self.clockwork)
        whole.files[name] = raw
        with contextlib.suppress(production.record_file.DamagedRecord):
            record: Record | None = production.record_file.read(
                SimPath(whole, name), name.removesuffix(".json")
            )
            return record
        return None

    def record_seen_by(self, host: Host) -> Record | None:
        """What the arbiter answers there. Raises ControlError: nothing."""
        if self.fencing or host.name in self.disk.unreachable or self.disk.damaged or self.disk.failing:
            raise ControlError(ErrorKind.ARBITER, "the arbiter does not answer")
        return self._record()

    def _program_failed(self, error: BaseException) -> None:
        # `vm start` where the arbiter refuses it is an answer, and the end of that process.
        process = trio_stand_in.current_process()
        self.clockwork.after(1, process.end)
        if not isinstance(error, ControlError):
            self._failure = self._failure or error
        else:
            self.timeline.note(process.label, "not started: {}", error.message)

    # What happens to them.

    def disturb(self, what: str) -> None:
        """From here on a loss of the peer has a cause."""
        del what
        self.outside.checkers.disturbance_began()
        self.outside.checkers.disturbance_ended()

    def kill(self, worker: Worker, *, power_lost: bool = False) -> None:
        """A worker's process ends at once."""
        if not worker.process.alive:
            return
        self.disturb("kill")
        lives = worker.lives
        worker.process.end(power_lost=power_lost)
        if lives and not self._has_heir(worker):
            self.lost_for_good = f"{worker.label} was killed, and nobody else could go on"

    def end_stale(self, worker: Worker) -> None:
        """A daemon ends a copy whose generation is over. Nobody may miss it: it excuses nothing."""
        self.timeline.note(worker.label, "is ended: a stale copy")
        worker.process.end()

    def lose_power(self, host: Host) -> None:
        """A host and all on it is gone."""
        self.timeline.note(host.name, "loses power")
        host.up = False
        self.disk.power_lost(host)
        self.daemon_of(host).power_lost()
        for worker in self.workers:
            if worker.host is host:
                self.kill(worker, power_lost=True)

    def power_on(self, host: Host) -> None:
        """The host is back, without anything that it ran."""
        if host.up:
            return
        self.timeline.note(host.name, "is back")
        host.up = True
        for worker in self.workers:
            if worker.host is host:
                for socket in worker.process.sockets:
                    socket.answer_after_power_loss()

    def _has_heir(self, killed: Worker) -> bool:
        """Whether a copy lives that can go on without the one that was killed just now."""
        if not killed.machine.runs and not killed.epoch:
            return True  # nothing of the guest was there
        return any(self._can_go_on(worker, killed) for worker in self.workers if worker.lives)

    def _can_go_on(self, worker: Worker, killed: Worker) -> bool:
        record = self._record()
        if record is None:
            return True  # damaged for good: that is no excuse for anybody
        if record.generation > worker.copy.core.generation and record.holder == killed.host.name:
            return False  # killed after it had won
        if worker.is_active and worker.machine.runs:
            return True
        let_go = killed.machine.primary is not None and killed.machine.primary.said_farewell
        return bool(worker.epoch) and worker.pair == killed.pair and not let_go

    # The run.

    def at_transition(self, state: object) -> None:
        """A copy has just changed its state: what goes wrong now meets it between two steps."""
        random_ = self.clockwork.random
        if self.healed or random_.random() > TROUBLE_AT_TRANSITION:
            return
        if state == ActiveState.SYNCING.value and random_.random() < 0.5:
            self.faults.busy_at_leave()
            return
        begin = self.operators.do_something if random_.random() < 0.4 else self.faults.begin_one
        self.clockwork.after(random_.randrange(3 * MS), begin)

    def run(self) -> None:
        """All of it. Raises PromiseBroken, or what the production code raised and nobody handled."""
        random_ = self.clockwork.random
        self.start_active(self.hosts[0])
        trouble_us = random_.randrange(SECOND, 12 * SECOND)
        self.clockwork.after(random_.randrange(20 * MS, 200 * MS), self.operators.enter)
        for _ in range(random_.randrange(10)):
            self.clockwork.after(random_.randrange(150 * MS, trouble_us), self.operators.do_something)
        for _ in range(random_.randrange(14)):
            self.clockwork.after(random_.randrange(100 * MS, trouble_us), self.faults.begin_one)
        self.clockwork.after(500 * MS, self._want_protection)
        self._run_for(trouble_us)
        self.timeline.note("world", "nothing goes wrong any more")
        self.healed = True
        self.faults.heal()
        self._settle()

    def _want_protection(self) -> None:
        """Whoever left protection regrets it soon: else little could go wrong."""
        if not self.healed:
            self.operators.enter_if_unwanted()
            self.clockwork.after(self.clockwork.random.randrange(100 * MS, SECOND), self._want_protection)

    def _run_for(self, duration_us: int) -> None:
        self.clockwork.run(self.clockwork.now_us + duration_us)
        if isinstance(self._failure, PromiseBroken):
            raise self._failure
        if self._failure is not None:
            raise self._failure

    def _settle(self) -> None:
        healed_us = self.clockwork.now_us
        answered = self.outside.answered
        quiet = 0
        while quiet < LOOKS_QUIET:
            self._run_for(_LOOK_US)
            ends = self._open_ends(answered)
            bare = [daemon.host.name for daemon in self.daemons if daemon.wants_protection]
            quiet = 0 if ends or bare else quiet + 1
            if ends and self.clockwork.now_us > healed_us + RECOVERY_US:
                raise PromiseBroken("; ".join(ends))
            if bare and self.clockwork.now_us > healed_us + PROTECTED_AGAIN_US:
                raise PromiseBroken(f"the guest on {bare} is to be protected, and is not")

    def _open_ends(self, answered_before: int) -> list[str]:
        """What must not be so for long once nothing goes wrong any more."""
        running = [worker.label for worker in self.workers if worker.runs_guest]
        ends = [f"{asked} got no answer" for asked in self.operators.unanswered()]
        ends += [f"{worker.label} still asks the arbiter" for worker in self.workers if worker.asks]
        if overtaken := [w.label for w in self.workers if w.runs_guest and w.generation < self.generation()]:
            ends.append(f"{overtaken} run the guest, but the arbiter has given it to {self.holder()}")
        ends += [f"{w.label} is {w.state()} and does not end" for w in self.workers if w.should_have_ended]
        if len(running) > 1:
            ends.append(f"{running} run the guest at once")
        excused = self.outside.guest_ended or self.lost_for_good
        if not running and not excused:
            ends.append("nobody runs the guest")
        if self.outside.answered == answered_before and not excused:
            ends.append("the client gets no answers")
        return ends

    def describe(self) -> list[str]:
        """How everything stands at the end, for people."""
        states = [f"{worker.label}: {worker.state()}" for worker in self.workers]
        return [*states, f"arbiter: {self._record()}", f"{self.outside.answered} requests answered"]


@contextlib.contextmanager
def world_of(seed: int, *, detailed: bool = False) -> Iterator[World]:
    """A world whose production modules are set up for it, and given back afterwards."""
    production.begin_run(random.Random(seed + 1))
    world = World(seed, detailed=detailed)
    production.logger.timeline = world.timeline
    production.logger.on_transition = world.at_transition
    try:
        yield world
    finally:
        for worker in world.workers:
            worker.process.end(power_lost=True)
        production.end_run()
