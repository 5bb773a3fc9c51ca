"""Two hosts that die like hosts: power loss, freezing, cut networks. Never two active copies, none lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
import trio

from ftd.protocol.control_operator import STATUS, StatusParams
from lab.kernel.modules import Modules
from lab.pair.configuration import ledger
from lab.pair.network import CLIENT, MANAGEMENT, REPLICATION, Way
from lab.pair.pair import Pair
from tests.failover.stubborn_client import later_answers, stubborn_client
from tests.lab.pair_scene import VM, booted, console, eventually, playing

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
OBSERVED_S: Final = 4.0
UNSEEN_S: Final = 6.0
# What happens is to be what the test asked for, on a busy machine as well.
GUEST: Final = ledger(heartbeat_timeout_ms=3000, reprotect=False)


@pytest.fixture(scope="module")
def pair(modules: Modules) -> Iterator[Pair]:
    """Both hosts, booted for the first test that needs them; a test boots again what another one killed."""
    with booted(modules, GUEST) as made:
        yield made


async def test_they_see_each_other(pair: Pair) -> None:
    """And the arbiter, and what they are configured with."""
    for member, peer in zip(pair.members, reversed(pair.members), strict=True):
        report = await member.call(STATUS, StatusParams())
        assert (report.host.name, report.host.peers) == (member.name, [peer.name])
        checked = await member.run("ftd --check")
        assert checked.status == 0, checked.output
        assert (await member.run(f"ping -c 1 -W 20 {REPLICATION.address(peer.name)}")).status == 0


async def test_power_loss(pair: Pair) -> None:
    """The standby has the guest; the host that comes back protects it, and has it when the other one dies."""
    async with playing(pair) as scene:
        pair.alpha.kill()
        taken = await scene.wait_for(pair.beta, "simplex")
        assert taken.generation > 1
        await scene.more_answers()
        print(f"longest silence until then: {scene.client.book.blackout_s * 1000:.0f} ms")

        await pair.alpha.boot()
        await scene.protect(pair.beta)
        await scene.more_answers()
        pair.beta.kill()
        again = await scene.wait_for(pair.alpha, "simplex")
        assert again.generation == taken.generation + 1
        await scene.more_answers()
        await scene.settle(pair.alpha)


async def test_a_frozen_host_comes_back(pair: Pair) -> None:
    """It finds that it was given up before it lets anything out."""
    async with (
        playing(pair) as scene,
        stubborn_client(console(pair.alpha), connector_for=scene.connector_for) as old,
    ):
        pair.alpha.freeze()
        await scene.wait_for(pair.beta, "simplex")
        at_takeover, _ = await scene.last_record(pair.beta)
        old.expect_nothing()
        await scene.more_answers()
        pair.alpha.thaw()
        await scene.gone(pair.alpha)
        with trio.move_on_after(OBSERVED_S):
            await old.closed.wait()
        assert later_answers(old, at_takeover) == [], "answered by a copy that had lost the guest"
        await scene.more_answers()
        await scene.settle(pair.beta)


@pytest.mark.parametrize("way", Way, ids=lambda way: way.name.lower())
async def test_the_replication_network_is_cut(pair: Pair, way: Way) -> None:
    """Both hosts live and reach the arbiter: one wins, the other one's copy ends."""
    async with playing(pair) as scene:
        pair.networks.cut(REPLICATION, "alpha", way)
        active = pair.alpha

        async def decided() -> bool:
            nonlocal active
            found = [(member, await member.status(VM)) for member in pair.members]
            alone = [member for member, status in found if status is not None and status.state == "simplex"]
            active = alone[0] if alone else active
            return len(alone) == 1

        await eventually("one of them alone with the guest", decided)
        await scene.gone(pair.peer_of(active))
        await scene.more_answers()
        pair.networks.heal()
        await scene.protect(active)
        await scene.settle(active)


@pytest.mark.parametrize(
    "way",
    [Way.BOTH, *(pytest.param(way, marks=pytest.mark.long) for way in (Way.FROM, Way.TO))],
    ids=lambda way: way.name.lower(),
)
async def test_the_client_network_is_cut(pair: Pair, way: Way) -> None:
    """A pair that is well stays as it is: who goes on has nothing to do with who can be seen."""
    async with playing(pair) as scene:
        before = await scene.wait_for(pair.alpha, "protected")
        pair.networks.cut(CLIENT, "alpha", way)
        await trio.sleep(UNSEEN_S)
        assert (await scene.wait_for(pair.alpha, "protected")).generation == before.generation
        pair.networks.heal()
        await scene.more_answers()
        assert (await scene.wait_for(pair.alpha, "protected")).generation == before.generation
        await scene.settle(pair.alpha)


@pytest.mark.parametrize("way", Way, ids=lambda way: way.name.lower())
async def test_the_arbiter_is_cut_off(pair: Pair, way: Way) -> None:
    """While the pair is well it is not missed. Without it nobody activates; once it is back, one does."""
    async with playing(pair) as scene:
        pair.networks.cut(MANAGEMENT, "beta", way)
        await scene.more_answers()
        assert (await scene.wait_for(pair.alpha, "protected")).state == "protected"
        pair.alpha.freeze()
        await scene.wait_for(pair.beta, "failing_over")
        await scene.silence(OBSERVED_S)
        await scene.wait_for(pair.beta, "failing_over")
        pair.networks.heal()
        await scene.wait_for(pair.beta, "simplex")
        await scene.more_answers()
        pair.alpha.thaw()
        await scene.gone(pair.alpha)
        await scene.settle(pair.beta)


async def test_a_host_cut_off_from_everything(pair: Pair) -> None:
    """The primary reaches neither its peer nor the arbiter: it stops, and the other one goes on."""
    async with playing(pair) as scene:
        pair.networks.cut(MANAGEMENT, "alpha")
        pair.networks.cut(REPLICATION, "alpha")
        await scene.wait_for(pair.alpha, "failing_over")
        await scene.wait_for(pair.beta, "simplex")
        await scene.more_answers()
        assert (await scene.wait_for(pair.alpha, "failing_over")).state == "failing_over"
        pair.networks.heal()
        await scene.gone(pair.alpha)
        await scene.settle(pair.beta)
