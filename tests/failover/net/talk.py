"""A guest with a network on two hosts, and a client outside that talks to it all the time."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from ftd.drill.local_pair import Guest
from tests.failover.net.echo_client import EchoClient
from tests.failover.net.lan import BRIDGE, GUEST_ADDRESS, Lan, lan
from tests.failover.scene import Scene, eventually, playing

MAC: Final = "02:f7:d0:00:00:01"
MAC_BYTES: Final = bytes.fromhex(MAC.replace(":", ""))
TAP: Final = "ftd-guest"
ADDRESS_ARGUMENT: Final = int.from_bytes(socket.inet_aton(GUEST_ADDRESS), "big")


def guest(*, create_bridge: bool = False, **replication: int) -> Guest:
    """The echoer, connected to the bridge of the lan."""
    bridge = "made0" if create_bridge else BRIDGE
    return Guest(
        image="echoer",
        args=(0, 2, ADDRESS_ARGUMENT),
        memory_mib=32,
        console=False,
        net={
            "bridge": f'"{bridge}"',
            "mac": f'"{MAC}"',
            "create_bridge": str(create_bridge).lower(),
        },
        replication={"checkpoint_rate_hz": 500, "heartbeat_timeout_ms": 3000, **replication},
    )


class Talk:
    """The scene, its network, and the client."""

    def __init__(self, scene: Scene, network: Lan) -> None:
        self.scene = scene
        self.network = network
        self.client = EchoClient(network.udp_socket())


@asynccontextmanager
async def talking(played: Guest) -> AsyncIterator[Talk]:
    """Protected, and answering. At the end every request must be answered, and every answer right."""
    with lan() as network:
        async with playing(played, places=network.places) as scene:
            talk = Talk(scene, network)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk.client.run)
                await talk.client.more_answers()
                yield talk
                talk.client.finish()
                await eventually("an answer to every request", talk.client.is_done)
                assert not talk.client.account.breaches, talk.client.account.breaches
                nursery.cancel_scope.cancel()
