"""Decisions of the copy that has the guest.

Promises, checked after each event apart from the table (``_check``):

- Output flows on its own only in idle, syncing, simplex and unconfirmed; it waits for acknowledgements in
sealed,   protected, probing and draining; elsewhere none flows. Held output is let go only on entering a
state in which   the standby cannot come to own the guest any more: alone, or stopped.
- After epoch 1 was sealed, the copy goes on alone only with a generation that it won, or after LEAVE_ACK.
- A claim is outstanding exactly in failing_over, taking_back, ending and unconfirmed; there is never more
than one.
- The generation never goes back, and forward one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ftd.replication import actions as act
from ftd.replication import events as ev
from ftd.replication.core import Core
from ftd.replication.sentences import refuse_on_active
from ftd.replication.standby import StandbyCore
from ftd.replication.states import (
    ACTIVE_ALONE,
    ACTIVE_ASKING,
    ACTIVE_FINAL,
    ACTIVE_OUTPUT,
    GUEST_RUNS,
    ActiveState,
    Output,
    StandbyState,
)
from ftd.replication.table import ACTIVE_TABLE, Do

_PLAIN: Final[dict[Do, act.Action]] = {
    Do.GATE: act.GateOutput(),
    Do.HOLD: act.HoldGuest(),
    Do.RELEASE_OUTPUT: act.ReleaseOutput(),
    Do.LEAVE: act.SendLeave(),
    Do.DRAIN: act.DrainGuest(),
    Do.HANDOVER: act.SendHandover(),
}


class ActiveCore(Core[ActiveState]):
    """The active side of VM ``vm``, which holds ``generation``.

    ``new_claim_id`` gives 16 random bytes for each claim; ``jitter_seed`` makes retries of two hosts differ.
    """

    table = ACTIVE_TABLE

    def __init__(
        self, *, vm: str, generation: int, new_claim_id: Callable[[], bytes], jitter_seed: int = 0
    ) -> None:
        super().__init__(
            ActiveState.IDLE,
            vm=vm,
            generation=generation,
            peer="",
            new_claim_id=new_claim_id,
            jitter_seed=jitter_seed,
        )
        self._alone = ActiveState.IDLE
        self._standby_may_own = False

    @classmethod
    def after_failover(
        cls, standby: StandbyCore, *, new_claim_id: Callable[[], bytes], jitter_seed: int = 0
    ) -> ActiveCore:
        """The core that goes on where a standby's core ended with Activate.

        A forced activation leaves its claim unanswered: this core inherits it, and the answers go to it.
        """
        if standby.state is not StandbyState.SIMPLEX:
            raise ValueError(f"the standby is {standby.state.value}, not activated")
        core = cls(
            vm=standby.vm, generation=standby.generation, new_claim_id=new_claim_id, jitter_seed=jitter_seed
        )
        core.claim = standby.claim
        core.state = ActiveState.SIMPLEX if standby.claim is None else ActiveState.UNCONFIRMED
        return core

    def _refuse(self, request: ev.Request) -> act.RequestError:
        return refuse_on_active(self.subject, self.state, request)

    def _outlook(self, next_state: ActiveState) -> str:
        if next_state in ACTIVE_ALONE:
            return "the guest runs here, unprotected"
        if next_state in ACTIVE_ASKING:
            return "the guest is held here until the arbiter answers"
        if next_state in GUEST_RUNS:
            return f"the guest runs here ({next_state.value})"
        return "the guest does not run here any more"

    def _note(self, event: ev.Event) -> None:
        match event:
            case ev.EnterRequested(peer=peer):
                if self.state in ACTIVE_ALONE:
                    self._alone = self.state
                    self.peer = peer
            case ev.FirstSealed():
                self._standby_may_own = True
            case ev.LeaveAcked() | ev.ClaimWon():
                self._standby_may_own = False

    def _back(self) -> ActiveState:
        return self._alone

    def _perform(self, verb: Do, event: ev.Event, next_state: ActiveState) -> list[act.Action]:
        if verb in _PLAIN:
            return [_PLAIN[verb]]
        match verb:
            case Do.START_SYNC:
                return [act.StartSync(self.peer, self.generation)]
            case Do.RESUME:
                self.peer = ""
                return [act.ResumeSimplex(self.generation)]
            case Do.RELEASE:
                return [act.ReleaseGeneration(self.generation)]
            case Do.SETTLE:
                # The peer is gone and the guest runs unprotected, which is all that a leave asks for.
                left = isinstance(self.pending, ev.LeaveRequested)
                return self._finish(None) if left else self._fail(event, next_state)
            case Do.END:
                return [act.StopForever(self._epitaph(event))]
        return super()._perform(verb, event, next_state)

    def _epitaph(self, event: ev.Event) -> str:
        match event:
            case ev.ClaimLost(generation, holder):
                return f"VM '{self.vm}': host {holder} won generation {generation}"
            case ev.GuestStopped(reason):
                return f"VM '{self.vm}': the guest stopped ({reason})"
            case ev.HandedOver():
                return f"VM '{self.vm}': switched over to {self.peer}"
        return f"VM '{self.vm}': stopped"

    def _check(self, actions: list[act.Action], generation_before: int) -> None:
        super()._check(actions, generation_before)
        self._expect(
            (self.claim is not None) == (self.state in ACTIVE_ASKING),
            "a claim is outstanding exactly while the arbiter is being asked",
        )
        alone = ACTIVE_OUTPUT[self.state] is Output.DIRECT
        self._expect(
            not (alone and self._standby_may_own),
            "output may not flow while the standby may come to own the guest",
        )
        lets_go = any(isinstance(action, act.ResumeSimplex | act.ReleaseOutput) for action in actions)
        self._expect(
            not lets_go or (not self._standby_may_own and (alone or self.state is ActiveState.STOPPED)),
            "held output may not be let go here",
        )
        done = self.state in ACTIVE_ALONE | ACTIVE_FINAL
        self._expect(not (done and self.pending), "a request was left unanswered")
