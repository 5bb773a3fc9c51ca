"""An arbiter that does not answer: nobody goes on, and the operator is told what for, until it returns."""

import os
import signal

import pytest
import trio

from ftd.drill.demo_kvm import check
from ftd.drill.local_pair import Guest, LocalHost, local_pair
from ftd.protocol.control import WorkerStatus

pytestmark = pytest.mark.timeout(100)


async def told_why(host: LocalHost, vm: str) -> WorkerStatus:
    with trio.fail_after(30):
        while True:
            status = await host.status(vm)
            if status is not None and "arbiter" in status.reason:
                return status
            await trio.sleep(0.05)


@pytest.mark.parametrize("lost", ["alpha", "beta"])
async def test_the_one_that_is_left_waits_and_says_for_what(lost: str) -> None:
    missing = check()
    if missing is not None:
        pytest.skip(f"no usable KVM: {missing.why}")
    async with local_pair(Guest(memory_mib=16)) as pair:
        await pair.start_guest()
        await pair.enter()
        away = pair.arbiter.with_name("elsewhere")
        pair.arbiter.rename(away)
        left, gone = (pair.beta, pair.alpha) if lost == "alpha" else (pair.alpha, pair.beta)
        os.kill(await gone.worker_pid(pair.guest.name), signal.SIGKILL)

        status = await told_why(left, pair.guest.name)
        assert status.state == "failing_over"
        assert "peer lost" in status.reason
        assert "the directory does not exist" in status.reason
        assert "the arbiter does not answer" in left.worker_log(pair.guest.name)

        away.rename(pair.arbiter)
        status = await pair.wait_for_state(left, "simplex")
        assert status.generation == 2
        assert "arbiter" not in status.reason
