"""Decisions of the copy that waits.

Promises, checked after each event apart from the table (``_check``):

- It activates only with a complete first epoch, once, and with a generation that it won or that an operator
  swore to.
- It activates only after a primary that can let nothing out any more: one that has handed over, or that was
  outwaited. A won generation says who goes on, not that the other has noticed.
- A claim is outstanding exactly in failing_over, taking_over and forcing, and after a forced activation (the
  active core inherits it). There is never more than one.
- After a claim was sent, nothing is acknowledged and LEAVE is not answered: the claim may be recorded,
  whatever the arbiter's silence says, so there is no way back to standby.

A failover that an operator asks for therefore first *probes* the arbiter, which changes nothing: unreachable,
the request fails and the standby goes on as before. Only then does it stop acknowledging and claim. If the
arbiter falls silent in between, the request is answered with that, the claim goes on being repeated, and the
operator may still force it. Force means: acknowledge no more, ask the arbiter once; yes and no count, and
silence counts as yes. The claim then goes on being repeated by the active core: if another copy turns out to
have won the generation, this one is fenced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ftd.replication import actions as act
from ftd.replication import events as ev
from ftd.replication.core import Core
from ftd.replication.sentences import refuse_on_standby
from ftd.replication.states import STANDBY_ASKING, STANDBY_FINAL, StandbyState
from ftd.replication.table import STANDBY_TABLE, Do

_PLAIN: Final[dict[Do, act.Action]] = {
    Do.STOP_ACKS: act.StopAcknowledging(),
    Do.LEAVE_ACK: act.SendLeaveAck(),
    Do.HANDOVER_DONE: act.SendHandoverDone(),
    Do.OUTWAIT: act.OutwaitPrimary(),
}


class StandbyCore(Core[StandbyState]):
    """The standby side of VM ``vm``, whose primary on host ``peer`` holds ``generation``.

    ``new_claim_id`` gives 16 random bytes for each claim; ``jitter_seed`` makes retries of two hosts differ.
    """

    table = STANDBY_TABLE

    def __init__(
        self,
        *,
        vm: str,
        generation: int,
        peer: str,
        new_claim_id: Callable[[], bytes],
        jitter_seed: int = 0,
    ) -> None:
        super().__init__(
            StandbyState.STANDBY_SYNCING,
            vm=vm,
            generation=generation,
            peer=peer,
            new_claim_id=new_claim_id,
            jitter_seed=jitter_seed,
        )
        self._has_epoch = False
        self._won = False
        self._sworn = False
        self._claimed = False

    def _refuse(self, request: ev.Request) -> act.RequestError:
        return refuse_on_standby(self.subject, self.state, request)

    def _outlook(self, next_state: StandbyState) -> str:
        if next_state is StandbyState.STANDBY:
            return "nothing was changed; use --force only if the primary is surely dead"
        if next_state in STANDBY_ASKING:
            return "the arbiter goes on being asked; use --force only if the primary is surely dead"
        if next_state is StandbyState.SIMPLEX:
            return "the guest runs here"
        return "this copy was dropped"

    def _note(self, event: ev.Event) -> None:
        match event:
            case ev.FirstComplete():
                self._has_epoch = True
            case ev.ClaimWon():
                self._won = True
            case ev.FailoverForced():
                self._sworn = True

    def _perform(self, verb: Do, event: ev.Event, next_state: StandbyState) -> list[act.Action]:
        if verb in _PLAIN:
            return [_PLAIN[verb]]
        match verb:
            case Do.ACTIVATE:
                return [act.Activate(self.generation)]
            case Do.ACTIVATE_PLANNED:
                return [act.Activate(self.generation, planned=True)]
            case Do.ACTIVATE_FORCED:
                self.generation = self._outstanding().expected_generation + 1
                return [act.Activate(self.generation, forced=True)]
            case Do.DROP:
                return [act.DropImage(self._epitaph(event))]
            case Do.ASK:
                self._claimed = True
        return super()._perform(verb, event, next_state)

    def _epitaph(self, event: ev.Event) -> str:
        match event:
            case ev.ClaimLost(generation, holder):
                return f"VM '{self.vm}': host {holder} won generation {generation}"
            case ev.DiskFailed(reason):
                return (
                    f"VM '{self.vm}': the disk here failed ({reason}); see that it is well, then enter again"
                )
            case ev.Leave():
                return f"VM '{self.vm}': {self.peer} left protection"
            case ev.PeerLost(reason):
                return f"VM '{self.vm}': {self.peer} was lost before the first epoch was complete ({reason})"
        raise AssertionError(f"no image is dropped for {event!r}")

    def _check(self, actions: list[act.Action], generation_before: int) -> None:
        super()._check(actions, generation_before)
        activations = [action for action in actions if isinstance(action, act.Activate)]
        self._expect(
            len(activations) == (bool(actions) and self.state is StandbyState.SIMPLEX), "activates once"
        )
        for activation in activations:
            self._expect(self._has_epoch, "activates only with a complete first epoch")
            entitled = self._sworn if activation.forced else self._won
            self._expect(entitled, "activates only with a generation won, or an operator's word")
            before = actions[: actions.index(activation)]
            self._expect(
                activation.planned or act.OutwaitPrimary() in before, "activates only after the primary's end"
            )
        forced = any(activation.forced for activation in activations)
        asking = self.state in STANDBY_ASKING
        self._expect(
            (self.claim is not None) == (asking or forced) or not actions,
            "a claim is outstanding exactly while the arbiter is being asked",
        )
        acknowledges = any(isinstance(action, act.SendLeaveAck) for action in actions)
        self._expect(not (acknowledges and self._claimed), "LEAVE may not be acknowledged after a claim")
        self._expect(
            not self._claimed or asking or self.state in STANDBY_FINAL, "there is no way back from a claim"
        )
        self._expect(not (self.state in STANDBY_FINAL and self.pending), "a request was left unanswered")
