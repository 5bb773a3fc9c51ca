"""What a drill may see and do on the other host, and what is refused to it."""

from typing import Any

import pytest
import trio

from ftd.errors import ControlError, ErrorKind
from ftd.peers import Peer
from ftd.protocol.control_drill import (
    COPY_VIEW,
    DRILL_KILL_STANDBY,
    DRILL_POWER,
    DRILL_PROTECT,
    DRILL_THERE,
    DRILL_VIEW,
    KILL_STANDBY,
    PROTECT,
    CopyParams,
    CopyViewParams,
    DrillPeerParams,
    DrillPowerParams,
    DrillViewParams,
)
from ftd.protocol.control_operator import ENTER
from tests.unit.daemon.conftest import Host


async def protect(alpha: Host) -> None:
    """alpha runs the guest, beta has the standby."""
    await alpha.start_vm()
    await alpha.ask(ENTER)


def of_beta(vm: str = "web", peer: str = "beta") -> DrillPeerParams:
    return DrillPeerParams(vm=vm, peer=peer)


async def test_both_copies_are_seen(alpha: Host, beta: Host) -> None:
    await protect(alpha)
    (alpha.config.arbiter_directory).mkdir(parents=True)
    view = await alpha.call(DRILL_VIEW, DrillViewParams(vm="web"))
    assert (view.host, view.peer, view.peer_address) == ("alpha", "beta", "127.0.0.1")
    assert view.here.status is not None
    assert view.here.status.state == "protected"
    assert view.here.arbiter_silence == ""
    assert view.there is not None
    assert view.there.status is not None
    assert view.there.status.role == "standby"
    assert "does not exist" in view.there.arbiter_silence, "that is beta's own answer"
    assert (await alpha.call(DRILL_THERE, of_beta())).status is not None


async def test_a_peer_that_is_away_is_no_error(alpha: Host, beta: Host) -> None:
    await protect(alpha)
    await beta.stop()
    view = await alpha.call(DRILL_VIEW, DrillViewParams(vm="web"))
    assert view.there is None
    assert "the ftd of host beta" in view.there_silence


async def test_a_vm_that_does_not_run(alpha: Host, beta: Host) -> None:
    view = await alpha.call(DRILL_VIEW, DrillViewParams(vm="web"))
    assert (view.here.status, view.here.silence) == (None, "")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (DRILL_VIEW, DrillViewParams(vm="ghost")),
        (DRILL_THERE, of_beta("ghost")),
        (DRILL_KILL_STANDBY, of_beta("ghost")),
        (DRILL_PROTECT, of_beta("ghost")),
    ],
)
async def test_an_unknown_vm(alpha: Host, beta: Host, method: Any, params: Any) -> None:
    with pytest.raises(ControlError, match="no VM ghost") as info:
        await alpha.call(method, params)
    assert info.value.kind is ErrorKind.UNKNOWN_VM


@pytest.mark.parametrize("method", [DRILL_THERE, DRILL_KILL_STANDBY, DRILL_PROTECT])
async def test_an_unknown_peer(alpha: Host, beta: Host, method: Any) -> None:
    with pytest.raises(ControlError, match="no peer host gamma") as info:
        await alpha.call(method, of_beta(peer="gamma"))
    assert info.value.kind is ErrorKind.CONFIG


@pytest.mark.parametrize(
    ("method", "params"),
    [
        (COPY_VIEW, CopyViewParams(host="gamma", vm="web")),
        (KILL_STANDBY, CopyParams(host="gamma", vm="web")),
        (PROTECT, CopyParams(host="gamma", vm="web")),
    ],
)
async def test_a_stranger(beta: Host, method: Any, params: Any) -> None:
    with pytest.raises(ControlError, match="does not know a host gamma") as info:
        await Peer("gamma", "beta", beta.config.control_listen).call(method, params)
    assert info.value.kind is ErrorKind.REFUSED


async def test_a_standby_is_killed(alpha: Host, beta: Host) -> None:
    await protect(alpha)
    await alpha.call(DRILL_KILL_STANDBY, of_beta())
    with trio.fail_after(10):
        await beta.until_gone()


async def test_a_guest_is_not_killed_as_a_standby(alpha: Host, beta: Host) -> None:
    """Whoever asks has it the wrong way round: the copy here is the one that runs."""
    await protect(alpha)
    with pytest.raises(ControlError, match="it is left alone") as info:
        await beta.call(DRILL_KILL_STANDBY, of_beta(peer="alpha"))
    assert info.value.kind is ErrorKind.WRONG_ROLE
    assert (await alpha.worker()).state == "protected"


async def test_there_is_no_standby_to_kill(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    with pytest.raises(ControlError, match="has no worker here"):
        await alpha.call(DRILL_KILL_STANDBY, of_beta())


async def test_protection_is_asked_for_here_and_there(alpha: Host, beta: Host) -> None:
    await beta.start_vm()
    await alpha.call(DRILL_PROTECT, of_beta())
    assert (await beta.worker()).state == "protected"
    with pytest.raises(ControlError, match="protected already"):
        await beta.call(DRILL_PROTECT, of_beta())
    with pytest.raises(ControlError, match="standby of VM web"):
        await alpha.call(DRILL_PROTECT, of_beta(peer="alpha"))


async def test_a_vm_that_is_named_by_another_question(alpha: Host) -> None:
    """A method of operators is none of peers'."""
    with pytest.raises(ControlError, match="no method"):
        await Peer("beta", "alpha", alpha.config.control_listen).call(DRILL_VIEW, DrillViewParams(vm="web"))


async def test_a_host_without_a_fence_device_is_not_turned_off(alpha: Host, beta: Host) -> None:
    await protect(alpha)
    with pytest.raises(ControlError, match="no fence device is configured for host alpha") as info:
        await beta.call(DRILL_POWER, DrillPowerParams(vm="web", peer="alpha", on=False))
    assert info.value.kind is ErrorKind.CONFIG
    assert not (await beta.call(DRILL_VIEW, DrillViewParams(vm="web"))).can_power_off
