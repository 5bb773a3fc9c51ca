"""Two hosts, an arbiter and a network in miniature, to let the two cores loose on each other.

The model stands in for the data plane, the network and the arbiter; decisions are the production cores'.
Every choice (what happens next, what gets lost) comes from outside, so a run is a list of choices.

A guest is the list of what it did: each step appends an item that was never there before. What left the host
is ``seen``. The checkers know only promises of the design: nothing seen is undone, one active copy, whole
epochs.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator

from ftd.replication import actions as act
from ftd.replication import events as ev
from ftd.replication.active import ActiveCore
from ftd.replication.epochs import EpochAccount, OutputGate
from ftd.replication.standby import StandbyCore
from ftd.replication.states import Output
from tests.unit.replication.replication_copies import (
    VM,
    Copy,
    Item,
    Link,
    Message,
    ModelArbiter,
    Move,
    PromiseBroken,
)


class World:
    """Hosts alpha and beta; the guest begins on alpha, unprotected."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        self.troubles_left = choose(8)
        self.arbiter = ModelArbiter()
        self.copies: list[Copy] = []
        self.seen: set[Item] = set()
        self.unanswered: set[int] = set()
        self.killed: Copy | None = None
        self.heir: Copy | None = None
        self.guest_ended = False
        self.stop_asked = False
        self._items = itertools.count()
        self._requests = itertools.count()
        self._claims = itertools.count()
        first = Copy("alpha", ActiveCore(vm=VM, generation=1, new_claim_id=self._new_claim_id))
        first.running, first.output = True, Output.DIRECT
        self.copies.append(first)

    def _new_claim_id(self) -> bytes:
        return next(self._claims).to_bytes(16, "big")

    # What can happen next.

    def moves(self) -> list[Move]:
        """Everything that can happen now; likelier things stand there several times."""
        moves: list[Move] = []
        for copy in self.copies:
            if copy.ended:
                continue
            if copy.frozen:
                moves.append(("thaw", lambda copy=copy: setattr(copy, "frozen", False)))  # type: ignore[misc]
                continue
            for name, weight, act_on in self._moves_of(copy):
                moves += [(f"{copy.host} {name}", lambda copy=copy, do=act_on: do(copy))] * weight  # type: ignore[misc]
        return moves

    def _moves_of(self, copy: Copy) -> Iterator[tuple[str, int, Callable[[Copy], None]]]:
        if copy.inbox:
            yield "handles an event", 6, self.handle_event
        if copy.running:
            yield "guest steps", 2, self.guest_step
            yield "guest ends", 1, self.guest_ends
        if copy.syncing and copy.running:
            yield "seals epoch 1", 4, self.seal_first
        if copy.output is Output.GATED and copy.account.can_seal and (copy.running or copy.final_seal_due):
            yield "seals", 3, self.seal
        if copy.sealed and not copy.lost_peer:
            yield "sends", 6, self.send_epoch
        if copy.link and copy.incoming and not copy.lost_peer:
            yield "receives", 6, self.receive
        if copy.link and not copy.lost_peer and not copy.link.open:
            yield "sees that its peer is gone", 3, self.lose_peer
        if copy.ask:
            yield "is answered", 4, self.arbiter_answers
        if copy.probing:
            yield "probe answered", 4, self.probe_answered
        if len(self.unanswered) < 3:
            yield "is asked for something", 1, self.request
        if self.troubles_left:
            yield "gets into trouble", 1, self.trouble

    # The guest and the data plane.

    def guest_step(self, copy: Copy) -> None:
        item = next(self._items)
        copy.history += (item,)
        if copy.output is Output.DIRECT:
            self.see(copy, [item])
        else:
            copy.gate.hold(copy.account.sealed + 1, item)

    def guest_ends(self, copy: Copy) -> None:
        # Rare among rare things, so that most runs get further.
        if self.choose(8) == 0:
            copy.running = False
            self.guest_ended = True
            copy.inbox.append(ev.GuestStopped("shut down"))

    def seal_first(self, copy: Copy) -> None:
        copy.syncing = False
        copy.output = Output.GATED
        copy.inbox.append(ev.FirstSealed())
        self.seal(copy)

    def seal(self, copy: Copy) -> None:
        copy.final_seal_due = False
        copy.sealed.append(Message("EPOCH", copy.account.seal(), copy.history))

    def send_epoch(self, copy: Copy) -> None:
        copy.account.send()
        copy.send(copy.sealed.popleft())

    def receive(self, copy: Copy) -> None:
        message = copy.incoming.popleft()
        match message.kind:
            case "EPOCH":
                self._receive_epoch(copy, message)
            case "ACK":
                self._receive_ack(copy, message)
            case "LEAVE":
                copy.inbox.append(ev.Leave())
            case "LEAVE_ACK":
                copy.inbox.append(ev.LeaveAcked())
            case "HANDOVER":
                copy.inbox.append(ev.Handover())
            case "HANDOVER_DONE":
                copy.inbox.append(ev.HandedOver())

    def _receive_epoch(self, copy: Copy, message: Message) -> None:
        copy.epoch, copy.image = message.epoch, message.image
        if message.epoch == 1:
            copy.inbox.append(ev.FirstComplete())
        if copy.acknowledges:
            copy.send(Message("ACK", message.epoch))

    def _receive_ack(self, copy: Copy, message: Message) -> None:
        if message.epoch == 1:
            copy.inbox.append(ev.Protected())
        copy.account.acknowledge(message.epoch)
        if copy.output is Output.GATED:
            self.see(copy, copy.gate.release(copy.account.released))
        self._report_drained(copy)

    def _report_drained(self, copy: Copy) -> None:
        if copy.draining and not copy.final_seal_due and copy.account.acknowledged == copy.account.sealed:
            copy.draining = False
            copy.inbox.append(ev.Drained())

    def lose_peer(self, copy: Copy) -> None:
        """Silence, a reset, a close: the data plane stops everything, then reports."""
        assert copy.link is not None
        copy.link.cut(self.choose(3))
        copy.acknowledges = False
        if not copy.is_active:
            while copy.incoming:
                self.receive(copy)
        was_running = copy.running
        copy.running = copy.syncing = False
        if copy.output in (Output.DIRECT, Output.GATED):
            copy.output = Output.HELD
        copy.lost_peer = True
        copy.inbox.append(ev.PeerLost("silent"))
        if was_running:
            # A vCPU may reach its end before it sees that it is to stop.
            self.guest_ends(copy)

    def trouble(self, copy: Copy) -> None:
        """One thing that goes wrong. A run has a few, so that most of it can get somewhere."""
        troubles = [self.freeze]
        if copy.link and copy.link.open and not copy.lost_peer:
            troubles += [self.lose_peer] * 3
        if copy.ask:
            troubles += [self.arbiter_silent, self.arbiter_answer_lost] * 2
        if copy.probing:
            troubles += [self.probe_failed]
        if self.killed is None and len(self.copies) > 1:
            troubles += [self.kill]
        self.troubles_left -= 1
        troubles[self.choose(len(troubles))](copy)

    def freeze(self, copy: Copy) -> None:
        copy.frozen = True

    def kill(self, copy: Copy) -> None:
        self.killed = copy
        self._end(copy)
        self.heir = next((other for other in self.copies if self._is_heir(other, copy)), None)

    def _is_heir(self, copy: Copy, killed: Copy) -> bool:
        """Whether ``copy`` has, or has received, all that it takes to go on for a killed peer."""
        if copy.ended or copy.link is None or copy.link is not killed.link:
            return False
        received = {message.kind for message in copy.link.to_standby}
        let_go = "LEAVE" in received or ev.Leave() in copy.inbox
        return copy.is_active or ((copy.epoch > 0 or "EPOCH" in received) and not let_go)

    def _end(self, copy: Copy) -> None:
        copy.ended, copy.running, copy.output = True, False, Output.NONE
        copy.ask, copy.probing = None, False
        if copy.link:
            copy.link.cut(self.choose(3))
        # With the worker gone, whoever waits for it is told so by the control plane.
        waiting = [copy.core.pending, *copy.inbox]
        self.unanswered -= {event.request for event in waiting if isinstance(event, ev.Request)}

    # The arbiter and operators.

    def arbiter_answers(self, copy: Copy) -> None:
        assert copy.ask is not None
        ask, copy.ask = copy.ask, None
        copy.inbox.append(self.arbiter.claim(ask, copy.host))

    def arbiter_silent(self, copy: Copy) -> None:
        copy.ask = None
        copy.inbox.append(ev.ArbiterUnreachable("timed out"))

    def arbiter_answer_lost(self, copy: Copy) -> None:
        assert copy.ask is not None
        self.arbiter.claim(copy.ask, copy.host)
        self.arbiter_silent(copy)

    def probe_answered(self, copy: Copy) -> None:
        copy.probing = False
        copy.inbox.append(ev.ProbeAnswered())

    def probe_failed(self, copy: Copy) -> None:
        copy.probing = False
        copy.inbox.append(ev.ProbeFailed("timed out"))

    def request(self, copy: Copy) -> None:
        number = next(self._requests)
        peer = "beta" if copy.host == "alpha" else "alpha"
        requests: list[ev.Request] = [
            ev.EnterRequested(number, peer),
            ev.SwitchoverRequested(number),
            ev.LeaveRequested(number),
            ev.FailoverRequested(number),
        ]
        # Half of what operators ask for makes sense.
        if self.choose(2) and not copy.is_active:
            requests = [ev.FailoverRequested(number)]
        elif self.choose(2) and copy.link is None:
            requests = [ev.EnterRequested(number, peer)]
        if self.choose(20) == 0:
            requests = [ev.StopRequested(number)]
            self.stop_asked = True
        self.unanswered.add(number)
        copy.inbox.append(requests[self.choose(len(requests))])

    # Decisions, carried out.

    def handle_event(self, copy: Copy) -> None:
        event = copy.inbox.popleft()
        if isinstance(event, ev.EnterRequested) and any(
            c.host == event.peer and not c.ended for c in self.copies
        ):
            self.unanswered.remove(event.request)  # no room for a standby there: the control plane says so
            return
        for action in copy.core.handle(event):
            self.carry_out(copy, action)

    def carry_out(self, copy: Copy, action: act.Action) -> None:
        match action:
            case act.FinishRequest(request):
                if request not in self.unanswered:
                    raise PromiseBroken(f"request {request} was answered twice")
                self.unanswered.remove(request)
            case act.AskArbiter():
                if copy.ask is not None:
                    raise PromiseBroken("two claims are outstanding")
                copy.ask = action
                copy.claim_ids.append(action.claim_id)
            case act.ProbeArbiter():
                copy.probing = True
            case act.ReleaseGeneration() | act.GateOutput():
                pass
            case act.StopForever() | act.DropImage():
                self._end(copy)
            case act.CloseConnections():
                assert copy.link is not None
                copy.link.cut(self.choose(3))
            case act.Activate():
                self._activate(copy)
            case act.StopAcknowledging():
                copy.acknowledges = False
            case act.SendLeaveAck():
                copy.send(Message("LEAVE_ACK"))
            case act.SendHandoverDone():
                # The core is the active one's by now; the link is still the standby's.
                assert copy.link is not None
                if copy.link.open:
                    copy.link.to_active.append(Message("HANDOVER_DONE"))
            case _:
                self._carry_out_active(copy, action)

    def _carry_out_active(self, copy: Copy, action: act.Action) -> None:
        match action:
            case act.StartSync(peer):
                self._start_sync(copy, peer)
            case act.HoldGuest():
                copy.running = False
                copy.output = Output.HELD
            case act.ResumeSimplex():
                if copy.link:
                    copy.link.cut(self.choose(3))
                copy.link, copy.syncing = None, False
                copy.running, copy.output = True, Output.DIRECT
                self.see(copy, copy.gate.release_all())
            case act.ReleaseOutput():
                self.see(copy, copy.gate.release_all())
            case act.SendLeave():
                copy.syncing, copy.output = False, Output.HELD
                copy.sealed.clear()
                copy.send(Message("LEAVE"))
            case act.DrainGuest():
                copy.running, copy.draining, copy.final_seal_due = False, True, True
            case act.SendHandover():
                copy.output = Output.NONE
                copy.send(Message("HANDOVER"))
            case _:
                raise AssertionError(f"the model does not know {action}")

    def _start_sync(self, copy: Copy, peer: str) -> None:
        link = Link()
        copy.link, copy.syncing, copy.lost_peer = link, True, False
        copy.account, copy.gate, copy.sealed = EpochAccount(3), OutputGate(), deque()
        copy.draining = copy.final_seal_due = False
        of_a_pair = (ev.PeerLost, ev.Leave, ev.Handover)
        copy.inbox = deque(event for event in copy.inbox if not isinstance(event, of_a_pair))
        core = StandbyCore(
            vm=VM, generation=copy.core.generation, peer=copy.host, new_claim_id=self._new_claim_id
        )
        self.copies.append(Copy(peer, core, link=link))

    def _activate(self, copy: Copy) -> None:
        if copy.epoch < 1:
            raise PromiseBroken("a copy activated without a complete epoch")
        assert isinstance(copy.core, StandbyCore)
        copy.core = ActiveCore.after_failover(copy.core, new_claim_id=self._new_claim_id)
        copy.history, copy.running, copy.output = copy.image, True, Output.DIRECT
        copy.lost_peer = True
        if undone := self.seen - set(copy.history):
            raise PromiseBroken(f"a copy activated that undoes items {sorted(undone)}, which were seen")
        self.check_one_active_copy()

    # The checkers.

    def see(self, source: Copy, items: list[Item]) -> None:
        """Items leave the host of ``source``."""
        self.seen.update(items)
        for copy in self.copies:
            if copy.output is Output.DIRECT and (undone := set(items) - set(copy.history)):
                raise PromiseBroken(f"{source.host} let go {sorted(undone)}, which {copy.host} undoes")
        self.check_one_active_copy()

    def check_one_active_copy(self) -> None:
        """At most one copy may let output go on its own account."""
        active = [copy for copy in self.copies if copy.running and copy.output is Output.DIRECT]
        if len(active) > 1:
            raise PromiseBroken(f"{[copy.host for copy in active]} are both active")

    # What must become of it all when nothing fails any more.

    def heal(self) -> None:
        """Everything that is alive gets time, the arbiter answers, nothing is lost any more."""
        for copy in self.copies:
            copy.frozen = False
        while self._heal_step():
            pass

    def _heal_step(self) -> bool:
        for copy in self.copies:
            if copy.ended:
                continue
            waiting: list[tuple[object, Callable[[Copy], None]]] = [
                (copy.inbox, self.handle_event),
                (copy.link and copy.incoming and not copy.lost_peer, self.receive),
                (copy.syncing and copy.running, self.seal_first),
                (copy.final_seal_due and copy.account.can_seal and not copy.lost_peer, self.seal),
                (copy.sealed and not copy.lost_peer, self.send_epoch),
                (copy.ask, self.arbiter_answers),
                (copy.probing, self.probe_answered),
                (copy.link and not copy.link.open and not copy.lost_peer, self.lose_peer),
            ]
            for due, move in waiting:
                if due:
                    move(copy)
                    return True
        return False

    def check_outcome(self) -> None:
        """After ``heal``: every request was answered, and the guest runs once, unless there is a reason."""
        if self.unanswered:
            raise PromiseBroken(f"requests {sorted(self.unanswered)} were never answered")
        running = [copy for copy in self.copies if copy.running]
        if len(running) > 1 or (not running and not self._excused()):
            states = [
                (copy.host, copy.core.state.value, "ended" if copy.ended else "alive") for copy in self.copies
            ]
            raise PromiseBroken(f"{len(running)} copies run the guest: {states}")

    def _excused(self) -> bool:
        if self.guest_ended or self.stop_asked:
            return True
        if self.killed is None:
            return False
        # Killed after it had won, or before anyone else could have gone on: two faults, or no protection yet.
        return self.heir is None or self.arbiter.claim_id in self.killed.claim_ids
