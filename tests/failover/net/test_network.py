"""A guest's network, seen from outside: a client that asks over UDP, a switch that has to learn."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
import trio

from ftd.drill.local_pair import Guest
from tests.failover.net.echo_client import EchoClient
from tests.failover.net.lan import BRIDGE, GUEST_ADDRESS, Lan, lan, missing
from tests.failover.scene import Scene, eventually, playing

MAC: Final = "02:f7:d0:00:00:01"
TAP: Final = "ftd-guest"
ADDRESS_ARGUMENT: Final = int.from_bytes(map(int, GUEST_ADDRESS.split(".")))


def guest(**replication: int) -> Guest:
    return Guest(
        image="echoer",
        args=(0, 2, ADDRESS_ARGUMENT),
        memory_mib=32,
        console=False,
        net={"bridge": f'"{BRIDGE}"', "mac": f'"{MAC}"'},
        replication={"checkpoint_rate_hz": 500, "heartbeat_timeout_ms": 3000, **replication},
    )


@pytest.fixture(autouse=True)
def _network() -> None:
    why = missing()
    if why is not None:
        pytest.skip(why)


class Talk:
    """The scene, its network, and a client that asks all the time."""

    def __init__(self, scene: Scene, network: Lan) -> None:
        self.scene = scene
        self.network = network
        self.client = EchoClient(network.udp_socket())


@asynccontextmanager
async def talking(played: Guest, *, protected: bool = True) -> AsyncIterator[Talk]:
    with lan() as network:
        async with playing(played, protected=protected, places=network.places) as scene:
            talk = Talk(scene, network)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk.client.run)
                await talk.client.more_answers()
                yield talk
                talk.client.finish()
                await eventually("an answer to every request", talk.client.is_done)
                assert not talk.client.account.breaches, talk.client.account.breaches
                nursery.cancel_scope.cancel()


async def test_a_protected_guest_answers_once_and_in_order() -> None:
    async with talking(guest()) as talk:
        await talk.client.more_answers(1000)
        account = talk.client.account
        assert (account.again, account.out_of_order) == (0, 0) or account.retries


async def test_a_dialogue_goes_on_after_the_death_of_its_host() -> None:
    async with talking(guest()) as talk:
        assert talk.network.port_of(MAC) == "alpha"
        await talk.scene.kill_worker(talk.scene.alpha)
        await talk.client.more_answers(200)
        assert talk.network.port_of(MAC) == "beta"
        assert TAP not in talk.network.links(talk.network.alpha), "a dead worker's tap goes with it"
        assert (await talk.scene.status(talk.scene.beta)).generation == 2
        print(f"silence at the client: {talk.client.account.longest_silence_s * 1000:.0f} ms")
