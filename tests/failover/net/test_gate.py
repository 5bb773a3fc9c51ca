"""Promise 1 for frames: what is not acknowledged is seen by nobody, and nothing leaves from elsewhere."""

import trio

from tests.failover.net.frames import watching
from tests.failover.net.talk import MAC_BYTES, Talk, guest, talking
from tests.failover.processes import freeze, frozen, thaw
from tests.failover.scene import eventually

EPOCHS_IN_FLIGHT = 4
OBSERVED_S = 1.5


async def guest_waits(talk: Talk) -> None:
    """Until no more epoch can be sealed, with frames held."""

    async def waits() -> bool:
        counters = (await talk.scene.status(talk.scene.alpha)).counters
        return counters["epochs_sealed"] - counters["epochs_acked"] >= EPOCHS_IN_FLIGHT

    await eventually("a guest that waits for acknowledgements", waits)


async def held_bytes(talk: Talk) -> int:
    counters = (await talk.scene.status(talk.scene.alpha)).counters
    gone = counters["output_bytes_released"] + counters["output_bytes_dropped"]
    return counters["output_bytes_produced"] - gone


async def test_answers_come_once_and_in_order() -> None:
    async with talking(guest()) as talk:
        await talk.client.more_answers(1000)
        account = talk.client.account
        # A client that grew impatient has asked again, and may be answered again.
        assert account.again <= account.retries
        assert not account.out_of_order or account.retries
        counters = (await talk.scene.status(talk.scene.alpha)).counters
        assert counters["net_sent_dropped"] == counters["net_received_dropped"] == 0


async def test_no_frame_leaves_before_its_epoch_is_acknowledged() -> None:
    async with talking(guest(checkpoint_rate_hz=20, heartbeat_timeout_ms=20_000)) as talk:
        async with trio.open_nursery() as nursery:
            with frozen(await talk.scene.beta.worker_pid(talk.scene.vm)):
                await guest_waits(talk)
                await trio.sleep(0.1)  # what was released before that is still on its way
                with watching(talk.network, "alpha", MAC_BYTES, nursery) as watch:
                    held = await held_bytes(talk)
                    assert held > 0
                    await trio.sleep(OBSERVED_S)
                    assert watch.seen == []
                    assert talk.client.outstanding > 0
                    assert await held_bytes(talk) >= held
        await talk.client.more_answers()
        assert (await talk.scene.status(talk.scene.alpha)).state == "protected"


async def test_what_a_dead_primary_held_back_was_never_seen() -> None:
    async with talking(guest(checkpoint_rate_hz=20, heartbeat_timeout_ms=20_000)) as talk:
        with frozen(await talk.scene.beta.worker_pid(talk.scene.vm)):
            await guest_waits(talk)
            assert await held_bytes(talk) > 0
            await talk.scene.kill_worker(talk.scene.alpha)
        await talk.scene.alone(talk.scene.beta, 2)
        await talk.client.more_answers()


async def test_a_standby_sends_nothing() -> None:
    async with talking(guest()) as talk, trio.open_nursery() as nursery:
        with watching(talk.network, "beta", MAC_BYTES, nursery) as watch:
            await talk.client.more_answers(300)
            assert watch.seen == []


async def test_a_primary_that_wakes_up_too_late_sends_nothing() -> None:
    async with talking(guest(heartbeat_timeout_ms=300)) as talk, trio.open_nursery() as nursery:
        pid = await talk.scene.alpha.worker_pid(talk.scene.vm)
        freeze(pid)
        await talk.scene.alone(talk.scene.beta, 2)
        await talk.client.more_answers()
        with watching(talk.network, "alpha", MAC_BYTES, nursery) as watch:
            thaw(pid)
            await talk.scene.ended(pid)
            await talk.client.more_answers()
            assert watch.seen == []
