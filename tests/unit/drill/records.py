"""Records of drills that went well; tests change what they are about."""

from typing import Any

from ftd.drill.catalogue import Survivor
from ftd.drill.record import Answers, Change, Record, Sample, Step
from ftd.protocol.control import GUEST_RUNS, LOSS_SEEN

BEGIN_S, END_S, BIN_S = -3.0, 12.0, 0.02
RUNS_S, PROTECTED_S = 0.62, 8.0


def sample(at_s: float, host: str) -> Sample:
    """A host's account of itself at a time of a freeze of alpha's worker."""
    states = (
        ("protected" if at_s < 0 else "standby", "standby" if at_s < RUNS_S else "simplex")
        if at_s < PROTECTED_S
        else ("standby", "protected")
    )
    alpha = host == "alpha"
    state = states[0 if alpha else 1]
    return Sample(
        at_s=at_s,
        host=host,
        role="standby" if state == "standby" else "active",
        state=state,
        generation=1 if at_s < RUNS_S else 2,
        epoch=int((at_s - BEGIN_S) * 500),
        heartbeats=int((at_s - BEGIN_S) * 50),
    )


def answers(**changes: Any) -> Answers:
    """200 a second, but for the blackout."""
    bins = int((END_S - BEGIN_S) / BIN_S)
    rates = [0 if 0 <= BEGIN_S + index * BIN_S < 0.7 else 4 for index in range(bins)]
    fields: dict[str, Any] = {
        **{"probe": "the ledger's protocol", "asked": 2860, "answered": 2860, "lost": 0, "repeated": 3},
        **{"breaches": [], "bin_s": BIN_S, "first_bin_s": BEGIN_S, "bins": rates},
        **{"gap_begin_s": -0.004, "gap_end_s": 0.7, "longest_wait_s": 0.704},
    }
    return Answers(**{**fields, **changes})


def record(**changes: Any) -> Record:
    """The worker on alpha was frozen, beta took over and is protected again by alpha."""
    times = [BEGIN_S + index * 0.1 for index in range(int((END_S - BEGIN_S) * 10))]
    away = (0.0, PROTECTED_S - 1)
    fields: dict[str, Any] = {
        **{"version": "1", "vm": "web", "fault": "freeze", "does": "SIGSTOP to the worker"},
        **{
            "promised": Survivor.PEER,
            "host": "alpha",
            "guest_on": "alpha",
            "peer": "beta",
            "heartbeat_timeout_ms": 500,
        },
        **{"began_realtime_ns": 1_790_000_000 * 10**9, "blackout_max_ms": 1500, "protect_within_s": 60.0},
        **{"begin_s": BEGIN_S, "end_s": END_S, "generation_before": 1, "generation_after": 2},
        **{"survivor": "beta", "active_at_end": ["beta"], "outcome_s": 0.65, "undone_s": 0.66},
        **{"protected_again_s": PROTECTED_S, "asked_to_protect": True, "clock_uncertainty_ms": 0.4},
        "samples": [
            sample(at_s, host)
            for at_s in times
            for host in ("alpha", "beta")
            if host == "beta" or not away[0] <= at_s < away[1]
        ],
        "changes": [
            change(0.510, "beta", LOSS_SEEN, "standby", "standby"),
            change(0.511, "beta", "PeerLost", "standby", "failing_over"),
            change(0.540, "beta", "ClaimWon", "failing_over", "simplex"),
            change(RUNS_S, "beta", GUEST_RUNS, "simplex", "simplex"),
            change(0.680, "alpha", "ClaimLost", "failing_over", "fenced"),
        ],
        "steps": [Step(at_s=0.0, text="SIGSTOP to the worker on alpha (pid 7)")],
        "answers": answers(),
    }
    return Record(**{**fields, **changes})


def change(at_s: float, host: str, on: str, before: str, after: str) -> Change:
    """An entry of a history."""
    return Change(at_s=at_s, host=host, on=on, before=before, after=after)
