"""A host dies and comes back: the guest is protected again, and nobody has typed anything."""

from dataclasses import replace
from time import monotonic
from typing import Final

import trio

from ftd.drill.local_pair import Guest, LocalHost
from ftd.errors import ControlError
from ftd.protocol.control import Method, Nothing, VmParams
from ftd.protocol.control_operator import (
    ENTER,
    LEAVE,
    MAINTENANCE,
    STATUS,
    SWITCHOVER,
    VM_START,
    ForceParams,
    StatusParams,
)
from ftd.protocol.maintenance import MaintenanceParams
from tests.failover.processes import frozen
from tests.failover.scene import GUEST, Scene, eventually, playing

AGAIN: Final = replace(GUEST, reprotect=True)
TARGET_S: Final = 5.0
# The target is for a machine that does nothing else; this one may.
TOLERATED_S: Final = 4 * TARGET_S


async def die(host: LocalHost, scene: Scene) -> None:
    """As far as processes can tell: ftd and worker are gone at once."""
    await host.kill_daemon()
    await scene.kill_worker(host)


async def waits_for(host: LocalHost, vm: str) -> str:
    """What an operator is told."""
    report = await host.call(STATUS, StatusParams(vm=vm))
    [wanted] = report.protection
    return wanted.waits_for


async def protected_by_itself(scene: Scene, host: LocalHost) -> None:
    await scene.pair.wait_for_state(host, "protected", deadline_s=30)
    await scene.pair.wait_for_state(scene.pair.peer_of(host), "standby", deadline_s=30)


async def test_the_old_host_returns() -> None:
    """Beta takes over, says what it waits for, and has alpha as its standby soon after alpha is back."""
    async with playing(AGAIN) as scene:
        scene.begin_asking()
        await scene.more_answers()
        await die(scene.alpha, scene)
        await scene.alone(scene.beta, 2)
        await scene.more_answers()

        async def says_so() -> bool:
            return "alpha: the ftd of host alpha" in await waits_for(scene.beta, scene.vm)

        await eventually("beta says that it waits for alpha", says_so)
        await scene.alpha.start_daemon()
        await protected_by_itself(scene, scene.beta)
        assert await waits_for(scene.beta, scene.vm) == ""
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_soon_with_a_gibibyte() -> None:
    """From the moment at which ftd on the old host answers again: the target is TARGET_S."""
    idle = Guest(name="idle", image="ledger", memory_mib=1024, reprotect=True)
    async with playing(idle) as scene:
        await die(scene.alpha, scene)
        await scene.alone(scene.beta, 2)
        await scene.alpha.start_daemon()
        since = monotonic()
        await protected_by_itself(scene, scene.beta)
        took_s = monotonic() - since
        print(f"protected again after {took_s:.2f} s")
        assert took_s < TOLERATED_S, f"protected again after {took_s:.1f} s"


async def test_a_dead_standby_is_replaced() -> None:
    """Its ftd lives: another standby is there within moments."""
    async with playing(AGAIN) as scene:
        scene.begin_asking()
        await scene.more_answers()
        await scene.kill_worker(scene.beta)
        await protected_by_itself(scene, scene.alpha)
        assert (await scene.status(scene.alpha)).generation == 2
        await scene.settle(scene.alpha)


async def test_there_and_back_three_times() -> None:
    """Flapping: each time the other host takes over and is protected again; no answer is lost on the way."""
    async with playing(AGAIN) as scene:
        scene.begin_asking()
        runs_on = scene.alpha
        for generation in range(2, 5):
            await scene.more_answers()
            await scene.kill_worker(runs_on)
            runs_on = scene.pair.peer_of(runs_on)
            await protected_by_itself(scene, runs_on)
            assert (await scene.status(runs_on)).generation == generation
        await scene.more_answers()
        await scene.settle(runs_on)


async def test_a_frozen_old_primary_does_not_stand_in_the_way() -> None:
    """Its generation is over, the arbiter says so: what is left of it is ended, though it does not answer."""
    guest = replace(AGAIN, replication={**GUEST.replication, "heartbeat_timeout_ms": 500})
    async with playing(guest) as scene:
        scene.begin_asking()
        await scene.more_answers()
        old = await scene.alpha.worker_pid(scene.vm)
        with frozen(old):
            await scene.pair.wait_for_state(scene.beta, "simplex", "syncing", "protected", deadline_s=30)
            await scene.ended(old)
            await protected_by_itself(scene, scene.beta)
        assert "a stale copy is ended" in scene.alpha.log.read_text()
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_wanted_until_left() -> None:
    """A restart of ftd keeps it, a leave ends it, also while it is being waited for."""
    async with playing(AGAIN) as scene:
        await scene.beta.kill_daemon()
        await scene.kill_worker(scene.beta)
        await scene.alone(scene.alpha, 2)
        await scene.alpha.kill_daemon()
        await scene.alpha.start_daemon()

        async def waits() -> bool:
            return bool(await waits_for(scene.alpha, scene.vm))

        await eventually("the new ftd of alpha waits for beta", waits)
        await scene.alpha.call(LEAVE, VmParams(vm=scene.vm))
        assert not (await scene.alpha.call(STATUS, StatusParams())).protection
        await scene.beta.start_daemon()
        await trio.sleep(2)  # there is nothing to wait for: it must not happen
        assert (await scene.status(scene.alpha)).state == "simplex"
        assert await scene.beta.status(scene.vm) is None


async def test_a_host_that_lost_its_guest_and_boots() -> None:
    """Both hosts die; where the guest is started again it is protected again, as it was before."""
    async with playing(AGAIN) as scene:
        for host in scene.pair.hosts:
            await host.kill_daemon()
        for host in scene.pair.hosts:
            host.end_workers()
        for host in scene.pair.hosts:
            await host.start_daemon()
        await scene.alpha.call(VM_START, ForceParams(vm=scene.vm))
        await protected_by_itself(scene, scene.alpha)


async def test_switchover_of_a_protected_guest() -> None:
    """It is protected again on the other host. One that was not protected stays so."""
    async with playing(AGAIN, protected=False) as scene:
        await scene.alpha.call(SWITCHOVER, VmParams(vm=scene.vm))
        await scene.alone(scene.beta, 2)
        assert not (await scene.beta.call(STATUS, StatusParams())).protection
        await scene.beta.call(ENTER, VmParams(vm=scene.vm))
        await scene.beta.call(SWITCHOVER, VmParams(vm=scene.vm))
        await protected_by_itself(scene, scene.alpha)
        assert (await scene.status(scene.alpha)).generation == 3


async def test_maintenance_and_back() -> None:
    """Alpha is emptied under load and kept empty; the client notices nothing but the moment of the move."""
    async with playing(AGAIN) as scene:
        scene.begin_asking()
        await scene.more_answers()
        report = await scene.alpha.call(MAINTENANCE, MaintenanceParams(host="alpha", action="begin"))
        assert [(moved.vm, moved.gone) for moved in report.vms] == [(scene.vm, True)]
        await scene.alone(scene.beta, 2)

        async def says_so() -> bool:
            return "alpha is in maintenance" in await waits_for(scene.beta, scene.vm)

        await eventually("beta says that alpha is in maintenance", says_so)
        await scene.alpha.kill_daemon()
        await scene.alpha.start_daemon()
        await eventually("alpha is in maintenance after a restart, too", says_so)
        assert await scene.alpha.status(scene.vm) is None
        await scene.beta.call(MAINTENANCE, MaintenanceParams(host="alpha", action="end"))
        await protected_by_itself(scene, scene.beta)
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_maintenance_of_the_standbys_host() -> None:
    """The standby is let go; there is no other host, so the command says that the guest is unprotected."""
    async with playing(AGAIN) as scene:
        scene.begin_asking()
        report = await scene.alpha.call(MAINTENANCE, MaintenanceParams(host="beta", action="begin"))
        assert [moved.how.partition(": ")[2] for moved in report.vms] == ["it runs on alpha, UNPROTECTED"]
        await scene.alone(scene.alpha, 1)
        await scene.alpha.call(MAINTENANCE, MaintenanceParams(host="beta", action="end"))
        await protected_by_itself(scene, scene.alpha)
        await scene.more_answers()
        await scene.settle(scene.alpha)


async def asked(scene: Scene, method: Method[VmParams, Nothing]) -> str | None:
    """The refusal of beta; None: it did what it was asked."""
    try:
        await scene.beta.call(method, VmParams(vm=scene.vm))
    except ControlError as refusal:
        return refusal.message
    return None


async def lose_standby(scene: Scene, host: LocalHost) -> None:
    """Kills the worker of the other host; returns when `host` has noticed, and has a new generation."""
    before = (await scene.status(host)).generation
    await scene.kill_worker(scene.pair.peer_of(host))

    async def goes_on() -> bool:
        return (await scene.status(host)).generation > before

    await eventually(f"a new generation on {host.name}", goes_on)
    await scene.pair.wait_for_state(host, "simplex", "syncing", "protected")


async def test_operators_come_first() -> None:
    """Whatever is typed while ftd protects the guest by itself, it is done, or refused with a sentence."""
    async with playing(AGAIN) as scene:
        scene.begin_asking()
        await lose_standby(scene, scene.alpha)
        await scene.alpha.call(SWITCHOVER, VmParams(vm=scene.vm))
        await protected_by_itself(scene, scene.beta)
        await lose_standby(scene, scene.beta)
        refusal = await asked(scene, ENTER)
        assert refusal is None or "is protected already" in refusal
        await protected_by_itself(scene, scene.beta)
        await lose_standby(scene, scene.beta)
        await scene.beta.call(LEAVE, VmParams(vm=scene.vm))
        assert (await scene.status(scene.beta)).state in ("idle", "simplex")
        await scene.more_answers()
        await scene.settle(scene.beta)
