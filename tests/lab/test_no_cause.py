"""What must never cost a failover, on two hosts: a slow data connection, clocks that are set, no arbiter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
import trio

from lab.kernel.modules import Modules
from lab.pair.configuration import ledger
from lab.pair.member import Member
from lab.pair.network import MANAGEMENT, REPLICATION
from lab.pair.pair import Pair
from tests.lab.pair_scene import Scene, booted, playing

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(900)]
ARBITER_GONE_S: Final = 60.0
DATA_DELAY_MS: Final = 5000
DELAYED_S: Final = 20.0
HOUR_S: Final = 3600
# The delay, and the absence, are many times as long; an emulated host needs this much to be heard in time.
GUEST: Final = ledger(heartbeat_timeout_ms=3000, reprotect=False)


@pytest.fixture(scope="module")
def pair(modules: Modules) -> Iterator[Pair]:
    """Both hosts, booted once."""
    with booted(modules, GUEST) as made:
        yield made


async def must(member: Member, command: str) -> None:
    done = await member.run(command)
    assert done.status == 0, f"{member.name}: {command}: {done.output.decode(errors='replace')}"


async def nothing_happened(scene: Scene, generation: int) -> None:
    """Protected as before, with answers that go on."""
    await scene.more_answers()
    active = await scene.wait_for(scene.pair.alpha, "protected")
    standby = await scene.wait_for(scene.pair.beta, "standby")
    assert (active.generation, standby.generation) == (generation, generation)


async def slow_data(scene: Scene, delay_ms: int) -> None:
    """What alpha sends on the data connection is late; heartbeats pass, though they go the same way."""
    status = await scene.wait_for(scene.pair.alpha, "protected")
    port, device = status.link[0].here.port, REPLICATION.name
    await must(
        scene.pair.alpha,
        f"tc qdisc add dev {device} root handle 1: prio priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 && "
        f"tc qdisc add dev {device} parent 1:3 netem delay {delay_ms}ms && "
        f"tc filter add dev {device} parent 1: protocol ip u32 match ip sport {port} 0xffff flowid 1:3",
    )


async def test_nothing_of_this_is_a_cause(pair: Pair) -> None:
    async with playing(pair) as scene:
        generation = (await scene.wait_for(pair.alpha, "protected")).generation
        pair.networks.cut(MANAGEMENT, "alpha")
        pair.networks.cut(MANAGEMENT, "beta")
        gone_until_s = trio.current_time() + ARBITER_GONE_S
        for member, seconds in ((pair.alpha, HOUR_S), (pair.beta, -HOUR_S)):
            await must(member, f"date -s @$(($(date +%s) + {seconds}))")
            await nothing_happened(scene, generation)
        await slow_data(scene, DATA_DELAY_MS)
        await trio.sleep(DELAYED_S)
        assert (await scene.wait_for(pair.alpha, "protected")).generation == generation
        await must(pair.alpha, f"tc qdisc delete dev {REPLICATION.name} root")
        await nothing_happened(scene, generation)
        await trio.sleep_until(gone_until_s)
        await nothing_happened(scene, generation)
        pair.networks.heal()
        await nothing_happened(scene, generation)
        await scene.settle(pair.alpha)
