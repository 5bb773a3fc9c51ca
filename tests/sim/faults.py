"""What goes wrong: each kind of fault, when it begins and how it ends.

A fault that may make one side lose the other is a *disturbance*, and says so; the others must never cause a
failover. Where the line lies follows from the heartbeat timeout alone.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tests.sim.clockwork import MS, SECOND
from tests.sim.network import CHANNELS, End, Flow, Way
from tests.sim.worker import Worker

if TYPE_CHECKING:
    from tests.sim.world import World

CLAIM_STEPS = ("locked", "written", "synced", "renamed", "durable")


class Faults:
    """Begins them, and ends all that still last."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lasting: dict[int, Callable[[], None]] = {}
        self._begun = 0
        self._begin_at_seal: Callable[[], None] | None = None
        self._kinds: list[tuple[int, Callable[[], None]]] = [
            (4, self.kill_active),
            (2, self.kill_standby),
            (4, self.power_loss),
            (7, self.freeze_long),
            (2, self.freeze_short),
            (3, self.busy_interpreter),
            (2, self.busy_at_leave),
            (4, self.cut),
            (2, self.one_way_cut),
            (2, self.cut_data_only),
            (2, self.slow_data),
            (2, self.slow_heartbeats),
            (6, self.slow_link_and_failover),
            (2, self.flap),
            (4, self.corrupt),
            (1, self.truncate),
            (2, self.replay),
            (1, self.path_error),
            (4, self.arbiter_unreachable),
            (4, self.arbiter_slow),
            (2, self.arbiter_fails),
            (2, self.arbiter_damaged),
            (3, self.power_loss_in_claim),
            (2, self.set_time),
            (1, self.guest_ends),
        ]

    def begin_one(self) -> None:
        """Any of them."""
        random = self._world.clockwork.random
        kinds = [begin for _, begin in self._kinds]
        (begin,) = random.choices(kinds, [weight for weight, _ in self._kinds])
        # A long stop that finds nothing under way tells little: it waits for an epoch.
        if random.random() < 0.35 or begin == self.freeze_long:
            self._begin_at_seal = begin
        else:
            begin()

    def at_seal(self) -> None:
        """An epoch was sealed: some faults wait for that, to meet it on its way."""
        begin, self._begin_at_seal = self._begin_at_seal, None
        if begin is not None:
            self._world.clockwork.after(self._duration(0, 2), partial(self._unless_healed, begin))

    def heal(self) -> None:
        """Everything that still lasts ends; hosts come back."""
        for number in list(self._lasting):
            self._end(number)
        for host in self._world.hosts:
            host.crash_at_step = ""
            self._world.power_on(host)
        self._world.disk.come_back()

    def _last(self, duration_us: int, end: Callable[[], None], *, disturbs: bool) -> None:
        """What was begun just now ends after ``duration_us``, or at the end of all trouble."""
        checkers = self._world.outside.checkers
        if disturbs:
            checkers.disturbance_began()
        self._begun += 1
        number = self._begun

        def finish() -> None:
            end()
            if disturbs:
                checkers.disturbance_ended()

        self._lasting[number] = finish
        self._world.clockwork.after(duration_us, lambda: self._end(number))

    def _end(self, number: int) -> None:
        if end := self._lasting.pop(number, None):
            end()

    def _note(self, where: str, text: str, *values: object) -> None:
        self._world.timeline.note(where, "FAULT: " + text, *values)

    def _duration(self, from_ms: int, to_ms: int) -> int:
        return self._world.clockwork.random.randrange(from_ms * MS, to_ms * MS)

    @property
    def _harmless_us(self) -> int:
        """A silence of that length is never taken for a death."""
        return self._world.timeout_ms * MS // 4

    # Hosts and processes.

    def kill_active(self) -> None:
        """SIGKILL to the worker that has the guest."""
        self._kill(self._world.pick(lambda worker: worker.is_active))

    def kill_standby(self) -> None:
        """SIGKILL to a worker that waits."""
        self._kill(self._world.pick(lambda worker: worker.lives and not worker.is_active))

    def _kill(self, worker: Worker | None) -> None:
        if worker is not None:
            self._note(worker.label, "is killed")
            self._world.kill(worker)

    def power_loss(self) -> None:
        """A host dies; it comes back with nothing."""
        host = self._world.clockwork.random.choice(self._world.hosts)
        if host.up:
            self._note(host.name, "power loss")
            self._world.lose_power(host)
            self._last(self._duration(300, 3000), partial(self._world.power_on, host), disturbs=True)

    def power_loss_in_claim(self) -> None:
        """A host dies in the middle of its next claim, after its peer was lost."""
        random = self._world.clockwork.random
        host = random.choice(self._world.hosts)
        host.crash_at_step = random.choice(CLAIM_STEPS)
        self._note(host.name, "will lose power in its next claim: {}", host.crash_at_step)
        if random.random() < 0.7:
            random.choice((self.cut, self.path_error))()

    def freeze_long(self) -> None:
        """Longer than its peer waits."""
        self._freeze(self._world.timeout_ms * MS + self._duration(20, 1500), disturbs=True)

    def freeze_short(self) -> None:
        """Too short to be noticed."""
        self._freeze(self._duration(5, max(6, self._harmless_us // MS)), disturbs=False)

    def _freeze(self, duration_us: int, *, disturbs: bool) -> None:
        worker = self._world.pick(lambda worker: worker.lives)
        if worker is None:
            return
        process, host = worker.process, worker.host
        whole_host = self._world.clockwork.random.random() < 0.4
        self._note(
            worker.label, "{} stands still for {} ms", "host" if whole_host else "process", duration_us // MS
        )
        process.stop()
        host.frozen = host.frozen or whole_host

        def thaw() -> None:
            self._world.timeline.note(worker.label, "goes on")
            process.go_on()
            if whole_host:
                host.frozen = False
                self._world.network.release()

        self._last(duration_us, thaw, disturbs=disturbs)

    def busy_interpreter(self) -> None:
        """No Python runs; heartbeats, acknowledgements and gate must go on."""
        worker = self._world.pick(lambda worker: worker.lives)
        if worker is not None:
            self._hold_interpreter(worker, self._duration(200, 4000))

    def _hold_interpreter(self, worker: Worker, duration_us: int) -> None:
        self._note(worker.label, "interpreter busy for {} ms", duration_us // MS)
        worker.process.hold_interpreter()
        self._last(duration_us, worker.process.free_interpreter, disturbs=False)

    def busy_at_leave(self) -> None:
        """An interpreter that is busy for a moment hears of a leave and of its data plane's news at once."""
        worker = self._world.pick(lambda worker: worker.is_active)
        if worker is not None:
            self._hold_interpreter(worker, self._duration(2, 30))
            self._world.operators.leave()

    def set_time(self) -> None:
        """Somebody sets a host's clock."""
        random = self._world.clockwork.random
        host = random.choice(self._world.hosts)
        jump_us = random.choice((-3600, -10, 10, 3600)) * SECOND
        self._note(host.name, "time of day jumps by {} s", jump_us // SECOND)
        host.wall_offset_us += jump_us

    def guest_ends(self) -> None:
        """The guest shuts down by itself."""
        worker = self._world.pick(lambda worker: worker.runs_guest)
        if worker is not None and self._world.clockwork.random.random() < 0.3:
            self._note(worker.label, "guest shuts down")
            self._world.outside.guest_ended = True
            self._world.disturb("guest ended")
            worker.machine.end_by_itself()

    # The network.

    def _ways(self, channels: tuple[str, ...] = CHANNELS) -> list[Way]:
        names = [host.name for host in self._world.hosts]
        if self._world.clockwork.random.random() < 0.5:
            names.reverse()
        there, back = (names[0], names[1]), (names[1], names[0])
        return [(*way, channel) for way in (there, back) for channel in channels]

    def _cut(self, ways: list[Way], duration_us: int, *, disturbs: bool) -> None:
        network = self._world.network
        self._note("network", "cut for {} ms: {}", duration_us // MS, ways)
        for way in ways:
            network.set_cut(way, 1)

        def heal() -> None:
            self._world.timeline.note("network", "healed: {}", ways)
            for way in ways:
                network.set_cut(way, -1)

        self._last(duration_us, heal, disturbs=disturbs)

    def cut(self) -> None:
        """Both ways, everything."""
        self._cut(self._ways(), self._duration(self._world.timeout_ms // 2, 3000), disturbs=True)

    def one_way_cut(self) -> None:
        """One way only."""
        ways = self._ways()[: len(CHANNELS)]
        self._cut(ways, self._duration(self._world.timeout_ms // 2, 3000), disturbs=True)

    def cut_data_only(self) -> None:
        """One way or both, with heartbeats still passing: no reason to fail over, however long."""
        ways = self._ways(("data",))[: self._world.clockwork.random.randrange(1, 3)]
        self._cut(ways, self._duration(100, 5000), disturbs=False)

    def flap(self) -> None:
        """Several short cuts, none of which is long enough to be taken for a death."""
        gap_us = 2 * self._harmless_us + 60 * MS
        for number in range(self._world.clockwork.random.randrange(2, 5)):
            ways = self._ways()[: self._world.clockwork.random.choice((len(CHANNELS), 2 * len(CHANNELS)))]
            begin = partial(self._cut, ways, self._harmless_us, disturbs=False)
            self._world.clockwork.after(number * gap_us, partial(self._unless_healed, begin))

    def _unless_healed(self, begin: Callable[[], None]) -> None:
        if not self._world.healed:
            begin()

    def slow_data(self) -> None:
        """Up to 5 s of delay, with heartbeats still passing."""
        self._delay(self._ways(("data",)), self._duration(50, 5000), disturbs=False)

    def slow_heartbeats(self) -> None:
        """A little, which changes nothing, or more than the timeout."""
        long = self._world.clockwork.random.random() < 0.4
        added_us = self._harmless_us if not long else self._world.timeout_ms * MS + self._duration(1, 1000)
        self._delay(self._ways(), added_us, disturbs=long)

    def slow_link_and_failover(self) -> None:
        """A standby gives up on a primary that lives, on an operator's word or for a refused frame, while
        acknowledgements and echoes are on their way: for less than the watchdog's time, or for longer."""
        random = self._world.clockwork.random
        timeout_us = self._world.timeout_ms * MS
        ways = self._ways() if random.random() < 0.5 else self._ways()[: len(CHANNELS)]
        give_up = self._world.operators.failover if random.random() < 0.7 else self.corrupt
        # A delay that grows by less than the timeout at a time is never silence, however long it becomes.
        steps = random.choice((1, 1, 1, 4))
        for step in range(steps):
            added_us = timeout_us // 2 if steps > 1 else random.randrange(timeout_us // 20, timeout_us)
            slow = partial(self._delay, ways, added_us, disturbs=added_us > self._harmless_us)
            self._world.clockwork.after(step * timeout_us, partial(self._unless_healed, slow))
        given_up_us = steps * timeout_us + random.randrange(timeout_us)
        self._world.clockwork.after(given_up_us, partial(self._unless_healed, give_up))

    def _delay(self, ways: list[Way], added_us: int, *, disturbs: bool) -> None:
        delay_us = self._world.network.delay_us
        self._note("network", "{} ms more delay: {}", added_us // MS, ways)
        for way in ways:
            delay_us[way] = delay_us.get(way, 0) + added_us

        def heal() -> None:
            for way in ways:
                delay_us[way] -= added_us

        self._last(self._duration(300, 5000), heal, disturbs=disturbs)

    def _flow(self) -> Flow | None:
        flows = [flow for flow in self._world.network.flows if not flow.finished]
        return self._world.clockwork.random.choice(flows) if flows else None

    def _mangle(self, what: str, mangle: Callable[[bytes], list[bytes]], flow: Flow | None = None) -> None:
        if flow := flow or self._flow():
            self._note("network", "{} on {}", what, flow.way)
            flow.mangle = mangle
            self._last(2 * SECOND, partial(setattr, flow, "mangle", None), disturbs=True)

    def corrupt(self) -> None:
        """One bit changes and no checksum of the network's notices."""
        random = self._world.clockwork.random

        def flip(data: bytes) -> list[bytes]:
            at = random.randrange(len(data))
            return [data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]]

        self._mangle("a bit flips", flip)

    def truncate(self) -> None:
        """A connection breaks in the middle of a frame."""
        flow = self._flow()
        if flow is None:
            return

        def break_off() -> None:
            flow.target.fail(End.RESET)
            flow.target.peer.fail(End.RESET)

        def first_half(data: bytes) -> list[bytes]:
            self._world.clockwork.after(self._duration(1, 200), break_off)
            return [data[: len(data) // 2]]

        self._mangle("half a frame", first_half, flow)

    def replay(self) -> None:
        """Something is sent a second time: the same bytes again, or a frame of an earlier pair."""
        network = self._world.network
        flows = [flow for flow in network.flows if not flow.finished and flow.way[2] == "data"]
        if not network.has_earlier_frames() or not flows:
            self._mangle("a repetition", lambda data: [data, data])
            return
        # Both ways of the newest data connection; only EPOCHs have something that could follow them.
        for flow in flows[-2:]:
            self._mangle("a replay", lambda data: [data, network.earlier_frame(data) or b""], flow)

    def path_error(self) -> None:
        """One end is told that the path is broken."""
        flow = self._flow()
        if flow is not None:
            self._note(flow.target.host.name, "path error on the {} connection", flow.way[2])
            self._world.disturb("path error")
            flow.target.fail(End.PATH)

    # The arbiter.

    def _some_hosts(self) -> list[str]:
        names = [host.name for host in self._world.hosts]
        return (
            names
            if self._world.clockwork.random.random() < 0.4
            else [self._world.clockwork.random.choice(names)]
        )

    def arbiter_unreachable(self) -> None:
        """For one host, which is then the minority, or for both."""
        names, disk = self._some_hosts(), self._world.disk
        self._note("arbiter", "out of reach of {}", names)
        disk.unreachable.update(dict.fromkeys(names))
        self._last(self._duration(200, 3000), disk.come_back, disturbs=False)
        self._often_with_a_loss()

    def arbiter_slow(self) -> None:
        """Answers come late, or too late."""
        names, disk = self._some_hosts(), self._world.disk
        self._note("arbiter", "slow for {}", names)
        disk.slow_us.update(dict.fromkeys(names, self._duration(50, 900)))
        self._last(self._duration(300, 3000), disk.come_back, disturbs=False)
        self._often_with_a_loss()

    def arbiter_fails(self) -> None:
        """Its disk is full, or gives errors."""
        disk = self._world.disk
        disk.failing = self._world.clockwork.random.choice((errno.EIO, errno.ENOSPC))
        self._note("arbiter", "{}", errno.errorcode[disk.failing])
        self._last(self._duration(300, 3000), disk.come_back, disturbs=False)
        self._often_with_a_loss()

    def arbiter_damaged(self) -> None:
        """Its record is not what was written, until somebody restores it."""
        disk = self._world.disk
        if disk.damaged or not self._world.holder():
            return
        self._note("arbiter", "record is damaged")
        disk.damage(self._world.record_name())
        self._last(self._duration(300, 2000), disk.restore, disturbs=False)
        self._often_with_a_loss()

    def _often_with_a_loss(self) -> None:
        """An arbiter in trouble matters only when it is asked."""
        random = self._world.clockwork.random
        if random.random() < 0.5:
            loss = random.choice((self.cut, self.kill_active, self.kill_standby, self.path_error))
            self._world.clockwork.after(self._duration(5, 200), partial(self._unless_healed, loss))
