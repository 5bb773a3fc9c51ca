"""Faults in the production code: decisions, arbiter, frames, the worker's order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ftd.arbiter.contract import Lost, Won
from ftd.protocol import body, frames
from ftd.protocol.refusal import Refusal
from ftd.replication import events as ev
from ftd.replication.claim import Claim
from ftd.replication.states import ActiveState as A
from ftd.replication.states import StandbyState as S
from ftd.replication.table import ACTIVE_TABLE, STANDBY_TABLE, Do, Row
from tests.sim import production
from tests.sim.disk import SimOs
from tests.sim.planting import Mutant, Planting


def _active(event: type[ev.Event], state: A, next_state: A, *do: Do) -> Any:
    return lambda planting: planting.row(ACTIVE_TABLE, (state, event), Row(next_state, do))


def _standby(event: type[ev.Event], state: S, next_state: S, *do: Do) -> Any:
    return lambda planting: planting.row(STANDBY_TABLE, (state, event), Row(next_state, do))


UNSEEN_BY_CORE = frozenset(
    {
        "active-does-not-go-on-though-it-won",
        "active-forgets-a-request",
        "active-leaves-a-synchronisation-at-once",
        "standby-acknowledges-leave-and-stays",
        "standby-asks-only-once",
        "standby-drops-the-image-of-a-dead-peer",
    }
)
"""Tables that break no promise of one copy, as far as it knows, only of both."""


TABLE_MUTANTS: dict[str, Mutant] = {
    "active-goes-on-though-it-lost": Mutant(
        "a stale primary returns",
        _active(ev.ClaimLost, A.FAILING_OVER, A.SIMPLEX, Do.GIVE_UP_CLAIM, Do.RESUME, Do.FAIL),
    ),
    "active-does-not-ask-when-protected": Mutant(
        "going on alone needs the arbiter", _active(ev.PeerLost, A.PROTECTED, A.SIMPLEX, Do.RESUME)
    ),
    "active-does-not-ask-when-sealed": Mutant(
        "from epoch 1 on the standby may own the guest",
        _active(ev.PeerLost, A.SEALED, A.IDLE, Do.RESUME, Do.FAIL),
    ),
    "active-does-not-ask-when-leaving": Mutant(
        "LEAVE without LEAVE_ACK is a loss", _active(ev.PeerLost, A.LEAVING, A.IDLE, Do.RESUME, Do.FINISH)
    ),
    "active-does-not-ask-after-handover": Mutant(
        "HANDOVER without HANDOVER_DONE is a loss",
        _active(ev.PeerLost, A.SWITCHING_OVER, A.SIMPLEX, Do.RESUME, Do.FAIL),
    ),
    "active-takes-silence-for-a-yes": Mutant(
        "an arbiter that does not answer means no",
        _active(ev.ArbiterUnreachable, A.FAILING_OVER, A.SIMPLEX, Do.GIVE_UP_CLAIM, Do.RESUME, Do.SETTLE),
    ),
    "active-leaves-without-asking": Mutant(
        "a standby must let go before protection ends",
        _active(ev.LeaveRequested, A.PROTECTED, A.IDLE, Do.ACCEPT, Do.RESUME, Do.FINISH),
    ),
    "active-leaves-a-synchronisation-at-once": Mutant(
        "epoch 1 may be sealed at any moment",
        _active(ev.LeaveRequested, A.SYNCING, A.IDLE, Do.ACCEPT, Do.RESUME, Do.FINISH),
    ),
    "active-does-not-go-on-though-it-won": Mutant(
        "somebody must run the guest", _active(ev.ClaimWon, A.FAILING_OVER, A.SIMPLEX, Do.TAKE, Do.SETTLE)
    ),
    "active-forgets-a-request": Mutant(
        "every request is answered", _active(ev.Protected, A.SEALED, A.PROTECTED)
    ),
    "standby-activates-without-the-arbiter": Mutant(
        "activation needs a generation",
        _standby(ev.PeerLost, S.STANDBY, S.SIMPLEX, Do.CLOSE, Do.OUTWAIT, Do.ACTIVATE),
    ),
    "standby-does-not-outwait": Mutant(
        "a won generation does not say that the other has noticed",
        _standby(ev.ClaimWon, S.FAILING_OVER, S.SIMPLEX, Do.TAKE, Do.CLOSE, Do.ACTIVATE, Do.FINISH),
    ),
    "standby-activates-without-epoch-1": Mutant(
        "no activation before the first whole epoch",
        _standby(ev.PeerLost, S.STANDBY_SYNCING, S.FAILING_OVER, Do.ASK),
    ),
    "standby-activates-though-it-lost": Mutant(
        "a lost claim ends a copy",
        _standby(
            ev.ClaimLost,
            S.FAILING_OVER,
            S.SIMPLEX,
            Do.GIVE_UP_CLAIM,
            Do.CLOSE,
            Do.OUTWAIT,
            Do.ACTIVATE,
            Do.FAIL,
        ),
    ),
    "standby-takes-silence-for-a-yes": Mutant(
        "an arbiter that does not answer means no",
        _standby(
            ev.ArbiterUnreachable,
            S.FAILING_OVER,
            S.SIMPLEX,
            *(Do.GIVE_UP_CLAIM, Do.CLOSE, Do.OUTWAIT, Do.ACTIVATE, Do.FAIL),
        ),
    ),
    "standby-asks-only-once": Mutant(
        "a claim is repeated until there is an answer",
        _standby(ev.ArbiterUnreachable, S.FAILING_OVER, S.FAILING_OVER, Do.FAIL),
    ),
    "standby-acknowledges-leave-after-its-claim": Mutant(
        "LEAVE_ACK promises to contest nothing",
        _standby(ev.Leave, S.FAILING_OVER, S.DISCARDED, Do.GIVE_UP_CLAIM, Do.FAIL, Do.LEAVE_ACK, Do.DROP),
    ),
    "standby-acknowledges-leave-and-stays": Mutant(
        "LEAVE_ACK is for ever", _standby(ev.Leave, S.STANDBY, S.STANDBY, Do.LEAVE_ACK)
    ),
    "standby-drops-the-image-of-a-dead-peer": Mutant(
        "somebody must run the guest", _standby(ev.PeerLost, S.STANDBY, S.DISCARDED, Do.DROP)
    ),
}


def _new_id_for_each_try(planting: Planting) -> None:
    def failed(claim: Claim) -> Claim:
        return replace(claim, failures=claim.failures + 1, claim_id=production.copy.new_claim_id())

    planting.attribute(Claim, "failed", failed)


def _no_taken_for_unreachable(planting: Planting) -> None:
    right = production.claims.Claims.claim

    async def claim(self: Any, expected: int, claim_id: bytes) -> ev.ArbiterAnswer:
        answer = await right(self, expected, claim_id)
        return ev.ArbiterUnreachable("no") if isinstance(answer, ev.ClaimLost) else answer

    planting.attribute(production.claims.Claims, "claim", claim)


def _arbiter_ignores_generations(planting: Planting) -> None:
    right = production.local.LocalArbiter._claim

    def claim(self: Any, path: Any, wanted: Any) -> Any:
        answer = right(self, path, wanted)
        return Won(wanted) if isinstance(answer, Lost) else answer

    planting.attribute(production.local.LocalArbiter, "_claim", claim)


def _record_is_not_synced(planting: Planting) -> None:
    class Os(SimOs):
        @staticmethod
        def fsync(_path: Any) -> None:
            """Done, it says."""

    planting.attribute(production.record_file, "os", Os)


def _damage_taken_for_no_record(planting: Planting) -> None:
    right = production.record_file.read

    def read(path: Any, vm_id: str) -> Any:
        try:
            return right(path, vm_id)
        except production.record_file.DamagedRecord:
            return None

    planting.attribute(production.record_file, "read", read)


def _holder_ignored_at_start(planting: Planting) -> None:
    right = production.claims.Claims.first_generation

    async def first_generation(self: Any, *, force: bool) -> int:
        del force
        return int(await right(self, force=True))

    planting.attribute(production.claims.Claims, "first_generation", first_generation)


def _unless(function: str, *tolerated: Refusal) -> Any:
    """A check of the header that lets some reasons pass."""

    def plant(planting: Planting) -> None:
        right = getattr(frames, function)

        def check(header: frames.Header, expected: frames.Expectation) -> Refusal | None:
            refusal: Refusal | None = right(header, expected)
            return None if refusal in tolerated else refusal

        planting.attribute(frames, function, check)

    return plant


def _body_is_not_verified(planting: Planting) -> None:
    right = body.check_body

    def check_body(header: frames.Header, contents: bytes, limits: frames.Limits) -> Refusal | None:
        refusal = right(header, contents, limits)
        return None if refusal is Refusal.BODY_CRC else refusal

    planting.attribute(body, "check_body", check_body)


def _ended_copy_stays(planting: Planting) -> None:
    async def stop_forever(_copy: Any, _action: Any) -> None:
        """It stays."""

    planting.attribute(production.copy.VmCopy, "_stop_forever", stop_forever)


PRODUCTION_MUTANTS: dict[str, Mutant] = {
    **{
        name: replace(mutant, seen_by_core=name not in UNSEEN_BY_CORE)
        for name, mutant in TABLE_MUTANTS.items()
    },
    "claim-id-not-reused": Mutant("a repeated claim is the same claim", _new_id_for_each_try),
    "no-taken-for-unreachable": Mutant("lost is an answer", _no_taken_for_unreachable),
    "arbiter-ignores-generations": Mutant("compare, then swap", _arbiter_ignores_generations),
    "record-not-synced": Mutant("nobody hears Won before it is durable", _record_is_not_synced),
    "damage-taken-for-no-record": Mutant("damage is never an answer", _damage_taken_for_no_record),
    "holder-ignored-at-start": Mutant(
        "a host that returns does not start it again", _holder_ignored_at_start
    ),
    "generation-not-checked": Mutant(
        "frames of another generation are refused", _unless("_check_identity", Refusal.GENERATION)
    ),
    "replay-accepted": Mutant(
        "an epoch comes once", _unless("_check_epoch", Refusal.DUPLICATE, Refusal.EPOCH)
    ),
    "body-not-verified": Mutant("what is damaged is refused", _body_is_not_verified),
    "ended-copy-stays": Mutant("a copy that lost ends", _ended_copy_stays),
}
