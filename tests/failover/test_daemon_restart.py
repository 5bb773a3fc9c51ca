"""ftd ends, and nobody notices: workers hold the guests and decide for them."""

import signal

import pytest

from ftd.drill.ledger import Disconnected, Event
from ftd.drill.local_pair import LocalHost
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import LEAVE, STATUS, StatusParams
from tests.failover.scene import Scene, playing


async def end_daemon(host: LocalHost, number: signal.Signals) -> None:
    if number is signal.SIGKILL:
        await host.kill_daemon()
    else:
        await host.stop_daemon()


async def seen_by_daemon(scene: Scene, host: LocalHost) -> tuple[str, int]:
    """State and process id of the guest's worker, as an operator is told."""
    report = await host.call(STATUS, StatusParams(vm=scene.vm))
    return report.workers[0].state, report.workers[0].pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
async def test_a_restart_of_ftd_disturbs_nothing(number: signal.Signals) -> None:
    """Guest, protection and client go on without any daemon; new ones find their workers and command them."""
    events: list[Event] = []
    async with playing() as scene:
        scene.begin_asking(silence_timeout_s=30, observe=events.append)
        await scene.more_answers()
        pids = [await host.worker_pid(scene.vm) for host in scene.pair.hosts]
        for host in scene.pair.hosts:
            await end_daemon(host, number)
        await scene.more_answers()
        await scene.epochs_go_on(scene.alpha)
        for host in scene.pair.hosts:
            await host.start_daemon()
        assert await seen_by_daemon(scene, scene.alpha) == ("protected", pids[0])
        assert await seen_by_daemon(scene, scene.beta) == ("standby", pids[1])

        await scene.alpha.call(LEAVE, VmParams(vm=scene.vm))
        assert await seen_by_daemon(scene, scene.alpha) == ("idle", pids[0])
        await scene.ended(pids[1])
        await scene.protect(scene.alpha)
        await scene.more_answers()
        assert (await scene.status(scene.alpha)).generation == 1
        assert not [event for event in events if isinstance(event, Disconnected)]
        await scene.settle(scene.alpha)


async def test_failover_needs_no_daemon() -> None:
    """With both ftd dead the standby takes over by itself; new daemons make sense of what they find."""
    async with playing() as scene:
        scene.begin_asking()
        await scene.more_answers()
        for host in scene.pair.hosts:
            await host.kill_daemon()
        await scene.kill_worker(scene.alpha)
        await scene.alone(scene.beta, 2)
        await scene.more_answers()

        for host in scene.pair.hosts:
            await host.start_daemon()
        assert (await seen_by_daemon(scene, scene.beta))[0] == "simplex"
        await scene.protect(scene.beta)
        await scene.more_answers()
        await scene.settle(scene.beta)
