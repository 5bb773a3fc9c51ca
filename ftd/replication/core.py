"""What both cores share: one step through the table, the claim, the request in hand, and the checks after
each step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Generic

from ftd.replication import events as ev
from ftd.replication.actions import (
    Action,
    CloseConnections,
    FinishRequest,
    ProbeArbiter,
    RequestError,
)
from ftd.replication.claim import Claim
from ftd.replication.sentences import Subject, failure
from ftd.replication.table import Do, Row, S, Table


class LocalProtocolError(Exception):
    """An event came that its state does not list: this program, not the peer, is at fault."""


class InvariantBroken(AssertionError):
    """A transition would have broken a promise; its actions must not be carried out."""


class Core(Generic[S]):
    """A copy's decisions. ``handle`` takes one event and returns the actions to carry out, in order.

    An exception from ``handle`` means that nothing it might have decided may be done: the worker stops guest
    and output.
    """

    table: Table[S]

    def __init__(
        self,
        state: S,
        *,
        vm: str,
        generation: int,
        peer: str,
        new_claim_id: Callable[[], bytes],
        jitter_seed: int,
    ) -> None:
        self.state: S = state
        self.vm = vm
        self.generation = generation
        self.peer = peer
        self.claim: Claim | None = None
        self.pending: ev.Request | None = None
        self._new_claim_id = new_claim_id
        self._jitter = random.Random(jitter_seed)

    @property
    def subject(self) -> Subject:
        """What sentences about this copy speak of."""
        return Subject(self.vm, self.generation, self.peer)

    def handle(self, event: ev.Event) -> list[Action]:
        """Take one event. Raises LocalProtocolError for one that cannot come now, InvariantBroken if the
        table is wrong."""
        row: Row[S] | None = self.table.get((self.state, type(event)))
        if row is None:
            if isinstance(event, ev.Request):
                return [FinishRequest(event.request, self._refuse(event))]
            raise LocalProtocolError(
                f"VM '{self.vm}': {type(event).__name__} cannot come in state {self.state.value}"
            )
        generation_before = self.generation
        self._note(event)
        next_state = self._back() if row.next is None else row.next
        actions = [action for verb in row.do for action in self._perform(verb, event, next_state)]
        self.state = next_state
        self._check(actions, generation_before)
        return actions

    def _refuse(self, request: ev.Request) -> RequestError:
        """Why this request is not taken in this state."""
        raise NotImplementedError

    def _outlook(self, next_state: S) -> str:
        """How the VM fares in the state that a failed request leads to."""
        raise NotImplementedError

    def _note(self, event: ev.Event) -> None:
        """Remember facts that the checks need, apart from what the table makes of them."""

    def _back(self) -> S:
        """The state that a row without a next state leads to."""
        raise InvariantBroken(f"state {self.state.value} has nothing to go back to")

    def _perform(self, verb: Do, event: ev.Event, next_state: S) -> list[Action]:
        """The actions of one verb. Sides override it for their own verbs and come here for the rest."""
        match verb:
            case Do.ASK:
                return [self._ask()]
            case Do.ASK_AGAIN:
                self.claim = self._outstanding().failed()
                return [self.claim.ask(self._jitter)]
            case Do.PROBE:
                return [ProbeArbiter()]
            case Do.TAKE:
                self._take(event)
                return []
            case Do.GIVE_UP_CLAIM:
                self._outstanding()
                self.claim = None
                return []
            case Do.CLOSE:
                return [CloseConnections()]
            case Do.ACCEPT:
                return self._accept(event, next_state)
            case Do.FINISH:
                return self._finish(None)
            case Do.FAIL:
                return self._fail(event, next_state)
        raise InvariantBroken(f"{type(self).__name__} does not know how to {verb.value}")

    def _ask(self) -> Action:
        if self.claim is not None:
            raise InvariantBroken(f"VM '{self.vm}': a claim is outstanding already")
        self.claim = Claim(self.generation, self._new_claim_id())
        return self.claim.ask(self._jitter)

    def _outstanding(self) -> Claim:
        if self.claim is None:
            raise InvariantBroken(f"VM '{self.vm}': no claim is outstanding")
        return self.claim

    def _take(self, event: ev.Event) -> None:
        claim = self._outstanding()
        if not isinstance(event, ev.ClaimWon) or event.generation != claim.expected_generation + 1:
            raise InvariantBroken(f"VM '{self.vm}': {event!r} does not answer {claim!r}")
        self.generation = event.generation
        self.claim = None

    def _accept(self, event: ev.Event, next_state: S) -> list[Action]:
        assert isinstance(event, ev.Request)
        actions = self._fail(event, next_state)
        self.pending = event
        return actions

    def _fail(self, cause: ev.Event, next_state: S) -> list[Action]:
        if self.pending is None:
            return []
        return self._finish(failure(self.subject, self.pending, cause, self._outlook(next_state)))

    def _finish(self, error: RequestError | None) -> list[Action]:
        if self.pending is None:
            return []
        request, self.pending = self.pending.request, None
        return [FinishRequest(request, error)]

    def _check(self, actions: list[Action], generation_before: int) -> None:
        """The promises that hold after every step, whatever the table says."""
        self._expect(
            generation_before <= self.generation <= generation_before + 1,
            f"generation went from {generation_before} to {self.generation}",
        )

    def _expect(self, promise: bool, broken: str) -> None:
        if not promise:
            raise InvariantBroken(f"VM '{self.vm}' in state {self.state.value}: {broken}")
