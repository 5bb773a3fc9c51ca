"""A guest that moves, seen from outside: its dialogue goes on, and the network learns the way at once."""

import socket

import trio

from ftd.output.announce import ARP_REPLY, ARP_REQUEST, ETHER_ARP, ETHER_RARP, RARP_REQUEST
from tests.failover.net.frames import Watch, watching
from tests.failover.net.lan import inside
from tests.failover.net.talk import MAC, MAC_BYTES, TAP, guest, talking
from tests.failover.scene import eventually

BLACKOUT_MAX_S = 2.0
"""A bound for busy machines; docs/NETWORK.md has what was measured."""
STALE_FRAMES = 300
TIMES_ANNOUNCED = 4


async def test_a_dialogue_goes_on_after_the_death_of_its_host() -> None:
    async with talking(guest()) as talk:
        assert talk.network.port_of(MAC) == "alpha"
        talk.client.account.longest_silence_s = 0.0
        await talk.scene.kill_worker(talk.scene.alpha)
        await talk.client.more_answers(200)
        assert talk.network.port_of(MAC) == "beta"
        assert TAP not in talk.network.links(talk.network.alpha), "a dead worker's tap goes with it"
        assert talk.client.account.longest_silence_s < BLACKOUT_MAX_S


async def test_a_switchover_and_back_loses_nothing() -> None:
    async with talking(guest()) as talk:
        scene = talk.scene
        for source, target, port in ((scene.alpha, scene.beta, "beta"), (scene.beta, scene.alpha, "alpha")):
            await scene.pair.switchover(source)
            await talk.client.more_answers(200)
            assert talk.network.port_of(MAC) == port
            assert (await scene.status(target)).role == "active"
        assert talk.client.account.longest_silence_s < BLACKOUT_MAX_S


async def test_the_new_host_announces_what_the_guest_has_shown() -> None:
    async with talking(guest()) as talk, trio.open_nursery() as nursery:
        with watching(talk.network, "beta", MAC_BYTES, nursery) as watch:
            await talk.scene.kill_worker(talk.scene.alpha)

            async def all_said() -> bool:
                return min(map(len, announced(watch))) >= TIMES_ANNOUNCED

            await eventually("all announcements", all_said)
            assert watch.seen[0][1][12:14] == ETHER_RARP.to_bytes(2, "big"), "it is the first that is heard"
            assert [len(times_s) for times_s in announced(watch)] == [TIMES_ANNOUNCED] * 3


def announced(watch: Watch) -> tuple[list[float], ...]:
    """Times of what is said for the switches, and of both forms of gratuitous ARP."""
    kinds = ((ETHER_RARP, RARP_REQUEST), (ETHER_ARP, ARP_REQUEST), (ETHER_ARP, ARP_REPLY))
    return tuple(watch.announced(*kind) for kind in kinds)


async def test_what_came_before_the_guest_did_is_not_for_it() -> None:
    """Frames wait in the standby's tap while the guest runs elsewhere: it has had them, or they are old."""
    async with talking(guest()) as talk:
        talk.client.finish()
        await eventually("an answer to every request", talk.client.is_done)

        def flood() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                for _ in range(STALE_FRAMES):
                    sock.sendto(b"old", ("10.77.0.255", 9))

        inside(talk.network.out, flood)
        await talk.scene.kill_worker(talk.scene.alpha)
        await talk.scene.alone(talk.scene.beta, 2)
        await trio.sleep(0.1)
        received = (await talk.scene.status(talk.scene.beta)).counters["net_received"]
        assert received < STALE_FRAMES / 10
