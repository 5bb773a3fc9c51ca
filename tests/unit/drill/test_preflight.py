"""A drill that may not begin: each case has its sentence, and names what to do."""

from typing import Any

import msgspec
import pytest

from ftd.drill import preflight
from ftd.drill.catalogue import FAULTS
from ftd.drill.scene import Scene
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import ArbiterSpec, FencingSpec, WorkerStatus
from ftd.protocol.control_drill import CopyView, DrillView
from tests.unit.ctl.fake_ftd import worker_status

HERE = worker_status(console="tcp:0.0.0.0:7")
THERE = worker_status(host="beta", role="standby", state="standby", console="tcp:0.0.0.0:7")


def copy(status: WorkerStatus | None, **changes: Any) -> CopyView:
    return CopyView(status=status, boottime_ns=1, **changes)


def view(**changes: Any) -> DrillView:
    fields: dict[str, Any] = {
        **{"host": "alpha", "daemon_pid": 1, "runtime_dir": "/run/ftd", "vm_id": bytes(16)},
        **{"arbiter": ArbiterSpec(kind="local", directory="/a"), "heartbeat_timeout_ms": 500},
        **{"here": copy(HERE), "peer": "beta", "peer_address": "10.0.0.2", "there": copy(THERE)},
    }
    return DrillView(**{**fields, **changes})


def changed(status: WorkerStatus, **changes: Any) -> WorkerStatus:
    return msgspec.structs.replace(status, **changes)


def test_a_protected_vm_may_be_drilled() -> None:
    preflight.check("web", view(), FAULTS["freeze"])


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"here": copy(None)}, ErrorKind.WRONG_STATE, "does not run on alpha"),
        ({"here": copy(THERE), "there": copy(HERE)}, ErrorKind.WRONG_ROLE, "runs on host beta, not on alpha"),
        ({"here": copy(THERE), "there": None}, ErrorKind.WRONG_STATE, "does not run on alpha"),
        ({"here": copy(None, silence="worker 7 does not answer")}, ErrorKind.WRONG_STATE, "does not answer"),
        (
            {"here": copy(changed(HERE, state="simplex"))},
            ErrorKind.WRONG_STATE,
            "is simplex on alpha, not prot",
        ),
        ({"here": copy(changed(HERE, state="syncing"))}, ErrorKind.WRONG_STATE, "`ftctl enter web`"),
        ({"there": None, "there_silence": "no route"}, ErrorKind.PEER_UNREACHABLE, "no route"),
        ({"there": copy(None)}, ErrorKind.WRONG_STATE, r"no whole standby \(no worker\)"),
        ({"there": copy(changed(THERE, state="standby_syncing"))}, ErrorKind.WRONG_STATE, "standby_syncing"),
        ({"there": copy(HERE)}, ErrorKind.WRONG_STATE, r"\(active, protected\)"),
        ({"here": copy(HERE, arbiter_silence="disk full")}, ErrorKind.ARBITER, "host alpha: disk full"),
        ({"there": copy(THERE, arbiter_silence="gone")}, ErrorKind.ARBITER, "host beta: gone"),
    ],
)
def test_refusals(changes: dict[str, Any], kind: ErrorKind, sentence: str) -> None:
    with pytest.raises(ControlError, match=sentence) as info:
        preflight.check("web", view(**changes), FAULTS["freeze"])
    assert info.value.kind is kind


def swapped(**changes: Any) -> DrillView:
    """As the host sees it that has the standby."""
    return view(**{"host": "beta", "peer": "alpha", "here": copy(THERE), "there": copy(HERE), **changes})


def test_power_off_starts_where_the_standby_is() -> None:
    preflight.check("web", swapped(), FAULTS["power-off"])
    with pytest.raises(ControlError, match="starts on the host that has the standby, and alpha has none"):
        preflight.check("web", view(), FAULTS["power-off"])
    there = copy(changed(HERE, state="simplex"))
    with pytest.raises(ControlError, match="is simplex on alpha, not protected"):
        preflight.check("web", swapped(there=there), FAULTS["power-off"])


WITHOUT_ARBITER = ArbiterSpec(kind="none", directory="/a", fencing=FencingSpec(peer="beta", device=None))


def test_without_an_arbiter_a_loss_turns_a_host_off() -> None:
    for name, fault in FAULTS.items():
        seen = (swapped if fault.from_standby else view)(arbiter=WITHOUT_ARBITER)
        if name in ("power-off", "kill-daemon"):
            preflight.check("web", seen, fault)
        else:
            with pytest.raises(ControlError, match="there is no arbiter"):
                preflight.check("web", seen, fault)


async def never(method: Any, params: Any) -> Any:
    raise AssertionError("nothing is to be asked")


def scene(here: str | None, there: str | None, peer_address: str) -> Scene:
    copies = {"here": copy(changed(HERE, console=here)), "there": copy(changed(THERE, console=there))}
    return Scene("web", view(peer_address=peer_address, **copies), never)


@pytest.mark.parametrize(
    ("here", "there", "peer_address", "found"),
    [
        ("tcp:0.0.0.0:7", "tcp:0.0.0.0:8", "10.0.0.2", ["tcp:127.0.0.1:7", "tcp:10.0.0.2:8"]),
        ("tcp:[::]:7", "tcp:[::]:7", "fd00::2", ["tcp:127.0.0.1:7", "tcp:fd00::2:7"]),
        ("tcp:10.0.0.1:7", "tcp:10.0.0.2:7", "10.0.0.2", ["tcp:10.0.0.1:7", "tcp:10.0.0.2:7"]),
        ("unix:/a", "unix:/b", "127.0.0.1", ["unix:/a", "unix:/b"]),
    ],
)
def test_consoles(here: str, there: str, peer_address: str, found: list[str]) -> None:
    assert preflight.consoles(scene(here, there, peer_address)) == found


def test_consoles_seen_from_the_standby() -> None:
    """The guest is at the other one now."""
    copies = {"here": copy(THERE), "there": copy(HERE), "peer_address": "10.0.0.1"}
    assert preflight.consoles(Scene("web", swapped(**copies), never)) == ["tcp:10.0.0.1:7", "tcp:127.0.0.1:7"]


@pytest.mark.parametrize(
    ("here", "there", "sentence"),
    [(None, None, "has no console"), ("unix:/a", "unix:/b", "is a Unix socket, which beta alone")],
)
def test_consoles_that_cannot_be_observed(here: str | None, there: str | None, sentence: str) -> None:
    with pytest.raises(ControlError, match=sentence) as info:
        preflight.consoles(scene(here, there, "10.0.0.2"))
    assert "--probe echo:ADDRESS:PORT" in info.value.message
