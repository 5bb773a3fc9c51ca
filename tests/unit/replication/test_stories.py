"""What operators live through, step by step: actions in their order, sentences as they read."""

from __future__ import annotations

import pytest

from ftd.replication import events as ev
from ftd.replication.actions import (
    Action,
    Activate,
    AskArbiter,
    CloseConnections,
    DrainGuest,
    DropImage,
    ErrorKind,
    FinishRequest,
    GateOutput,
    HoldGuest,
    OutwaitPrimary,
    ProbeArbiter,
    ReleaseGeneration,
    ReleaseOutput,
    RequestError,
    ResumeSimplex,
    SendHandover,
    SendHandoverDone,
    SendLeave,
    SendLeaveAck,
    StartSync,
    StopAcknowledging,
    StopForever,
)
from ftd.replication.active import ActiveCore
from ftd.replication.core import Core
from ftd.replication.standby import StandbyCore
from ftd.replication.states import ActiveState, StandbyState

CLAIM = b"sixteen bytes id"
ASK = AskArbiter(3, CLAIM)
TAKEN_OVER = [ASK, CloseConnections(), OutwaitPrimary(), Activate(4)]
PROTECT = (ev.EnterRequested(1, "beta"), ev.FirstSealed(), ev.Protected())


def active(*history: ev.Event) -> ActiveCore:
    core = ActiveCore(vm="ledger", generation=3, new_claim_id=lambda: CLAIM)
    tell(core, *history)
    return core


def standby(*history: ev.Event) -> StandbyCore:
    core = StandbyCore(vm="ledger", generation=3, peer="alpha", new_claim_id=lambda: CLAIM)
    tell(core, *history)
    return core


def tell(core: Core[ActiveState] | Core[StandbyState], *events: ev.Event) -> list[Action]:
    return [action for event in events for action in core.handle(event)]


def error(actions: list[Action]) -> RequestError:
    (failed,) = [action.error for action in actions if isinstance(action, FinishRequest)]
    assert failed is not None
    return failed


def test_enter() -> None:
    core = active()
    assert tell(core, *PROTECT) == [StartSync("beta", 3), GateOutput(), FinishRequest(1)]
    assert core.state is ActiveState.PROTECTED


def test_enter_twice() -> None:
    assert error(tell(active(*PROTECT), ev.EnterRequested(2, "gamma"))) == RequestError(
        ErrorKind.WRONG_STATE, "VM 'ledger' is already protected (generation 3, peer beta)"
    )


def test_peer_lost_before_epoch_1_was_sealed_needs_no_arbiter() -> None:
    core = active()
    actions = tell(core, ev.EnterRequested(1, "beta"), ev.PeerLost("standby out of memory"))
    assert actions[1] == ResumeSimplex(3)
    assert error(actions) == RequestError(
        ErrorKind.PEER_LOST,
        "protecting VM 'ledger' failed: the peer was lost (standby out of memory); "
        "the guest runs here, unprotected",
    )
    assert core.state is ActiveState.IDLE


def test_failed_reprotection_leads_back_to_simplex() -> None:
    core = active(*PROTECT, ev.PeerLost("silent"), ev.ClaimWon(4))
    assert tell(core, ev.EnterRequested(2, "beta"))[0] == StartSync("beta", 4)
    tell(core, ev.PeerLost("closed"))
    assert core.state is ActiveState.SIMPLEX


def test_peer_lost_under_protection() -> None:
    core = active(*PROTECT)
    assert tell(core, ev.PeerLost("silent")) == [HoldGuest(), ASK]
    (again,) = tell(core, ev.ArbiterUnreachable("timed out"))
    assert isinstance(again, AskArbiter)
    assert again.claim_id == CLAIM
    assert 50 <= again.after_ms <= 100
    assert tell(core, ev.ClaimWon(4)) == [ResumeSimplex(4)]
    assert (core.state, core.generation) == (ActiveState.SIMPLEX, 4)


def test_race_lost_by_the_primary() -> None:
    core = active(*PROTECT, ev.PeerLost("silent"))
    assert tell(core, ev.ClaimLost(4, "beta")) == [StopForever("VM 'ledger': host beta won generation 4")]
    assert core.state is ActiveState.FENCED


def test_leave() -> None:
    core = active(*PROTECT)
    assert tell(core, ev.LeaveRequested(2), ev.LeaveAcked()) == [
        SendLeave(),
        ResumeSimplex(3),
        FinishRequest(2),
    ]
    assert core.state is ActiveState.IDLE


def test_leave_whose_answer_is_lost_is_done_once_the_arbiter_agrees() -> None:
    core = active(*PROTECT, ev.LeaveRequested(2))
    assert tell(core, ev.PeerLost("closed"), ev.ClaimWon(4)) == [
        HoldGuest(),
        ASK,
        ResumeSimplex(4),
        FinishRequest(2),
    ]
    assert core.state is ActiveState.SIMPLEX


def test_leave_of_an_unprotected_vm() -> None:
    assert error(tell(active(), ev.LeaveRequested(2))) == RequestError(
        ErrorKind.WRONG_STATE,
        "VM 'ledger' is not protected (generation 3): protect it with 'ftctl enter' first",
    )


def test_switchover_from_both_sides() -> None:
    primary = active(*PROTECT)
    assert tell(primary, ev.SwitchoverRequested(2), ev.ProbeAnswered(), ev.Drained()) == [
        ProbeArbiter(),
        DrainGuest(),
        SendHandover(),
    ]
    secondary = standby(ev.FirstComplete())
    assert tell(secondary, ev.Handover(), ev.ClaimWon(4)) == [
        ASK,
        Activate(4, planned=True),
        SendHandoverDone(),
        OutwaitPrimary(),
        CloseConnections(),
    ]
    assert tell(primary, ev.HandedOver()) == [
        FinishRequest(2),
        StopForever("VM 'ledger': switched over to beta"),
    ]
    assert primary.state is ActiveState.SWITCHED_OVER


def test_switchover_without_an_arbiter_changes_nothing() -> None:
    core = active(*PROTECT)
    failed = error(tell(core, ev.SwitchoverRequested(2), ev.ProbeFailed("the file system is full")))
    assert failed == RequestError(
        ErrorKind.ARBITER_UNREACHABLE,
        "switching over VM 'ledger' failed: the arbiter cannot be reached (the file system is full); "
        "the guest runs here (protected)",
    )
    assert core.state is ActiveState.PROTECTED


@pytest.mark.parametrize(
    ("answer", "state"),
    [(ev.ClaimWon(4), ActiveState.SIMPLEX), (ev.ClaimLost(4, "beta"), ActiveState.SWITCHED_OVER)],
)
def test_peer_lost_after_handover(answer: ev.Event, state: ActiveState) -> None:
    core = active(*PROTECT, ev.SwitchoverRequested(2), ev.ProbeAnswered(), ev.Drained())
    assert tell(core, ev.PeerLost("silent")) == [HoldGuest(), ASK]
    actions = tell(core, answer)
    assert core.state is state
    assert (ResumeSimplex(4) in actions) == (state is ActiveState.SIMPLEX)
    (finished,) = [action for action in actions if isinstance(action, FinishRequest)]
    assert (finished.error is None) == (state is ActiveState.SWITCHED_OVER)


def test_stop_under_protection_tells_the_standby_first() -> None:
    assert tell(active(*PROTECT), ev.StopRequested(2), ev.LeaveAcked()) == [
        HoldGuest(),
        SendLeave(),
        ReleaseOutput(),
        ReleaseGeneration(3),
        FinishRequest(2),
        StopForever("VM 'ledger': stopped"),
    ]


def test_stop_that_the_standby_won_is_not_called_done() -> None:
    actions = tell(active(*PROTECT), ev.StopRequested(2), ev.PeerLost("silent"), ev.ClaimLost(4, "beta"))
    assert error(actions) == RequestError(
        ErrorKind.FENCED,
        "stopping VM 'ledger' failed: host beta won generation 4; the guest does not run here any more",
    )
    assert ReleaseOutput() not in actions


def test_guest_that_shuts_down_is_not_resumed_by_the_standby() -> None:
    core = active(*PROTECT)
    assert tell(core, ev.GuestStopped("shut down")) == [SendLeave()]
    assert tell(core, ev.PeerLost("closed"), ev.ClaimWon(4))[1:4] == [
        ReleaseOutput(),
        ReleaseGeneration(4),
        StopForever("VM 'ledger': stopped"),
    ]


def test_failover_on_the_primary() -> None:
    failed = error(tell(active(*PROTECT), ev.FailoverForced(2)))
    assert failed.kind is ErrorKind.WRONG_ROLE
    assert "failover is asked for on the standby" in failed.message


def test_standby_takes_over_when_its_primary_falls_silent() -> None:
    core = standby(ev.FirstComplete())
    assert tell(core, ev.PeerLost("silent"), ev.ClaimWon(4)) == TAKEN_OVER
    went_on = ActiveCore.after_failover(core, new_claim_id=lambda: CLAIM)
    assert (went_on.state, went_on.generation, went_on.claim) == (ActiveState.SIMPLEX, 4, None)


def test_standby_without_an_epoch_never_activates() -> None:
    core = standby()
    assert error(tell(core, ev.FailoverForced(1))).kind is ErrorKind.WRONG_STATE
    assert tell(core, ev.PeerLost("closed")) == [
        DropImage("VM 'ledger': alpha was lost before the first epoch was complete (closed)")
    ]


def test_standby_lets_go() -> None:
    assert tell(standby(ev.FirstComplete()), ev.Leave()) == [
        SendLeaveAck(),
        OutwaitPrimary(),
        DropImage("VM 'ledger': alpha left protection"),
    ]


def test_request_on_the_wrong_side() -> None:
    assert error(tell(standby(), ev.SwitchoverRequested(1))) == RequestError(
        ErrorKind.WRONG_ROLE, "VM 'ledger' is a standby here: ask on its active host, alpha (generation 3)"
    )


def test_failover_by_an_operator() -> None:
    core = standby(ev.FirstComplete())
    assert tell(core, ev.FailoverRequested(1), ev.ProbeAnswered(), ev.ClaimWon(4)) == [
        ProbeArbiter(),
        StopAcknowledging(),
        *TAKEN_OVER,
        FinishRequest(1),
    ]


def test_failover_without_an_arbiter_changes_nothing() -> None:
    core = standby(ev.FirstComplete())
    failed = error(tell(core, ev.FailoverRequested(1), ev.ProbeFailed("timed out")))
    assert failed == RequestError(
        ErrorKind.ARBITER_UNREACHABLE,
        "failing over VM 'ledger' failed: the arbiter cannot be reached (timed out); nothing was changed; "
        "use --force only if the primary is surely dead",
    )
    assert core.state is StandbyState.STANDBY


def test_failover_whose_arbiter_falls_silent_after_the_claim_has_no_way_back_but_can_be_forced() -> None:
    core = standby(ev.FirstComplete(), ev.FailoverRequested(1), ev.ProbeAnswered())
    assert error(tell(core, ev.ArbiterUnreachable("timed out"))).kind is ErrorKind.ARBITER_UNREACHABLE
    assert core.state is StandbyState.FAILING_OVER
    assert tell(core, ev.FailoverForced(2)) == []
    closed, outwaited, activated, again, finished = tell(core, ev.ArbiterUnreachable("timed out"))
    assert (closed, outwaited, activated) == (CloseConnections(), OutwaitPrimary(), Activate(4, forced=True))
    assert isinstance(again, AskArbiter)
    assert again.claim_id == CLAIM
    assert finished == FinishRequest(2)


def test_forced_failover_that_an_arbiter_denies() -> None:
    actions = tell(standby(ev.FirstComplete()), ev.FailoverForced(1), ev.ClaimLost(4, "alpha"))
    assert error(actions) == RequestError(
        ErrorKind.FENCED,
        "failing over VM 'ledger' failed: host alpha won generation 4; this copy was dropped",
    )
    assert actions[-1] == DropImage("VM 'ledger': host alpha won generation 4")


@pytest.mark.parametrize(
    ("answer", "state"),
    [(ev.ClaimWon(4), ActiveState.SIMPLEX), (ev.ClaimLost(4, "alpha"), ActiveState.FENCED)],
)
def test_forced_activation_is_confirmed_or_fenced_when_the_arbiter_is_back(
    answer: ev.Event, state: ActiveState
) -> None:
    forced = standby(ev.FirstComplete(), ev.FailoverForced(1), ev.ArbiterUnreachable("timed out"))
    core = ActiveCore.after_failover(forced, new_claim_id=lambda: b"another claim id")
    assert (core.state, core.generation) == (ActiveState.UNCONFIRMED, 4)
    (again,) = tell(core, ev.ArbiterUnreachable("timed out"))
    assert isinstance(again, AskArbiter)
    assert (again.expected_generation, again.claim_id) == (3, CLAIM)
    tell(core, answer)
    assert (core.state, core.generation) == (state, 4)


def test_only_an_activated_standby_goes_on_as_active() -> None:
    with pytest.raises(ValueError, match="is standby, not activated"):
        ActiveCore.after_failover(standby(ev.FirstComplete()), new_claim_id=lambda: CLAIM)
