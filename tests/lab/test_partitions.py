"""Networks of two machines and a real etcd are cut at random: never two copies to be seen, none lost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import pytest
import trio

from lab.kernel.modules import Modules
from lab.pair.configuration import ledger
from lab.pair.network import CLIENT, HOSTS, MANAGEMENT, REPLICATION, Way
from lab.pair.pair import Pair
from tests.lab.pair_scene import booted, playing

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(1800)]
ROUNDS: Final = 12
HELD_S: Final = (0.5, 8.0)
"""Around the heartbeat timeout, on both sides of it."""
TIMEOUT_MS: Final = 3000


@pytest.fixture(scope="module")
def pair(modules: Modules) -> Iterator[Pair]:
    """Both hosts, booted once. They protect again by themselves."""
    guest = ledger(heartbeat_timeout_ms=TIMEOUT_MS, reprotect=True)
    with booted(modules, guest) as made:
        yield made


async def test_random_partitions(pair: Pair) -> None:
    chosen = random.Random(5)
    async with playing(pair) as scene:
        active = pair.alpha
        for _ in range(ROUNDS):
            for network in chosen.sample([REPLICATION, MANAGEMENT, CLIENT], chosen.randint(1, 3)):
                pair.networks.cut(network, chosen.choice(HOSTS), chosen.choice(list(Way)))
            held_s = chosen.uniform(*HELD_S)
            cuts = sorted(pair.networks.cuts)
            await trio.sleep(held_s)
            pair.networks.heal()
            active = await scene.protected_by_somebody()
            await scene.more_answers()
            print(f"{', '.join(cuts)} for {held_s:.1f} s: {active.name}")
        await scene.settle(active)
        print(f"both hosts were looked at {len(scene.sights) // 2} times, and never had two active copies")
