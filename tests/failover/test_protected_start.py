"""A worker dies, and somebody starts its VM again before the standby has claimed it."""

import pytest

from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control_operator import VM_START, ForceParams
from tests.failover.processes import frozen
from tests.failover.scene import playing


async def test_a_start_does_not_overtake_the_standby() -> None:
    """Promise 3: the record still names alpha, and the guest that goes on is beta's."""
    async with playing() as scene:
        scene.begin_asking()
        await scene.more_answers()
        with frozen(await scene.beta.worker_pid(scene.vm)):  # it cannot claim yet
            await scene.kill_worker(scene.alpha)
            with pytest.raises(ControlError, match="beta has a whole copy of it") as refused:
                await scene.alpha.call(VM_START, ForceParams(vm=scene.vm))
            assert refused.value.kind is ErrorKind.REFUSED
            assert await scene.alpha.status(scene.vm) is None
        await scene.alone(scene.beta, 2)
        await scene.more_answers()
        await scene.settle(scene.beta)
