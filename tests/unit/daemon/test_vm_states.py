"""What ftd refuses on its own stays in step with the states that workers have."""

import itertools
from collections.abc import Callable

import pytest

from ftd import vm_states
from ftd.errors import ControlError
from ftd.protocol.control import WorkerStatus
from ftd.replication.states import ActiveState, StandbyState

Check = Callable[[WorkerStatus], None]
ACTIVE = {state.value for state in ActiveState}
STANDBY = {state.value for state in StandbyState}
ALLOWED: dict[Check, set[str]] = {
    vm_states.check_enter: {"idle", "simplex"},
    vm_states.check_leave: {"syncing", "protected"},
    vm_states.check_switchover: {"idle", "simplex", "protected"},
    vm_states.check_stop: {*("idle", "simplex", "syncing", "protected"), *vm_states.ENDED_STATES},
}


def status(role: str, state: str) -> WorkerStatus:
    return WorkerStatus(
        vm="web",
        vm_id="",
        host="alpha",
        pid=1,
        role="standby" if role == "standby" else "active",
        state=state,
        generation=1,
        epoch=0,
        tracker="ring",
        memory_bytes=0,
        vcpus=1,
        stamp_ns=0,
    )


def test_states_exist() -> None:
    assert vm_states.UNPROTECTED_STATES | vm_states.ENTERED_STATES <= ACTIVE
    assert vm_states.ENDED_STATES <= ACTIVE | STANDBY


@pytest.mark.parametrize(("check", "state"), [*itertools.product(ALLOWED, sorted(ACTIVE))])
def test_on_the_active_side(check: Check, state: str) -> None:
    if state in ALLOWED[check]:
        check(status("active", state))
    else:
        with pytest.raises(ControlError, match=state):
            check(status("active", state))


@pytest.mark.parametrize(("check", "state"), [*itertools.product(ALLOWED, sorted(STANDBY - {"discarded"}))])
def test_a_standby_takes_nothing_but_a_failover(check: Check, state: str) -> None:
    with pytest.raises(ControlError, match="this host has the standby of VM web"):
        check(status("standby", state))


@pytest.mark.parametrize("state", sorted(STANDBY))
def test_failover_needs_a_complete_standby(state: str) -> None:
    if state in ("standby_syncing", "discarded"):
        with pytest.raises(ControlError, match="the standby of VM web"):
            vm_states.check_failover(status("standby", state))
    else:
        vm_states.check_failover(status("standby", state))
    with pytest.raises(ControlError, match="VM web is active on this host"):
        vm_states.check_failover(status("active", "protected"))
