"""Faults of a host or network: while protected, while the other one activates; a loss of power before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import pytest
import trio

from ftd.errors import ControlError
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import ENTER, LEAVE
from ftd.transport.framing import TransportError
from lab.kernel.modules import Modules
from lab.pair.configuration import ledger
from lab.pair.member import Member
from lab.pair.network import CLIENT, REPLICATION, Network, Way
from lab.pair.pair import Pair
from tests.lab.pair_scene import VM, Scene, booted, eventually, playing

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(600)]
TIMEOUT_MS: Final = 3000
HELD_S: Final = 1.6 * TIMEOUT_MS / 1000
SLOW_LINK: Final = "rate 10mbit"
"""The guest's memory takes some seconds: long enough to hit its synchronisation."""
FREE: Final = ("idle", "simplex")


@dataclass(frozen=True)
class Fault:
    """What happens to a host, and how it ends after a while."""

    name: str
    begin: Callable[[Pair, Member], object]
    end: Callable[[Pair, Member], Awaitable[object]]
    kills: bool = False

    def __str__(self) -> str:
        return self.name


async def heal(pair: Pair, _member: Member) -> None:
    pair.networks.heal()


async def boot(pair: Pair, _member: Member) -> None:
    await pair.boot()


async def thaw(_pair: Pair, member: Member) -> None:
    member.thaw()


def cut(name: str, *cuts: tuple[Network, Way]) -> Fault:
    def begin(pair: Pair, member: Member) -> None:
        for network, way in cuts:
            pair.networks.cut(network, member.name, way)

    return Fault(name, begin, heal)


FAULTS: Final = (
    Fault("power loss", lambda _, member: member.kill(), boot, kills=True),
    Fault("freeze", lambda _, member: member.freeze(), thaw),
    cut("replication cut to", (REPLICATION, Way.TO)),
    cut("replication cut from", (REPLICATION, Way.FROM)),
    cut("replication cut", (REPLICATION, Way.BOTH)),
    cut("clients cut", (CLIENT, Way.BOTH)),
    cut("both networks cut", (REPLICATION, Way.BOTH), (CLIENT, Way.BOTH)),
)
HOSTS: Final = ("primary", "standby")


@pytest.fixture(scope="module")
def pair(modules: Modules) -> Iterator[Pair]:
    """Both hosts, booted once. They protect again by themselves."""
    guest = ledger(heartbeat_timeout_ms=TIMEOUT_MS, reprotect=True)
    with booted(modules, guest) as made:
        yield made


async def all_is_well_again(scene: Scene) -> None:
    """Without a command: protected, every answer there and right, never two copies to be seen."""
    active = await scene.protected_by_somebody()
    await scene.more_answers()
    await scene.settle(active)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("host", HOSTS)
async def test_while_protected(pair: Pair, host: str, fault: Fault) -> None:
    async with playing(pair) as scene:
        victim = pair.alpha if host == "primary" else pair.beta
        fault.begin(pair, victim)
        await trio.sleep(HELD_S)
        await fault.end(pair, victim)
        await all_is_well_again(scene)


async def test_power_loss_in_the_first_synchronisation(pair: Pair) -> None:
    """Not protected yet: the guest is gone with its host, and no part of it runs anywhere."""
    async with playing(pair) as scene, synchronising(pair):
        await scene.wait_for(pair.alpha, "syncing")
        pair.alpha.kill()
        await scene.gone(pair.beta)
        await pair.boot()
        await scene.gone(pair.alpha)


@asynccontextmanager
async def synchronising(pair: Pair) -> AsyncIterator[None]:
    """A guest that was protected is unprotected, and is being synchronised over a slow link."""
    await pair.alpha.call(LEAVE, VmParams(vm=VM))
    await pair.alpha.slow(REPLICATION, SLOW_LINK)

    async def enter() -> None:
        # Whether it comes to its end is not what is asked here.
        with suppress(ControlError, TransportError):
            await pair.alpha.call(ENTER, VmParams(vm=VM))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if not fault.kills], ids=str)
async def test_while_activating(pair: Pair, fault: Fault) -> None:
    """The primary's host is dead, and the fault hits the one that takes over: it is late, no more."""
    async with playing(pair) as scene:
        pair.alpha.kill()

        async def noticed() -> bool:
            status = await pair.beta.status(VM)
            return status is not None and status.state != "standby"

        await eventually("the standby has noticed", noticed)
        fault.begin(pair, pair.beta)
        await trio.sleep(HELD_S)
        await fault.end(pair, pair.beta)
        await scene.wait_for(pair.beta, *FREE)
        await scene.more_answers()
        await pair.boot()
        await all_is_well_again(scene)
