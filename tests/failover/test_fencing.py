"""Two hosts without an arbiter: who turns the other off goes on, and nobody goes on without that."""

import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import (
    CONFIRM_OFF,
    MAINTENANCE,
    SWITCHOVER,
    VM_START,
    ConfirmOffParams,
    ForceParams,
)
from ftd.protocol.maintenance import MaintenanceParams
from tests.failover.processes import frozen
from tests.failover.scene import GUEST, Scene, eventually, playing

AGENT: Final = Path(__file__).with_name("power_switch.py")
NONE: Final = 'kind = "none"\n'
BY_HAND: Final = 'kind = "none"\nunattended_failover = false\n'
SOON_LOST: Final = replace(GUEST, replication={**GUEST.replication, "heartbeat_timeout_ms": 500})
ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def switch(tmp_path: Path) -> "Switch":
    return Switch(tmp_path)


class Switch:
    """The agent as a command, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.command = folder / "power_switch"
        self.command.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {AGENT}\n")
        self.command.chmod(self.command.stat().st_mode | stat.S_IXUSR)
        self.log = folder / "switch.log"

    def table(self, *more: str) -> str:
        options = [str(self.command), "plug={peer_runtime}", f"log={self.log}", *more]
        return f"fence = {options}\n"

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


async def reason_has(scene: Scene, host: str, words: str) -> None:
    async def said() -> bool:
        status = await (scene.alpha if host == "alpha" else scene.beta).status(scene.vm)
        return status is not None and words in status.reason

    await eventually(f"{host} says {words!r}", said)


async def test_a_killed_primary(switch: Switch) -> None:
    """The standby turns the primary's host off, and only then runs the guest."""
    async with playing(arbiter_table=NONE, peer_table=switch.table()) as scene:
        scene.begin_asking()
        await scene.more_answers()
        await scene.kill_worker(scene.alpha)
        await scene.alone(scene.beta, 2)
        assert switch.asked() == ["off alpha", "status alpha"]
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_a_frozen_primary_is_not_left_to_thaw(switch: Switch) -> None:
    async with playing(SOON_LOST, arbiter_table=NONE, peer_table=switch.table()) as scene:
        scene.begin_asking()
        await scene.more_answers()
        pid = await scene.alpha.worker_pid(scene.vm)
        with frozen(pid):
            await scene.alone(scene.beta, 2)
            await scene.ended(pid)
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_a_dead_standby(switch: Switch) -> None:
    """The primary, too, needs the proof before it goes on alone."""
    async with playing(arbiter_table=NONE, peer_table=switch.table()) as scene:
        scene.begin_asking()
        await scene.more_answers()
        await scene.kill_worker(scene.beta)
        await scene.alone(scene.alpha, 2)
        assert switch.asked() == ["off beta", "status beta"]
        await scene.more_answers()
        await scene.settle(scene.alpha)


async def test_a_device_that_lies(switch: Switch) -> None:
    """It says that it did, and asked again that the host is on: nobody goes on, until the host is off."""
    async with playing(SOON_LOST, arbiter_table=NONE, peer_table=switch.table("stuck=yes")) as scene:
        scene.begin_asking()
        await scene.more_answers()
        pid = await scene.alpha.worker_pid(scene.vm)
        with frozen(pid):
            await reason_has(scene, "beta", "says that host alpha is still on after action=off")
            assert await scene.runners() == []
            scene.alpha.end_workers()
            await scene.alone(scene.beta, 2)
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_an_operator_decides() -> None:
    """Without a fence command the guest stands until somebody has looked; what he said before is void."""
    async with playing(arbiter_table=BY_HAND) as scene:
        await scene.beta.call(CONFIRM_OFF, ConfirmOffParams(host="alpha"))  # too early: it proves nothing
        scene.begin_asking()
        await scene.more_answers()
        await scene.kill_worker(scene.alpha)
        await reason_has(scene, "beta", "then tell it here with `ftctl confirm-off alpha`")
        await scene.silence(0.5)
        await scene.beta.call(CONFIRM_OFF, ConfirmOffParams(host="alpha"))
        await scene.alone(scene.beta, 2)
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_what_needs_an_arbiter_is_refused(switch: Switch) -> None:
    async with playing(arbiter_table=NONE, peer_table=switch.table()) as scene:
        scene.begin_asking()
        await scene.more_answers()
        with pytest.raises(ControlError, match=r"there is no arbiter \(\[arbiter\] kind = 'none'\)"):
            await scene.alpha.call(SWITCHOVER, VmParams(vm=scene.vm))
        report = await scene.alpha.call(MAINTENANCE, MaintenanceParams(host="alpha", action="begin"))
        [moved] = report.vms
        assert not moved.gone
        assert "there is no arbiter" in moved.how
        assert (await scene.status(scene.alpha)).state == "protected"
        assert switch.asked() == []
        await scene.settle(scene.alpha)


async def test_a_start_asks_the_other_host(switch: Switch) -> None:
    async with playing(protected=False, arbiter_table=NONE, peer_table=switch.table()) as scene:
        with pytest.raises(ControlError, match=r"host alpha has a copy of VM guest \(idle\)") as caught:
            await scene.beta.call(VM_START, ForceParams(vm=scene.vm))
        assert caught.value.kind is ErrorKind.REFUSED
        await scene.alpha.kill_daemon()
        with pytest.raises(ControlError, match="whether alpha runs VM guest cannot be found out"):
            await scene.beta.call(VM_START, ForceParams(vm=scene.vm))
        scene.alpha.end_workers()
        await scene.beta.call(VM_START, ForceParams(vm=scene.vm, force=True))
        assert await scene.runners() == ["beta"]
