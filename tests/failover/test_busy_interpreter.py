"""A busy interpreter is not a dead host: heartbeats, epochs, acknowledgements and the gate need no Python."""

from typing import Final

import pytest
import trio

from ftd.drill.local_pair import Guest, LocalHost
from ftd.protocol.control import WORKER_FAULT, FaultParams
from ftd.transport.client import call_unix
from ftd.worker.faults import INTERPRETER_BUSY
from tests.failover.scene import Scene, playing

BUSY_MS: Final = 2000
DEADLINE_S: Final = 60.0
ANSWERS: Final = 100
GUEST: Final = Guest(memory_mib=64, replication={"checkpoint_rate_hz": 1000, "heartbeat_timeout_ms": 200})


async def keep_busy(scene: Scene, host: LocalHost, done: trio.Event) -> None:
    params = FaultParams(point=INTERPRETER_BUSY, nth=BUSY_MS)
    await call_unix(host.worker_socket(scene.vm), WORKER_FAULT, params, deadline_s=DEADLINE_S)
    done.set()


@pytest.mark.parametrize("side", ["alpha", "beta"])
async def test_nobody_takes_a_busy_worker_for_dead(side: str) -> None:
    """Ten heartbeat timeouts without one line of Python: the guest goes on, protected, in its generation."""
    async with playing(GUEST) as scene:
        scene.begin_asking()
        await scene.more_answers()
        host = scene.alpha if side == "alpha" else scene.beta
        before = await scene.status(scene.alpha)
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_busy, scene, host, done)
            await scene.more_answers(ANSWERS)  # each of them is an epoch that was acknowledged
            assert not done.is_set(), "the answers came too late to say anything"
            await done.wait()
        after = await scene.status(scene.alpha)
        assert (after.state, after.generation, after.pid) == ("protected", 1, before.pid)
        assert after.counters["epochs_acked"] > before.counters["epochs_acked"]
        assert (await scene.status(scene.beta)).state == "standby"
        await scene.settle(scene.alpha)
