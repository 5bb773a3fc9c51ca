"""Promise 1, from outside: what the standby has not acknowledged is seen by nobody."""

from typing import Final

import trio

from ftd.drill.local_pair import Guest
from tests.failover.processes import frozen
from tests.failover.scene import Scene, eventually, playing

# Long epochs: the guest has time to answer in those that nobody acknowledges.
GUEST: Final = Guest(memory_mib=64, replication={"checkpoint_rate_hz": 20, "heartbeat_timeout_ms": 20_000})
EPOCHS_IN_FLIGHT: Final = 4
OBSERVED_S: Final = 1.5


async def held_bytes(scene: Scene) -> int:
    """What the guest has said and the gate has not let go."""
    counters = (await scene.status(scene.alpha)).counters
    released = counters["output_bytes_released"] + counters["output_bytes_dropped"]
    return counters["output_bytes_produced"] - released


async def all_in_flight(scene: Scene) -> None:
    """Waits until the last acknowledgement has come and no more epoch can be sealed, with answers held."""

    async def guest_waits() -> bool:
        counters = (await scene.status(scene.alpha)).counters
        return counters["epochs_sealed"] - counters["epochs_acked"] >= EPOCHS_IN_FLIGHT

    await eventually("a guest that waits for acknowledgements", guest_waits)
    assert await held_bytes(scene) > 0


async def test_no_answer_leaves_before_its_epoch_is_acknowledged() -> None:
    """The standby stands still: the guest goes on answering for some epochs, and no answer comes."""
    async with playing(GUEST) as scene:
        scene.begin_asking(silence_timeout_s=30)
        await scene.more_answers()
        with frozen(await scene.beta.worker_pid(scene.vm)):
            await all_in_flight(scene)
            await trio.sleep(0.1)  # what was released before that is still to be read here
            assert scene.client.book.outstanding > 0
            held = await held_bytes(scene)
            await scene.silence(OBSERVED_S)
            assert await held_bytes(scene) >= held > 0
        await scene.more_answers()
        assert (await scene.status(scene.alpha)).state == "protected"
        await scene.settle(scene.alpha)


async def test_what_a_dead_primary_held_back_was_never_seen() -> None:
    """It dies with answers that nobody acknowledged: the guest gives them anew on the other host."""
    async with playing(GUEST) as scene:
        scene.begin_asking()
        await scene.more_answers()
        with frozen(await scene.beta.worker_pid(scene.vm)):
            await all_in_flight(scene)
            await scene.kill_worker(scene.alpha)
        await scene.alone(scene.beta, 2)
        await scene.more_answers()
        await scene.settle(scene.beta)
