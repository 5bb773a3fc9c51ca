"""Faults in what brings protection back, which copies may be ended for it, and what proves a host off."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from ftd.arbiter.contract import Record
from ftd.protection import pursuit, stale
from ftd.protection.pursuit import Backoff, Facts, Pursuits
from ftd.protection.stale import Asked, CopyHere, Verdict
from tests.sim import production
from tests.sim.planting import Mutant, Planting


def _same_generation_is_ended(planting: Planting) -> None:
    right = stale.judge

    def judge(copy: CopyHere, asked: Asked, record: Record | None) -> Verdict:
        return right(replace(copy, generation=copy.generation - 1), asked, record)

    planting.attribute(stale, "judge", judge)


def _complete_standby_is_replaced(planting: Planting) -> None:
    right = stale.judge

    def judge(copy: CopyHere, asked: Asked, record: Record | None) -> Verdict:
        theirs = copy.state == "standby" and copy.primary == asked.host
        return Verdict.END if theirs else right(copy, asked, record)

    planting.attribute(stale, "judge", judge)


def _waits_grow_for_ever(planting: Planting) -> None:
    def failed(self: Backoff, reason: str, now_s: float, jitter: random.Random) -> None:
        self.failures += 1
        self.not_before_s = now_s + 4.0**self.failures
        self.reason = reason

    planting.attribute(Backoff, "failed", failed)


def _host_that_was_away_stays_away(planting: Planting) -> None:
    right = Pursuits.next_host

    def next_host(self: Pursuits, vm: str, facts: Facts, now_s: float) -> str | None:
        host = right(self, vm, facts, now_s)
        return None if host is not None and self._host(host).is_away else host

    planting.attribute(pursuit.Pursuits, "next_host", next_host)


def _given_up_is_never_tried_again(planting: Planting) -> None:
    def given_up(self: Pursuits, vm: str) -> None:
        """It stays in the list of tries."""

    planting.attribute(Pursuits, "given_up", given_up)


def _goes_on_without_proof(planting: Planting) -> None:
    async def prove(_self: Any) -> None:
        """It must be off."""

    planting.attribute(production.fencing.FencingArbiter, "_prove", prove)


def _old_proof_counts(planting: Planting) -> None:
    planting.attribute(production.fencing, "now_ns", lambda: 0)


PROTECTION_MUTANTS: dict[str, Mutant] = {
    "same-generation-is-ended": Mutant(
        "a late request does not cost a good standby", _same_generation_is_ended
    ),
    "complete-standby-is-replaced": Mutant(
        "only a standby without a whole copy may be replaced", _complete_standby_is_replaced
    ),
    "waits-grow-for-ever": Mutant("waits are bounded", _waits_grow_for_ever),
    "host-that-was-away-stays-away": Mutant(
        "a host that is back is tried again", _host_that_was_away_stays_away
    ),
    "given-up-is-never-tried-again": Mutant(
        "an operator's command ends a try, not the protection", _given_up_is_never_tried_again
    ),
    "goes-on-without-proof": Mutant("without an arbiter the other must be off", _goes_on_without_proof),
    "old-proof-counts": Mutant("a proof from before the loss proves nothing", _old_proof_counts),
}
